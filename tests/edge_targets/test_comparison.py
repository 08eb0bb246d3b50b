"""The verdict of a comparison: no false alarms where launches merely differ, and a real 3 % is found."""

from __future__ import annotations

import numpy as np
import pytest

from edge_targets._comparison import difference, verdict_of
from edge_targets._errors import WrongInput

# From launch to launch, memory is laid out another way; this is what that did to small models on a busy machine.
LAUNCH_SPREAD = 0.01


def launches(rng: np.random.Generator, slower: float, count: int = 10) -> list[tuple[list[float], list[float]]]:
    """Latencies of two models, the second slower by a share: skewed, drifting, and off by a little in each launch."""
    found = []
    for _ in range(count):
        drift = np.exp(0.2 * np.sin(np.linspace(0, rng.uniform(1, 9), 40)))
        first = drift * (1 + rng.exponential(0.02, 40))
        layout = np.exp(rng.normal(0, LAUNCH_SPREAD))
        second = drift * (1 + rng.exponential(0.02, 40)) * (1 + slower) * layout
        found.append((first.tolist(), second.tolist()))
    return found


def test_identical_models_are_hardly_ever_told_apart() -> None:
    rng = np.random.default_rng(1)
    told = [difference(launches(rng, 0.0)).verdict for _ in range(1000)]
    assert sum(verdict != "can't tell" for verdict in told) <= 10


def test_three_percent_is_found() -> None:
    rng = np.random.default_rng(2)
    told = [difference(launches(rng, 0.03)).verdict for _ in range(200)]
    assert sum(verdict == "slower" for verdict in told) >= 190


def test_the_other_way_round_it_is_faster_by_as_much() -> None:
    pairs = launches(np.random.default_rng(3), 0.05)
    there, back = difference(pairs), difference([(second, first) for first, second in pairs])
    assert (there.verdict, back.verdict) == ("slower", "faster")
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))


def test_the_interval_holds_the_truth() -> None:
    rng = np.random.default_rng(4)
    intervals = [difference(launches(rng, 0.03)) for _ in range(500)]
    assert sum(each.low <= 1.03 <= each.high for each in intervals) >= 490


def test_one_launch_on_a_busy_machine_moves_little() -> None:
    pairs = launches(np.random.default_rng(5), 0.0)
    first, second = pairs[0]
    disturbed = difference([(first, [3 * each for each in second]), *pairs[1:]])
    assert disturbed.verdict == "can't tell"
    assert abs(disturbed.ratio - 1) < 0.02


def test_the_ranks_are_those_of_the_tables() -> None:
    # Eight launches: at 99 % nothing but the smallest and the largest Walsh average will do.
    changes = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]
    told = difference([([1.0], [float(np.exp(change))]) for change in changes])
    assert (told.low, told.high) == pytest.approx((np.exp(0.01), np.exp(0.08)))


def test_too_few_launches_have_no_interval() -> None:
    with pytest.raises(WrongInput, match="7 launches"):
        difference([([1.0], [1.0])] * 7)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.01, 1.02, "slower"), (0.9, 0.99, "faster"), (0.99, 1.2, "can't tell"), (1.001, 1.004, "can't tell")],
)
def test_a_change_too_small_to_matter_is_none(low: float, high: float, verdict: str) -> None:
    assert verdict_of(low, high) == verdict
