"""Decides which channels and branches go: those whose loss weighs least against what they cost.

The loss of a cut is what a group of channels lacks of its importance afterwards, -log(share that is left): the first
channels of a layer go cheaply, the last ones at no price, and layers of different scales can be compared. The cut with
the least loss for the time that it saves is made first, over the whole model, until the goal is reached.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.stages._channels import Group
    from pipeline.stages._remaining_cost import RemainingCost
    from pipeline.stages._surgery import Branch

_LEAST_SHARE = 1e-9
"""The smallest share that a logarithm is taken of."""


class Candidate:
    """A group of channels that may go, the least important ones first.

    Args:
        group: the channels.
        importance: of each of them, (channels of the group,).
        weight: how much the group as a whole counts against others.
    """

    def __init__(self, group: Group, importance: NDArray[np.float64], weight: float) -> None:
        order = np.argsort(importance, kind="stable")
        self.group = group
        self.removed = 0
        self._channels = group.channels[order]
        # The importance of all channels from a place on.
        self._from = np.append(np.cumsum(importance[order][::-1])[::-1], 0.0)
        self._weight = weight

    @property
    def size(self) -> int:
        """How many channels there were."""
        return len(self._channels)

    def loss(self, count: int) -> float:
        """The loss of removing the next `count` channels."""
        whole = self._from[self.removed]
        share = self._from[self.removed + count] / whole if whole > 0 else 1.0
        return self._weight * loss_of_share(1.0 - share)

    def gone(self) -> NDArray[np.int64]:
        """The channels that have been removed."""
        return self._channels[: self.removed]


def loss_of_share(share: float) -> float:
    """The loss of a cut that takes this share of what flows."""
    return -math.log(max(1.0 - share, _LEAST_SHARE))


@dataclass(frozen=True)
class Limits:
    """How far groups may shrink: not below `min_filters`, and wide ones to multiples of `round_to`."""

    min_filters: int
    round_to: int

    def next_cuts(self, candidate: Candidate) -> list[int]:
        """How many channels the next cut of a group may take: one step or two, because two may save more than twice."""
        left = candidate.size - candidate.removed
        step = self.round_to if candidate.size >= 2 * self.round_to else 1
        after = (left - 1) // step * step
        return [left - rest for rest in (after, after - step) if rest >= self.min_filters]


@dataclass(frozen=True)
class Plan:
    """What is to go: channels by number, branches, and what is left of the cost."""

    channels: NDArray[np.int64]
    branches: tuple[Branch, ...]
    cost: float


@dataclass(frozen=True)
class _ChannelCut:
    """The next channels of a group."""

    candidate: Candidate
    count: int
    loss: float
    saved: float
    saved_time: float

    def make(self, cost: RemainingCost, time: RemainingCost, times: int = 1) -> None:
        """Make the cut; -1 times undoes it."""
        for one in (cost, time):
            one.remove(self.candidate.group, times * self.count)
        self.candidate.removed += times * self.count


@dataclass(frozen=True)
class _BranchCut:
    """A whole branch."""

    branch: Branch
    loss: float
    saved: float
    saved_time: float

    def make(self, cost: RemainingCost, time: RemainingCost, times: int = 1) -> None:
        """Make the cut; -1 times undoes it."""
        for one in (cost, time):
            one.remove_layers(self.branch.layers, times)


class Planner:
    """Makes the best cut again and again.

    Args:
        candidates: every group of channels that may go.
        branches: every branch that may go, with its loss.
        cost: of the model, what the goal is about.
        time: what cuts are priced by: the time that an inference takes, or the cost once more.
        limits: how far groups may shrink.
    """

    def __init__(
        self,
        candidates: list[Candidate],
        branches: dict[Branch, float],
        cost: RemainingCost,
        time: RemainingCost,
        limits: Limits,
    ) -> None:
        self._candidates = candidates
        self._branches = branches
        self._cost = cost
        self._time = time
        self._limits = limits
        self._made: list[_ChannelCut | _BranchCut] = []

    def reach(self, goal: float) -> Plan:
        """Cut until the cost is at most `goal`, or until no more may go."""
        while (missing := self._cost.total() - goal) > 0 and (cuts := self._possible_cuts()):
            best = _best(cuts, missing)
            best.make(self._cost, self._time)
            self._made.append(best)
        self._give_back(goal)
        branches = tuple(cut.branch for cut in self._made if isinstance(cut, _BranchCut))
        channels = [candidate.gone() for candidate in self._candidates]
        return Plan(np.concatenate([np.empty(0, np.int64), *channels]), branches, self._cost.total())

    def _possible_cuts(self) -> list[_ChannelCut | _BranchCut]:
        """All cuts that would save something: what lies in a branch that is gone saves nothing."""
        cuts: list[_ChannelCut | _BranchCut] = [
            _ChannelCut(
                one, count, one.loss(count), self._cost.saved(one.group, count), self._time.saved(one.group, count)
            )
            for one in self._candidates
            for count in self._limits.next_cuts(one)
        ]
        cuts += [
            _BranchCut(one, loss, self._cost.of_layers(one.layers), self._time.of_layers(one.layers))
            for one, loss in self._branches.items()
        ]
        return [cut for cut in cuts if cut.saved > 0 and cut.saved_time > 0]

    def _give_back(self, goal: float) -> None:
        """Undo the cuts, latest first, that a later and larger one has made needless."""
        kept: list[_ChannelCut | _BranchCut] = []
        for cut in reversed(self._made):
            later = isinstance(cut, _ChannelCut) and any(
                isinstance(one, _ChannelCut) and one.candidate is cut.candidate for one in kept
            )
            if not later:
                cut.make(self._cost, self._time, -1)
                if self._cost.total() <= goal:
                    continue
                cut.make(self._cost, self._time)
            kept.append(cut)
        self._made = kept[::-1]


def _best(cuts: list[_ChannelCut | _BranchCut], missing: float) -> _ChannelCut | _BranchCut:
    """The cut with the lowest price; where that reaches the goal, the one with the least loss of all that do."""
    best = min(cuts, key=_price)
    if best.saved < missing:
        return best
    return min((cut for cut in cuts if cut.saved >= missing), key=lambda cut: (cut.loss, cut.saved))


def _price(cut: _ChannelCut | _BranchCut) -> float:
    """The loss for the time that a cut saves; dearer where more of the cost goes for the same time.

    A cut that only lowers the count of MACs uses up the goal and leaves the model as slow as it was.
    """
    return cut.loss / cut.saved_time * (cut.saved / cut.saved_time)
