"""This machine, through the same runner and transport as any device, in child processes of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._base import BenchmarkPlan, Capabilities, DeviceInfo, Measurement, Runtime, Target
from edge_targets._noise import Noise, TensorPair
from edge_targets._parity import Outputs
from edge_targets._runner import Runner
from edge_targets._transport import Local, Transport

if TYPE_CHECKING:
    from numpy.typing import NDArray


class HostTarget(Target):
    """The machine that we run on.

    Args:
        connect: makes the transport; `Recording` stands in for it in tests.
    """

    provenance = "host"
    capabilities = Capabilities(benchmark=True, evaluate=True)

    def __init__(self, connect: Callable[[], Transport] = Local) -> None:
        self._connect = connect

    def _info(self) -> DeviceInfo:
        with self._runner() as runner:
            return runner.probe()

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        with self._runner() as runner:
            return runner.benchmark(models, plan, target=self.name, provenance=self.provenance)

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        with self._runner() as runner:
            return runner.evaluate(model, batches, runtime)

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        with self._runner() as runner:
            return runner.outputs(model, inputs, runtime)

    def _noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        runtime: Runtime,
    ) -> list[Noise]:
        with self._runner() as runner:
            return runner.noise(models, inputs, pairs, runtime)

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        # -I: neither the user's PYTHONPATH nor the folder we are in may slip another numpy in.
        with self._connect() as transport:
            yield Runner(transport, python=(sys.executable, "-I"))
