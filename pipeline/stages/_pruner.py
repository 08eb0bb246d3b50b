"""Prunes a model while it trains: the ramp says when and how far, the counts how many, the scores which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.stages._masks import GONE, m_by_n_mask, smallest_removed
from pipeline.stages._preserve import Masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.stages._kernels import Kernel
    from pipeline.stages._masks import Mask, Pattern, Scores
    from pipeline.stages._shares import Counts
    from pipeline.stages._weight_importance import Score


@dataclass(frozen=True)
class Ramp:
    """When the masks are made anew, and how high the ramp is then: the cubic of Zhu and Gupta (2017).

    Attributes:
        end_step: the step at which it is at its full height; 0 prunes at once, before the first.
        every: steps from one time to the next; `end_step` is a multiple.
    """

    end_step: int
    every: int = 1

    def is_due(self, step: int) -> bool:
        """Whether masks are made anew after so many steps."""
        return step <= self.end_step and step % self.every == 0

    def height(self, step: int) -> float:
        """From 0 at the start to 1 at the end."""
        return 1 - (1 - step / self.end_step) ** 3 if step < self.end_step else 1.0


@dataclass(frozen=True)
class CountedMasks:
    """Masks by counts of units: of every kernel those go that matter least."""

    pattern: Pattern
    counts: Counts

    def __call__(self, kernels: Sequence[Kernel], scores: Sequence[Scores], height: float) -> list[Mask]:
        pooled = [self.pattern.pool(one, kernel.stored_axes) for one, kernel in zip(scores, kernels, strict=True)]
        kept = map(smallest_removed, pooled, self.counts(pooled, height))
        return [
            self.pattern.spread(one, tuple(kernel.variable.shape), kernel.stored_axes)
            for one, kernel in zip(kept, kernels, strict=True)
        ]


@dataclass(frozen=True)
class GroupedMasks:
    """Masks by groups: `m` of every `n` inputs go, whatever the height of the ramp."""

    m: int
    n: int

    def __call__(self, kernels: Sequence[Kernel], scores: Sequence[Scores], height: float) -> list[Mask]:
        return [
            m_by_n_mask(one, kernel.stored_axes or (), self.m, self.n)
            for one, kernel in zip(scores, kernels, strict=True)
        ]


class Pruner:
    """Holds the masks of some kernels, and makes them anew as the ramp rises.

    They are made from the weights as the optimizer left them, and then applied: so, as in TFMOT, a weight that was
    masked comes back if one step made it larger than another. What was zero to begin with never does.
    """

    def __init__(
        self, kernels: Sequence[Kernel], score: Score, masks_of: CountedMasks | GroupedMasks, ramp: Ramp
    ) -> None:
        self._kernels, self._score, self._masks_of, self._ramp = kernels, score, masks_of, ramp
        self._alive: list[NDArray[np.bool_]] = [kernel.values() != 0 for kernel in kernels]
        self._masks = Masks([kernel.variable for kernel in kernels])
        self._masks.set(self._alive)
        self._steps = 0

    def begin(self) -> None:
        """Before the first step: what the ramp takes away at once."""
        if self._ramp.is_due(0) and self._ramp.height(0) > 0:
            self._update()
        self._masks.apply()

    def step(self) -> None:
        """After every step."""
        self._steps += 1
        if self._ramp.is_due(self._steps):
            self._update()
        self._masks.apply()

    def _update(self) -> None:
        scores = alive_scores(self._score(self._kernels), self._alive)
        masks = self._masks_of(self._kernels, scores, self._ramp.height(self._steps))
        self._masks.set([mask & alive for mask, alive in zip(masks, self._alive, strict=True)])


def alive_scores(scores: Sequence[Scores], alive: Sequence[Mask]) -> list[Scores]:
    """The scores, with `GONE` where a weight may not come back."""
    return [np.where(living, one, GONE) for one, living in zip(scores, alive, strict=True)]
