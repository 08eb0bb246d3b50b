"""A blood pressure with one false beat, for `ucr_135.yaml`: series 135 of the UCR anomaly archive.

`InternalBleeding16`: 1,200 samples without an anomaly to learn from, 6,301 to look at, 12 of which are anomalous (Wu
and Keogh, "Current Time Series Anomaly Detection Benchmarks are Flawed", arXiv 2009.13807). It lies in aeon's wheel.
This file is read as any user's is: in a process of its own, where nothing of Edgesmith can be imported.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np


def train(window: int, hop: int) -> Iterator[tuple[np.ndarray, int]]:
    """Windows (window, 1) of the training part, all 0 for normal."""
    return _windows("TRAIN", window, hop)


def test(window: int, hop: int) -> Iterator[tuple[np.ndarray, int]]:
    """Windows of what comes after it: 1 where any of its samples is anomalous, else 0."""
    return _windows("TEST", window, hop)


def _windows(part: str, window: int, hop: int) -> Iterator[tuple[np.ndarray, int]]:
    normal = _series("TRAIN")[:, 1]
    # The file of the test begins with the training part.
    series = _series(part)[len(normal) if part == "TEST" else 0 :]
    # What a device does before it quantizes: in units of the training part's deviation.
    scaled = ((series[:, 1] - normal.mean()) / normal.std()).astype(np.float32)
    for start in range(0, len(series) - window + 1, hop):
        yield scaled[start : start + window, None], int(series[start : start + window, 2].any())


def _series(part: str) -> np.ndarray:
    """Time, value and label of each sample, (samples, 3)."""
    # The package itself would not do: it wants a numpy that tflite-runtime cannot have.
    found = importlib.util.find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        raise ImportError("aeon is not installed: pip install --no-deps aeon")
    folder = Path(found.submodule_search_locations[0], "datasets", "data", "KDD-TSAD_135")
    return np.loadtxt(folder / f"135_UCR_Anomaly_InternalBleeding16_{part}.csv", delimiter=",", skiprows=1)
