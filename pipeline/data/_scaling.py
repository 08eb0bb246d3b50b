"""Scaling by channel, measured on what training sees and on nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data._spool import SpooledSplit
from pipeline.dataset import Dataset, Split

BYTES_AT_ONCE = 2**22


def normalised(data: Dataset) -> Dataset:
    """The same data with (x - mean) / deviation of each channel, the last axis; both are told in `preprocessing`.

    This stays outside the model: the int8 input has one scale for all channels, and on raw ones a channel of small
    numbers would be left with a few of the 256 steps.
    """
    mean, deviation = _statistics(data.train, max(1, BYTES_AT_ONCE // (4 * math.prod(data.input_shape))))
    numbers = {"mean": mean.tolist(), "deviation": deviation.tolist()}
    return replace(
        data,
        train=_scaled(data.train, mean, deviation),
        validation=_scaled(data.validation, mean, deviation),
        test=_scaled(data.test, mean, deviation),
        preprocessing={**data.preprocessing, "normalise": numbers},
    )


def _statistics(split: Split, at_once: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each channel; a channel that never changes has the deviation 1."""
    mean = _mean_of(x for x, _ in split.batches(at_once))
    # Around the mean, for of large numbers with small changes the mean of squares would keep nothing.
    variance = _mean_of(np.square(x - mean) for x, _ in split.batches(at_once))
    deviation = np.sqrt(variance)
    deviation[deviation == 0] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def _mean_of(batches: Any) -> NDArray[np.float64]:
    """The mean over all axes but the last."""
    total, count = np.float64(0), 0
    for x in batches:
        rows = x.reshape(-1, x.shape[-1])
        total, count = total + rows.sum(axis=0, dtype=np.float64), count + len(rows)
    return np.asarray(total / count)


def _scaled(split: Split, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> SpooledSplit:
    assert isinstance(split, SpooledSplit)
    return replace(split, subtract=mean, divide_by=deviation)
