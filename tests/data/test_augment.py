"""Augmentation: only what is trained on is varied, anew in every epoch, and alike for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.augment import Augment
from pipeline.dataset import ArraySplit, Dataset
from pipeline.errors import DataError
from pipeline.tasks.classification import Classification

pytestmark = pytest.mark.tf

X = np.random.default_rng(0).random((12, 8, 8, 1)).astype(np.float32)


def dataset(augment: Augment | None, x: NDArray[Any] = X) -> Dataset:
    part = ArraySplit(x, np.arange(len(x)))
    return Dataset(Classification(), part, part, part, x.shape[1:], len(x), (), "f", "here", augment=augment)


def epoch(batches: Any) -> NDArray[np.float32]:
    """One pass, brought into the order of the targets, (12, 8, 8, 1)."""
    pairs = [(x.numpy(), y.numpy()) for x, y in batches]
    x, y = (np.concatenate(each) for each in zip(*pairs, strict=True))
    ordered: NDArray[np.float32] = x[np.argsort(y)]
    return ordered


SETTINGS: dict[str, dict[str, Any]] = {
    "flip": {"flip": "horizontal_and_vertical"},
    "rotate": {"rotate": 0.2},
    "zoom": {"zoom": 0.3},
    "shift_height": {"shift_height": 0.4},
    "shift_width": {"shift_width": 0.4},
    "contrast": {"contrast": 0.5},
    "noise": {"noise": 0.1},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_setting_varies_training_anew_and_repeats_with_the_seed(name: str) -> None:
    data = dataset(Augment(**SETTINGS[name]))
    training = data.training_batches(4, seed=1)
    first, second = epoch(training), epoch(training)
    assert first.shape == X.shape
    assert not np.array_equal(first, X)
    assert not np.array_equal(first, second)
    again = data.training_batches(4, seed=1)
    assert np.array_equal(epoch(again), first)
    assert np.array_equal(epoch(again), second)
    assert not np.array_equal(epoch(data.training_batches(4, seed=2)), first)


def test_only_training_is_varied() -> None:
    data = dataset(Augment(flip="horizontal", rotate=0.2, noise=0.5))
    assert np.array_equal(epoch(data.validation_batches(5)), X)
    assert np.array_equal(np.concatenate([x for x, _ in data.test.batches(5)]), X)
    assert set(data.calibration(4, seed=0).ravel()) <= set(X.ravel())
    assert np.array_equal(epoch(dataset(None).training_batches(4, seed=1)), X)


def test_a_flip_mirrors_and_a_shift_moves() -> None:
    flipped = epoch(dataset(Augment(flip="horizontal")).training_batches(4, seed=3))
    kinds = [(np.array_equal(a, b), np.array_equal(a, b[:, ::-1])) for a, b in zip(flipped, X, strict=True)]
    assert all(same or mirrored for same, mirrored in kinds)
    assert 0 < sum(mirrored for _, mirrored in kinds) < len(X)
    rows = np.tile(np.arange(8, dtype=np.float32)[:, None, None], (12, 1, 8, 1))
    moved = epoch(dataset(Augment(shift_height=0.3), rows).training_batches(4, seed=3))
    shifts = moved[:, 4, 4, 0] - 4
    assert np.abs(shifts).max() <= 0.3 * 8 + 1e-3
    assert len(set(shifts.round(3))) > 4


def test_noise_has_the_deviation_that_is_set_and_any_shape() -> None:
    quiet = np.zeros((12, 500), np.float32)
    noisy = epoch(dataset(Augment(noise=0.25), quiet).training_batches(4, seed=1))
    assert noisy.std() == pytest.approx(0.25, rel=0.05)
    assert abs(noisy.mean()) < 0.02


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "noise"])
def test_changes_to_images_need_images(name: str) -> None:
    data = dataset(Augment(**SETTINGS[name], noise=0.1), np.zeros((12, 500), np.float32))
    with pytest.raises(DataError, match=r"augment asks for changes to images, and the inputs have shape \(500,\)"):
        data.training_batches(4, seed=1)
