"""Intervals hold what they promise, whatever the distribution."""

from __future__ import annotations

import numpy as np
import pytest

from edge_targets._statistics import interval_ranks, samples_needed, summarize


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
    few, many = summarize(list(range(1, 23_886))), summarize(list(range(1, 23_887)))
    assert (few.p90_us, few.p90_ci_us) == (None, None)
    assert few.median_ci_us is not None
    assert many.p90_us == 21_498
    assert many.p90_ci_us is not None
    assert many.p99_us is None
    assert summarize(list(range(262_742))).p99_us is not None
    assert summarize([7.0]).median_us == 7.0


def test_very_many_samples_do_not_vanish() -> None:
    assert interval_ranks(200_000, 0.99) is not None


def test_the_rule_is_that_of_mlperf() -> None:
    # Table 2 of the MLPerf Inference paper: 23,886 for 90 %, 50,425 for 95 %, 85,811 for 97 %, 262,742 for 99 %.
    assert [samples_needed(share) for share in (0.90, 0.95, 0.97, 0.99)] == [23_886, 50_425, 85_811, 262_742]
