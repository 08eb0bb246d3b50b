"""The search for the fewest layers to keep out of int8. It knows nothing of models: a set of names has a value.

Part of `sensitivity`. To try every set would take 2^n evaluations; this takes n + 10 at most, and tells how many.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

BESIDE_THE_LAYERS = 10
"""Evaluations beside one for each layer: the float model, full int8, a binary search, and leaving layers out again."""

Kept = frozenset[str]


@dataclass(frozen=True)
class Found:
    """What the search came to.

    Attributes:
        kept: the fewest layers that were found to reach the goal; where none do, those that come nearest.
        value: what the model reaches with them.
        int8_value: what it reaches without any.
        gains: what each layer brings alone; empty where none is needed.
        evaluations: how many sets were evaluated.
    """

    kept: Kept
    value: float
    int8_value: float
    gains: Mapping[str, float]
    evaluations: int


class _Evaluated:
    """Values of the sets that were evaluated, each once; and how many more may be."""

    def __init__(self, evaluate: Callable[[Kept], float], most: int, goal: float) -> None:
        self._evaluate, self._most, self._goal = evaluate, most, goal
        self.values: dict[Kept, float] = {}

    def may(self, kept: Kept) -> bool:
        """Whether the value of a set is known, or may still be found out."""
        return kept in self.values or len(self.values) < self._most

    def reaches(self, kept: Kept) -> bool:
        """Whether a set of layers in float reaches the goal."""
        if kept not in self.values:
            self.values[kept] = self._evaluate(kept)
        return self.values[kept] >= self._goal

    def good(self) -> list[Kept]:
        """The sets that reach the goal, fewest layers first, and of as many those that reach most."""
        found = [kept for kept, value in self.values.items() if value >= self._goal]
        return sorted(found, key=lambda kept: (len(kept), -self.values[kept]))

    def nearest(self) -> Kept:
        """The set that reaches most, and of several that do the one of fewest layers."""
        return max(self.values, key=lambda kept: (self.values[kept], -len(kept)))


def fewest(
    layers: Sequence[str],
    evaluate: Callable[[Kept], float],
    goal: float,
    *,
    together: Mapping[str, Collection[str]],
    sqnr_db: Mapping[str, float],
    spent: int = 0,
) -> Found:
    """The fewest layers to keep in float so that the model reaches a goal, in at most `len(layers) + 10` evaluations.

    In turn: nothing kept; each layer with those that read its output, for a tensor is float only where both are; the
    shortest run of layers in the order of their gain, by binary search; and what can be left out of that again.

    Args:
        layers: their names, in the order of execution.
        evaluate: what the model reaches with these layers in float, higher is better.
        goal: the least that is good enough.
        together: for each layer, itself and the layers that read its output.
        sqnr_db: of each layer's output where measured; the noisier of two layers that bring the same comes first.
        spent: evaluations that were made before.
    """
    tried = _Evaluated(evaluate, len(layers) + BESIDE_THE_LAYERS - spent, goal)
    gains: dict[str, float] = {}
    if not tried.reaches(frozenset()):
        for layer in layers:
            tried.reaches(frozenset(together[layer]))
        int8_value = tried.values[frozenset()]
        gains = {layer: tried.values[frozenset(together[layer])] - int8_value for layer in layers}
        if not tried.good():
            _shortest_run(tried, sorted(layers, key=lambda name: (-gains[name], sqnr_db.get(name, 0.0))), together)
        _leave_out(tried, gains)
    kept = next(iter(tried.good()), None)
    kept = tried.nearest() if kept is None else kept
    return Found(kept, tried.values[kept], tried.values[frozenset()], gains, len(tried.values) + spent)


def _shortest_run(tried: _Evaluated, ordered: Sequence[str], together: Mapping[str, Collection[str]]) -> None:
    """Look for the least k whose first k layers, with their readers, reach the goal."""
    runs = [_joined(together[name] for name in ordered[:count]) for count in range(1, len(ordered) + 1)]
    # All of them first: where that is not enough nothing is, and the search would only find that out step by step.
    if not runs or not tried.may(runs[-1]) or not tried.reaches(runs[-1]):
        return
    low, high = 1, len(runs) - 1  # the first alone was tried, and is not enough
    while low < high and tried.may(runs[middle := (low + high) // 2]):
        low, high = (low, middle) if tried.reaches(runs[middle]) else (middle + 1, high)


def _leave_out(tried: _Evaluated, gains: Mapping[str, float]) -> None:
    """Spend what is left on taking layers out of the best set again, those first that bring least."""
    if not tried.good():
        return
    for name in sorted(tried.good()[0], key=lambda name: gains[name]):
        smaller = tried.good()[0] - {name}
        if smaller and tried.may(smaller):
            tried.reaches(smaller)


def _joined(parts: Iterable[Collection[str]]) -> Kept:
    return frozenset(name for part in parts for name in part)
