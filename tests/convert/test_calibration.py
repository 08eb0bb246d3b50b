"""Ranges from histograms: what each method leaves out, and that what it chooses is good."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline._convert._calibration import entropy_range, mse_range, percentile_range
from pipeline._convert._histogram import Histogram

RNG = np.random.default_rng(5)
BELL = RNG.normal(size=50_000)
ONE_SIDED = np.maximum(BELL, 0)
LONG_TAIL = np.concatenate([RNG.normal(size=20_000), RNG.uniform(-60, 60, 20)])


def counted(values: NDArray[np.float64]) -> Histogram:
    found = Histogram.between(float(values.min()), float(values.max()))
    for part in np.array_split(values, 3):
        found.add(part)
    return found


def squared_error(values: NDArray[np.float64], low: float, high: float) -> float:
    """What int8 with this range does to the values, computed by doing it."""
    step = (high - low) / 255
    zero = round(-128 - low / step)
    stored = np.clip(np.rint(values / step) + zero, -128, 127)
    return float(np.mean((values - step * (stored - zero)) ** 2))


def test_a_histogram_counts_in_parts_what_numpy_counts_at_once_and_zeros_apart() -> None:
    found = counted(ONE_SIDED)
    some = ONE_SIDED[ONE_SIDED != 0]
    expected, _ = np.histogram(some, len(found.counts), (found.low, found.high))
    assert found.zeros == ONE_SIDED.size - some.size
    # A value on a border may be counted on either side of it.
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() <= 2


def test_a_percentile_leaves_out_its_share_at_each_end() -> None:
    low, high = percentile_range(counted(BELL), 99)
    assert (low, high) == pytest.approx(np.percentile(BELL, [1, 99]), abs=0.01)


def test_zeros_are_values_to_a_percentile() -> None:
    # Half is zero: the 60th percentile of all is the 20th of the others.
    assert percentile_range(counted(ONE_SIDED), 60)[1] == pytest.approx(np.percentile(BELL, 60), abs=0.01)


@pytest.mark.parametrize("values", [BELL, ONE_SIDED, LONG_TAIL, -ONE_SIDED], ids=["bell", "relu", "tail", "negative"])
def test_least_squares_is_no_worse_than_any_clipping(values: NDArray[np.float64]) -> None:
    low, high = mse_range(counted(values), 255)
    found = squared_error(values, low, high)
    others = [
        squared_error(values, min(values.min(), 0) * share, max(values.max(), 0) * share)
        for share in np.linspace(0.05, 1, 60)
    ]
    assert found <= 1.03 * min(others)


def test_least_squares_leaves_an_outlier_out_that_takes_all_steps() -> None:
    assert mse_range(counted(LONG_TAIL), 255)[1] < 0.97 * LONG_TAIL.max()
    # With 65,534 steps there are enough for all.
    assert mse_range(counted(LONG_TAIL), 65534)[1] > 0.99 * LONG_TAIL.max()


def test_entropy_keeps_the_distribution_and_not_its_outliers() -> None:
    low, high = entropy_range(counted(np.append(BELL, [-50.0, 50.0])))
    assert high == pytest.approx(-low)
    assert 2.5 < high < 8


def test_entropy_is_not_misled_by_values_that_recur() -> None:
    background = np.repeat(np.linspace(-0.9, 0.9, 16), BELL.size // 16)
    low, high = entropy_range(counted(np.concatenate([BELL, background])))
    plain = entropy_range(counted(BELL))
    assert (low, high) == pytest.approx(plain, rel=0.1)


def test_entropy_takes_the_gaps_between_few_values_for_no_spikes() -> None:
    few = counted(BELL[:300])
    assert entropy_range(few)[1] > 2


def test_entropy_of_one_sign_has_an_end_at_zero() -> None:
    low, high = entropy_range(counted(np.append(ONE_SIDED, 50.0)))
    assert low == 0
    assert 2.5 < high < 10


@pytest.mark.parametrize(
    "values", [BELL + 10, -BELL - 10, np.full(100, 3.0), np.full(100, -3.0)], ids=["above", "below", "3", "-3"]
)
@pytest.mark.parametrize(
    "choose", [lambda found: percentile_range(found, 99.9), lambda found: mse_range(found, 255), entropy_range]
)
def test_every_range_covers_zero_and_does_not_end_there(choose: Any, values: NDArray[np.float64]) -> None:
    low, high = choose(counted(values))
    assert low <= 0 <= high
    assert high - low >= 0.9 * np.abs(np.median(values))
