"""Which interpreter, kernels and number of threads run a model fastest on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_targets._errors import TargetError
from edge_targets._measurement import BenchmarkPlan, Runtime
from edge_targets._reference import RUNTIMES
from edge_targets.host import HostTarget

ROUNDS = 3
"""Each combination is measured so often, in processes of its own: a launch has its own luck with memory."""

# Beside the start of an interpreter, half a second is little, and it bounds the whole to a minute.
_SHORT = BenchmarkPlan(num_runs=30, warmup_runs=5, min_secs=0.1, max_secs=0.5, cold_starts=0, energy=False)


@dataclass(frozen=True)
class Combination:
    """One way to run a model here, and how fast it was.

    Attributes:
        runtime, xnnpack, threads: the settings of the host target.
        median_us: the median of its rounds' medians.
        kernels: which ran.
    """

    runtime: Runtime
    xnnpack: bool
    threads: int
    median_us: float = 0.0
    kernels: str = ""

    @property
    def address(self) -> str:
        """How the command line names it."""
        return f"host:runtime={self.runtime},xnnpack={'on' if self.xnnpack else 'off'},threads={self.threads}"

    def target(self) -> HostTarget:
        """The host with these settings."""
        return HostTarget(runtime=self.runtime, xnnpack=self.xnnpack, threads=self.threads)

    def to_json(self) -> dict[str, Any]:
        """As reports hold it."""
        return {"target": self.address, **asdict(self)}


def tune(model: Path, told: Callable[[str], None] = lambda text: None) -> list[Combination]:
    """Measure every combination that can run the model here, in turns, forwards and backwards.

    Args:
        model: the `.tflite`.
        told: hears of each combination that cannot run it, and why.

    Returns:
        The combinations, the fastest first.

    Raises:
        TargetError: none can run it.
    """
    found: dict[Combination, list[tuple[float, str]]] = {each: [] for each in _combinations()}
    failure: TargetError | None = None
    for turn in range(ROUNDS):
        order = list(found)[:: -1 if turn % 2 else 1]
        for each in order:
            try:
                found[each].append(_measured(each, model))
            except TargetError as error:
                failure = error
                del found[each]
                told(f"{each.address}: {error.what}")
    if not found:
        raise failure or TargetError("No combination was tried.")
    summed = [_summed(each, rounds) for each, rounds in found.items()]
    return sorted(summed, key=lambda each: each.median_us)


def _combinations() -> list[Combination]:
    cores = HostTarget().info().cores
    threads = [count for count in (1, 2, 4, 8) if count <= cores]
    return [
        Combination(runtime, xnnpack, count) for count in threads for runtime in RUNTIMES for xnnpack in (True, False)
    ]


def _measured(each: Combination, model: Path) -> tuple[float, str]:
    measurement = each.target().benchmark({"model": model}, _SHORT)["model"]
    return measurement.must_have_median(), measurement.kernels


def _summed(each: Combination, rounds: list[tuple[float, str]]) -> Combination:
    return replace(each, median_us=statistics.median(median for median, _ in rounds), kernels=rounds[0][1])
