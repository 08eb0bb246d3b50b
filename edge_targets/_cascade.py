"""Two stages of one model on a device: the second is asked only where the first is not sure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets import _answer, _on_device_cascade
from edge_targets._errors import WrongInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._measurement import Runtime
    from edge_targets._runner import Runner

SCRIPT = "edgesmith_cascade.py"


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
    paths = [runner.push(path, f"model-{place}.tflite") for place, path in enumerate(stages)]
    script = runner.push(Path(_on_device_cascade.__file__), SCRIPT)
    request = {"models": paths, "script": script, "threshold": threshold, "runtime": runtime, "num_threads": 1}
    found = [_of_chunk(runner, request, chunk) for chunk in chunks]
    if not found:
        raise WrongInput("There are no examples to run.", expected="at least one batch of at least one")
    return Exits(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _of_chunk(
    runner: Runner, request: dict[str, Any], chunk: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    scores, left = runner.stages(request, chunk)
    fits = scores.ndim == 3 and scores.shape[:2] == (len(chunk), 2) and left.shape == (len(chunk),)
    if not fits or left.dtype != np.bool_:
        raise _answer.strange(f"its scores are not those of two stages for {len(chunk)} examples")
    return scores[:, 0], scores[:, 1], left
