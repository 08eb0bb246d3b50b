"""The wrist exercises of the package seglearn, for `wrist_gestures.yaml` and `anomaly.yaml`.

Ten people did seven shoulder exercises with a smartwatch on each wrist: 140 recordings at 50 Hz of acceleration (g) and
angular velocity (rad/s), three axes each (Burns et al., "Shoulder Physiotherapy Exercise Recognition", arXiv
1802.01489).
This file is read as any user's is: in a process of its own, where nothing of Edgesmith can be imported.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def exercises() -> Iterator[tuple[np.ndarray, str, str]]:
    """Each recording (time, 6) with the name of its exercise and who did it."""
    watch = _watch()
    names = watch["y_labels"]
    for series, exercise, person in zip(watch["X"], watch["y"], watch["subject"], strict=True):
        yield series.astype(np.float32), names[exercise], f"person {person}"


def anomalies(normal: str) -> Iterator[tuple[np.ndarray, int, str]]:
    """The same with 0 for the exercise that is `normal` and 1 for any other."""
    for series, exercise, person in exercises():
        yield series, int(exercise != normal), person


def _watch() -> dict:
    # The package itself would not do: importing it needs pandas, which it does not ask for.
    found = importlib.util.find_spec("seglearn")
    if found is None or not found.submodule_search_locations:
        raise ImportError('seglearn is not installed: pip install "edgesmith[examples]"')
    path = Path(found.submodule_search_locations[0]) / "data" / "watch_dataset.npy"
    # A pickle: it comes from PyPI with the package, and runs no more code than the package itself would.
    return np.load(path, allow_pickle=True).item()
