"""Two stages of one model on a device: the second is asked only where the first is not sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets import _answer, _on_device_cascade
from edge_targets._errors import WrongInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._measurement import Runtime
    from edge_targets._parity import Outputs
    from edge_targets._runner import Runner

SCRIPT = "edgesmith_cascade.py"

NEVER = 2.0
"""A threshold that no confidence reaches: both stages run for every example."""

_LAST = ("builtin", "cpu")
"""Kernels that run what others leave, and stand behind them."""


@dataclass(frozen=True)
class Exits:
    """What two stages gave for n examples.

    Attributes:
        early: the first stage's scores, raw, (n, classes).
        final: the second's, raw, (n, classes); zeros where it was not asked.
        left: who left early, (n,).
    """

    early: NDArray[Any]
    final: NDArray[Any]
    left: NDArray[np.bool_]


def run_cascade(
    runner: Runner, stages: tuple[Path, Path], chunks: Iterable[NDArray[Any]], threshold: float, runtime: Runtime
) -> Exits:
    """Run both stages over chunks of examples, (b, ...) each; the device decides who leaves early.

    Raises:
        WrongInput: there are no examples, or they do not fit the first stage.
        TargetError: the stages did not run, or do not fit each other.
    """
    request = _request(runner, pushed(runner, stages), threshold, runtime)
    found = [_of_chunk(runner, request, chunk) for chunk in chunks]
    if not found:
        raise WrongInput("There are no examples to run.", expected="at least one batch of at least one")
    scores = np.concatenate([outputs.values for outputs, _ in found])
    return Exits(scores[:, 0], scores[:, 1], np.concatenate([left for _, left in found]))


def both_stages(
    runner: Runner, paths: Sequence[str], inputs: NDArray[Any], threshold: float, runtime: Runtime
) -> tuple[Outputs, NDArray[np.bool_]]:
    """Run both stages over a few inputs: their scores, (n, 2, classes), with the kernels that ran; and who left early.

    Args:
        runner: the device's.
        paths: of both stages there.
        inputs: as the first stage takes them, raw, (n, ...).
        threshold: the least confidence with which the first stage's scores stand.
        runtime: which interpreter.

    Raises:
        TargetError: the stages did not run, or do not fit each other.
    """
    return _of_chunk(runner, _request(runner, paths, threshold, runtime), inputs)


def pushed(runner: Runner, stages: tuple[Path, Path]) -> list[str]:
    """The paths of both stages on the device, once they are there."""
    return [runner.push(path, f"model-{place}.tflite") for place, path in enumerate(stages)]


def kernels_of_both(first: str, rest: str) -> str:
    """What the kernels of two stages are called together, as `Outputs` names them: `xnnpack+builtin`, `edgetpu+cpu`."""
    if "unknown" in (first, rest):
        return "unknown"
    parts = {*first.split("+"), *rest.split("+")}
    return "+".join(sorted(parts, key=lambda part: (part in _LAST, part)))


def _request(runner: Runner, paths: Sequence[str], threshold: float, runtime: Runtime) -> dict[str, Any]:
    script = runner.push(Path(_on_device_cascade.__file__), SCRIPT)
    return {"models": list(paths), "script": script, "threshold": threshold, "runtime": runtime, "num_threads": 1}


def _of_chunk(runner: Runner, request: dict[str, Any], chunk: NDArray[Any]) -> tuple[Outputs, NDArray[np.bool_]]:
    outputs, left = runner.stages(request, chunk)
    scores = outputs.values
    fits = scores.ndim == 3 and scores.shape[:2] == (len(chunk), 2) and left.shape == (len(chunk),)
    if not fits or left.dtype != np.bool_:
        raise _answer.strange(f"its scores are not those of two stages for {len(chunk)} examples")
    return outputs, left
