"""Datasets: what training sees is what checking sees, in an order that the seed fixes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.dataset import ArraySplit, Dataset
from pipeline.tasks.classification import Classification


def split(count: int = 10) -> ArraySplit:
    return ArraySplit(np.arange(count, dtype=np.uint8)[:, None] * 10, np.arange(count) % 3, divide_by=10)


def dataset(y: NDArray[Any]) -> Dataset:
    train = ArraySplit(np.arange(len(y), dtype=np.float32)[:, None], y)
    return Dataset(Classification(), train, train, train, (1,), 3, (), "f", "here")


def test_batches_are_scaled_and_in_order() -> None:
    batches = list(split().batches(4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert np.concatenate([x for x, _ in batches]).ravel().tolist() == list(range(10))
    assert batches[0][0].dtype == np.float32


@pytest.mark.parametrize("labels", [[0] * 90 + [1] * 8 + [2] * 2, [0, 1, 2] * 30])
def test_calibration_takes_as_many_of_each_class_as_there_are(labels: list[int]) -> None:
    y = np.array(labels)
    x = dataset(y).calibration(6, seed=1)
    assert np.bincount(y[x.ravel().astype(int)], minlength=3).tolist() == [2, 2, 2]


def test_calibration_never_asks_for_more_than_there_is() -> None:
    assert len(dataset(np.array([0, 1, 2])).calibration(100, seed=1)) == 3


@pytest.mark.tf
def test_shuffling_is_complete_and_repeats_with_its_seed() -> None:
    def epochs(seed: int) -> list[list[float]]:
        batches = split().shuffled(4, seed)
        return [np.concatenate([x.numpy().ravel() for x, _ in batches]).tolist() for _ in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert epochs(1) == [first, second]
    assert epochs(2) != [first, second]
