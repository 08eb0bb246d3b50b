"""host: this machine, through the same runner and transport as any device, in child processes of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_targets._address import key_values
from edge_targets._base import Capabilities
from edge_targets._measurement import BenchmarkPlan, Kernels, Measurement, Runtime
from edge_targets._runner import Runner, RunnerTarget
from edge_targets._transport import Local, Transport


class HostTarget(RunnerTarget):
    """The machine that we run on.

    Args:
        connect: makes the transport; `Recording` stands in for it in tests.
        runtime: which interpreter, where the benchmark leaves it open.
        xnnpack: True insists on XNNPACK's kernels, False leaves them out; None takes what the interpreter takes.
        threads: threads of the interpreter, where they shall not be the benchmark's.
        reference: run the interpreter's plain kernels, slow and the same on every processor.
    """

    provenance = "host"
    capabilities = Capabilities(benchmark=True, evaluate=True, deploy=True)

    def __init__(
        self,
        connect: Callable[[], Transport] = Local,
        *,
        runtime: Runtime = "auto",
        xnnpack: bool | None = None,
        threads: int | None = None,
        reference: bool = False,
    ) -> None:
        self._connect = connect
        self._runtime = runtime
        self._threads = threads
        self._kernels: Kernels = "reference" if reference else _KERNELS[xnnpack]

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """`host:xnnpack=off,runtime=tflite_runtime` is the settings themselves."""
        return key_values(address)

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        with _ALONE:
            return super()._benchmark(models, replace(plan, num_threads=self._threads or plan.num_threads))

    def _transport(self) -> Transport:
        return self._connect()

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        # -I: neither the user's PYTHONPATH nor the folder we are in may slip another numpy in.
        with self._connect() as transport:
            yield Runner(transport, (sys.executable, "-I"), self._kernels, self._runtime)


# Two measurements on one machine at the same time would measure each other.
_ALONE = threading.Lock()

_KERNELS: dict[bool | None, Kernels] = {None: "auto", True: "xnnpack", False: "builtin"}
