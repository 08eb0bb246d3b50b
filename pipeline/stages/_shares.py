"""How many units of each kernel go: the same share of each, by one ranking over all, by sensitivity, or by threshold.

A count follows from the units' scores, kernel by kernel, and from how far the ramp has risen, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.stages._masks import smallest_removed, zeros_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.stages._masks import Scores

Counts = Callable[[Sequence["Scores"], float], list[int]]
"""From the scores of each kernel's units and the height of the ramp: how many of each go."""


def by_share(shares: Sequence[float]) -> Counts:
    """Of each kernel its own share."""

    def counts(scores: Sequence[Scores], height: float) -> list[int]:
        return [zeros_for(one.size, share * height) for one, share in zip(scores, shares, strict=True)]

    return counts


def by_threshold(thresholds: Sequence[float], most: float) -> Counts:
    """All units below their kernel's threshold, which rises with the ramp (Han et al., 2015); at most `most` of it."""

    def counts(scores: Sequence[Scores], height: float) -> list[int]:
        below = [int((one < limit * height).sum()) for one, limit in zip(scores, thresholds, strict=True)]
        return [min(count, int(most * one.size)) for count, one in zip(below, scores, strict=True)]

    return counts


def by_rank(share: float, most: float) -> Counts:
    """Of all kernels together a share, whichever matter least; of no single one more than a share of `most`."""

    def counts(scores: Sequence[Scores], height: float) -> list[int]:
        limits = [int(most * one.size) for one in scores]
        # What lies above a kernel's limit may not be chosen: the limits hold exactly, and so does the sum.
        eligible = [
            np.partition(one, limit - 1)[:limit] if limit else one[:0]
            for one, limit in zip(scores, limits, strict=True)
        ]
        count = min(zeros_for(sum(one.size for one in scores), share * height), sum(limits))
        removed = ~smallest_removed(np.concatenate(eligible), count)
        owner = np.repeat(np.arange(len(scores)), limits)
        return [int(found) for found in np.bincount(owner[removed], minlength=len(scores))]

    return counts


def equal_harm(sizes: Sequence[int], levels: Sequence[float], harm: NDArray[np.float64], share: float) -> list[float]:
    """The share of each layer that adds up to `share` of all weights, while each layer does the same harm.

    Args:
        sizes: weights a layer, (layers,).
        levels: the rising shares at which the harm was measured; the last is the most that may go of a layer.
        harm: by how much the loss rose, (layers, levels). Between two levels it is taken to rise evenly.
        share: of all weights, no more than the last level.
    """
    rising = np.maximum.accumulate(np.maximum(np.nan_to_num(harm, nan=np.inf), 0), axis=1)
    # Flat stretches get the faintest slope, so that every harm belongs to exactly one share.
    rising = np.minimum(rising, 1e6) + 1e-6 * np.asarray(levels)
    total = sum(sizes)

    def shares(limit: float) -> list[float]:
        return [float(np.interp(limit, [0.0, *row], [0.0, *levels])) for row in rising]

    low, high = 0.0, float(rising.max())
    for _ in range(60):  # halves down to the last bit of a double
        middle = (low + high) / 2
        found = sum(size * one for size, one in zip(sizes, shares(middle), strict=True))
        low, high = (middle, high) if found < share * total else (low, middle)
    return shares(high)
