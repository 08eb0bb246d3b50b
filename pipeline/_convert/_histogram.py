"""Histograms of what a model's tensors hold over the calibration examples.

The first pass is the converter's own: the least and the largest value of every tensor. This is the second: with the
ends known, counting takes one array a tensor, however many examples there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline._convert._runs import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pipeline._convert._ranges import Range

BINS = 8192


@dataclass
class Histogram:
    """How often values lie in each of the equal bins between two ends.

    Attributes:
        low, high: the ends.
        counts: of values that are not exactly zero, (BINS,) int64.
        zeros: how many are. Int8 stores zero exactly, and half of what follows a ReLU is zero.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    zeros: int = 0

    @classmethod
    def between(cls, low: float, high: float) -> Histogram:
        """An empty one."""
        return cls(low, high, np.zeros(BINS, np.int64))

    @property
    def edges(self) -> NDArray[np.float64]:
        """The borders of the bins, (BINS + 1,)."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)

    def add(self, values: NDArray[Any]) -> None:
        """Count more values, of any shape."""
        flat = values.astype(np.float64).ravel()
        some = flat[flat != 0]
        self.zeros += flat.size - some.size
        width = (self.high - self.low) / len(self.counts) or 1.0
        places = np.clip((some - self.low) / width, 0, len(self.counts) - 1).astype(np.int64)
        self.counts += np.bincount(places, minlength=len(self.counts))


def histograms(
    calibrated: bytes,
    examples: NDArray[np.float32],
    groups: Mapping[int, tuple[int, ...]],
    ends: Mapping[int, Range],
) -> dict[int, Histogram]:
    """Run a float model over examples and count what groups of its tensors hold.

    Args:
        calibrated: a float `.tflite`, batch 1.
        examples: its inputs, (n, ...) float32.
        groups: indices of tensors, by a number of the group.
        ends: the least and the largest value of each group.
    """
    found = {group: Histogram.between(*ends[group]) for group in groups}
    for interpreter in runs(calibrated, examples):
        for group, members in groups.items():
            for index in members:
                found[group].add(interpreter.get_tensor(index))
    return found
