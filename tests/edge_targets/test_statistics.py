"""Intervals hold what they promise, whatever the distribution."""

from __future__ import annotations

import numpy as np
import pytest

from edge_targets._statistics import interval_ranks, summarize


@pytest.mark.parametrize(("count", "ranks"), [(5, None), (6, (1, 6)), (10, (2, 9)), (100, (40, 61))])
def test_the_ranks_of_the_tables(count: int, ranks: tuple[int, int] | None) -> None:
    # Conover, Practical Nonparametric Statistics: the usual 95 % ranks for a median.
    assert interval_ranks(count, 0.5) == ranks


def test_the_median_is_held_in_at_least_95_of_100_runs() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        low, high = summarize(rng.lognormal(size=75).tolist()).median_ci_us or (0, 0)
        held += low <= 1.0 <= high
    assert held >= 935


def test_a_percentile_needs_enough_samples() -> None:
    few, many = summarize(list(range(1, 101))), summarize(list(range(1, 2001)))
    assert few.p99_us is None
    assert few.p90_us == 90
    assert many.p99_us == 1980
    assert many.p99_ci_us is not None
    assert summarize([7.0]).median_us == 7.0


def test_very_many_samples_do_not_vanish() -> None:
    assert interval_ranks(200_000, 0.99) is not None
