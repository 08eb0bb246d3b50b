"""Percentiles of latencies, with confidence intervals that assume nothing about their distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Interval = tuple[float, float]


@dataclass(frozen=True)
class Summary:
    """What is said about a list of latencies. A percentile is None where they are too few (`samples_needed`)."""

    median_us: float
    median_ci_us: Interval | None
    p90_us: float | None
    p90_ci_us: Interval | None
    p99_us: float | None
    p99_ci_us: Interval | None
    mean_us: float
    min_us: float


def summarize(latencies_us: Sequence[float]) -> Summary:
    """The summary of at least one latency."""
    ranked = np.sort(np.asarray(latencies_us, dtype=np.float64))
    p90_us, p90_ci_us = _percentile(ranked, 0.90)
    p99_us, p99_ci_us = _percentile(ranked, 0.99)
    return Summary(
        median_us=float(np.median(ranked)),
        median_ci_us=_interval(ranked, 0.5),
        p90_us=p90_us,
        p90_ci_us=p90_ci_us,
        p99_us=p99_us,
        p99_ci_us=p99_ci_us,
        mean_us=float(ranked.mean()),
        min_us=float(ranked[0]),
    )


def interval_ranks(count: int, share: float, confidence: float = 0.95) -> tuple[int, int] | None:
    """The ranks, from 1, of the order statistics that enclose a quantile with at least this confidence.

    Of `count` independent samples, the number below the quantile is binomial, whatever the distribution
    (David and Nagaraja, Order Statistics, section 7.1).

    Args:
        count: number of samples.
        share: which quantile, 0.5 for the median.
        confidence: least probability that the interval holds it; both tails get half of the rest.

    Returns:
        the lower and upper rank, or None where an end would lie outside the samples.
    """
    cumulative = _binomial_cumulative(count, share)
    tail = (1 - confidence) / 2
    lower = int(np.searchsorted(cumulative, tail, side="right"))
    upper = int(np.searchsorted(cumulative, 1 - tail, side="left")) + 1
    return (lower, upper) if lower >= 1 and upper <= count else None


def samples_needed(share: float) -> int:
    """How many samples a percentile above the median needs before it is told, by the rule of MLPerf Inference.

    The share of samples below the percentile is then known, at 99 %, to within a twentieth of the tail: 23,886 samples
    for the 90th, 262,742 for the 99th (Reddi et al., "MLPerf Inference Benchmark", 2020, table 2 and section 4).

    Args:
        share: which quantile, 0.9.
    """
    margin = (1 - share) / 20
    z = 2.5758293  # the 99.5th percentile of the normal distribution
    return round(z**2 * share * (1 - share) / margin**2)


def _percentile(ranked: NDArray[np.float64], share: float) -> tuple[float | None, Interval | None]:
    interval = _interval(ranked, share)
    if interval is None or len(ranked) < samples_needed(share):
        return None, None
    return float(ranked[math.ceil(share * len(ranked)) - 1]), interval


def _interval(ranked: NDArray[np.float64], share: float) -> Interval | None:
    ranks = interval_ranks(len(ranked), share)
    return (float(ranked[ranks[0] - 1]), float(ranked[ranks[1] - 1])) if ranks else None


def _binomial_cumulative(count: int, share: float) -> NDArray[np.float64]:
    """P(K <= k) for k = 0 … count, K binomial; (count + 1,). In logarithms, or 0.01 ** 50,000 would vanish."""
    k = np.arange(1, count + 1)
    steps = np.log((count - k + 1) / k) + math.log(share / (1 - share))
    log_chances = np.concatenate([[0.0], np.cumsum(steps)]) + count * math.log1p(-share)
    return np.cumsum(np.exp(log_chances))
