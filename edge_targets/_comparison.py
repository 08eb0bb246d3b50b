"""Whether one model is faster than another: statistics over several launches, each of which ran both turn by turn.

Two identical models in one process differ, and go on differing for as long as it lives, because memory was laid out
another way for each. So the launch, not the single run, is what is sampled here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_targets._errors import WrongInput

Verdict = Literal["faster", "slower", "can't tell"]

CONFIDENCE = 0.99
"""Of the interval. Whoever compares at every commit meets one false alarm in a hundred."""

FEWEST_LAUNCHES = 8
"""Below this no signed-rank interval at 99 % ends inside the data."""

LEAST_CHANGE = 0.005
"""A change below this share is nobody's concern, however surely it was measured."""


@dataclass(frozen=True)
class Difference:
    """How long the second model takes, as against the first.

    Attributes:
        ratio: of the two medians, second by first; 1.03 is 3 % slower.
        low, high: the interval of the ratio, at `CONFIDENCE`.
        verdict: `faster` or `slower` where the interval lies beyond `LEAST_CHANGE`'s neighbourhood of 1; else
            `can't tell`.
    """

    ratio: float
    low: float
    high: float
    verdict: Verdict


def difference(launches: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Difference:
    """The Hodges-Lehmann estimate over launches, with the interval of Wilcoxon's signed-rank test.

    It assumes that launches are independent and their deviations symmetric, and nothing else: one launch that met a
    busy machine moves neither the estimate nor the interval much (Hollander, Wolfe and Chicken, Nonparametric
    Statistical Methods, section 3.3).

    Args:
        launches: the latencies of the first and of the second model, round by round.

    Raises:
        WrongInput: fewer than `FEWEST_LAUNCHES`.
    """
    if len(launches) < FEWEST_LAUNCHES:
        raise WrongInput(
            f"A comparison of {len(launches)} launches has no interval at {CONFIDENCE:.0%}.",
            expected=f"at least {FEWEST_LAUNCHES} launches",
        )
    changes = np.array([_change(first, second) for first, second in launches])
    places = np.triu_indices(len(changes))
    averages = np.sort((changes[places[0]] + changes[places[1]]) / 2)  # Walsh averages, (n (n + 1) / 2,)
    rank = _signed_rank(len(changes), (1 - CONFIDENCE) / 2)
    low, high = math.exp(averages[rank - 1]), math.exp(averages[-rank])
    return Difference(math.exp(float(np.median(averages))), low, high, verdict_of(low, high))


def verdict_of(low: float, high: float) -> Verdict:
    """What an interval of a ratio says in a word."""
    if low > 1 + LEAST_CHANGE:
        return "slower"
    return "faster" if high < 1 - LEAST_CHANGE else "can't tell"


def _change(first: Sequence[float], second: Sequence[float]) -> float:
    """The logarithm of the second's median by the first's, of rounds that ran next to each other.

    What slows the machine for a while slows both runs of a round, so each round is compared within itself.
    """
    rounds = min(len(first), len(second))
    return float(np.median(np.log(np.asarray(second[:rounds]) / np.asarray(first[:rounds]))))


def _signed_rank(count: int, tail: float) -> int:
    """The rank from either end, from 1, of the Walsh averages that enclose the centre with both tails below `tail`."""
    ways = np.zeros(count * (count + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, count + 1):
        ways[rank:] += ways[:-rank].copy()
    below = np.cumsum(ways) / 2.0**count
    return max(1, int(np.searchsorted(below, tail, side="right")))
