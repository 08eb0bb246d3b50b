"""Which range of an activation int8 should cover: all of it, or less of it in finer steps.

Each method gives the ends of the range from a histogram. A range always covers zero, as TensorFlow Lite demands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline._convert._histogram import Histogram, histograms
from pipeline._convert._ranges import Range, Ranges

if TYPE_CHECKING:
    from numpy.typing import NDArray

Method = Literal["percentile", "mse", "entropy"]

STEPS = {"int8": 255, "int4": 255, "int16x8": 65534}
"""Steps between the ends of an activation's range, by precision: int4 is of the weights alone."""

MOST_ROUNDS = 20
KL_BINS, KL_SIGNED_LEVELS, KL_STRIDE = 2048, 128, 8
"""Migacz counts magnitudes in 2048 bins and quantizes them to 128 levels; every eighth threshold is tried."""

SPIKE_REACH = 2
"""How many bins to each side tell what a bin usually holds."""


def recalibrated(
    calibrated: bytes, examples: NDArray[np.float32], method: Method, *, percentile: float, precision: str
) -> bytes:
    """A calibrated float `.tflite` with ranges chosen by a method in the place of the least and the largest value.

    Tensors that must share a scale are counted together and get one range. Operators whose scale is fixed keep theirs.

    Args:
        calibrated: with the ranges that the converter measured.
        examples: those that it measured them over, (n, ...) float32.
        method: how the range is chosen.
        percentile: for that method: the share of values, in percent, below the upper end, and above the lower.
        precision: of the activations.
    """
    ranges = Ranges(calibrated)
    found = histograms(calibrated, examples, ranges.groups, ranges.measured)
    choose = {
        "percentile": lambda counted: percentile_range(counted, percentile),
        "mse": lambda counted: mse_range(counted, STEPS[precision]),
        "entropy": entropy_range,
    }[method]
    return ranges.written({group: choose(counted) for group, counted in found.items() if counted.counts.any()})


def percentile_range(counted: Histogram, percentile: float) -> Range:
    """The range that leaves out the same small share of values at each end.

    Args:
        counted: the values.
        percentile: 99.99 leaves out the largest 0.01 % and the least 0.01 %.
    """
    counts, edges = counted.counts.astype(np.float64), counted.edges
    # Zeros are values as others are here.
    counts[np.clip(np.searchsorted(edges, 0.0, side="right") - 1, 0, len(counts) - 1)] += counted.zeros
    below = np.cumsum(counts) / counts.sum()
    share = percentile / 100
    high = edges[np.searchsorted(below, share) + 1]
    low = edges[np.searchsorted(below, 1 - share, side="right")]
    return min(float(low), 0.0), max(float(high), 0.0)


def mse_range(counted: Histogram, steps: int) -> Range:
    """The range with the least expected square of the error: of rounding inside it, and of clipping outside.

    Rounding to steps of s costs s²/12 a value (Widrow), clipping the squared distance to the end. Either end is moved
    to its best place in turn, until neither moves.

    Args:
        counted: the values.
        steps: between the ends.
    """
    low, high = min(counted.low, 0.0), max(counted.high, 0.0)
    highs, lows = _places(counted, positive=True), _places(counted, positive=False)
    too_high, too_low = _clipping(counted, highs), _clipping(_mirrored(counted), -lows)
    values = counted.counts.sum()
    for _ in range(MOST_ROUNDS):
        before = low, high
        high = float(highs[np.argmin(values * ((highs - low) / steps) ** 2 / 12 + too_high)])
        low = float(lows[np.argmin(values * ((high - lows) / steps) ** 2 / 12 + too_low)])
        if (low, high) == before:
            break
    return low, high


def entropy_range(counted: Histogram) -> Range:
    """The range whose int8 values tell most of the float ones' distribution: the least Kullback-Leibler divergence.

    Magnitudes alone decide, and both ends move to the same one, as in S. Migacz, "8-bit inference with TensorRT" (GTC
    2017). A tensor of one sign has all levels for it. Values that recur say nothing of a distribution, see `_smooth`.

    Args:
        counted: the values.
    """
    magnitude = max(abs(counted.low), abs(counted.high))
    centers = (counted.edges[:-1] + counted.edges[1:]) / 2
    counts, _ = np.histogram(np.abs(centers), KL_BINS, (0.0, magnitude), weights=_smooth(counted.counts))
    levels = KL_SIGNED_LEVELS if counted.low < 0 < counted.high else 2 * KL_SIGNED_LEVELS
    tried = [*range(levels, KL_BINS, KL_STRIDE), KL_BINS]
    best = min(tried, key=lambda bins: _divergence(counts, bins, levels))
    threshold = magnitude * best / KL_BINS
    return max(min(counted.low, 0.0), -threshold), min(max(counted.high, 0.0), threshold)


def _smooth(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The counts without spikes: what a layer makes of a flat background, one value for each of its channels.

    The level of such a value tells of its bin's neighbours too, which are empty. That divergence outweighs clipping,
    and the range would shrink until each bin has a level. So a bin counts no more than two of the four beside it
    do, for a spike on a border fills two; or than the mean bin, for few values leave gaps that are no spikes.
    """
    wide = np.pad(counts, SPIKE_REACH)
    steps = [step for step in range(-SPIKE_REACH, SPIKE_REACH + 1) if step]
    beside = np.stack([np.roll(wide, step)[SPIKE_REACH:-SPIKE_REACH] for step in steps])
    usual = np.maximum(np.sort(beside, axis=0)[-2], counts[counts > 0].mean())
    return np.minimum(counts.astype(np.float64), usual)


def _divergence(counts: NDArray[np.float64], bins: int, levels: int) -> float:
    """The divergence of the first bins, with all that lies beyond in the last, from the same bins told by levels."""
    inside = counts[:bins]
    reference = inside.copy()
    reference[-1] += counts[bins:].sum()
    level_of = np.arange(bins) * levels // bins
    filled = inside > 0
    sums = np.bincount(level_of, inside, levels)
    shares = np.bincount(level_of, filled, levels)
    told = np.where(filled, (sums / np.maximum(shares, 1))[level_of], 0.0)
    if not told.any():
        return float("inf")
    p, q = reference / reference.sum(), told / told.sum()
    some = p > 0
    # What the levels cannot tell at all has a divergence without end; this small a chance stands for it.
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))))


def _places(counted: Histogram, *, positive: bool) -> NDArray[np.float64]:
    """Where an end may be: at the borders of bins on its side of zero, or at zero where there are none."""
    edges = counted.edges
    found = edges[edges > 0] if positive else edges[edges < 0]
    return found if found.size else np.zeros(1)


def _mirrored(counted: Histogram) -> Histogram:
    return Histogram(-counted.high, -counted.low, counted.counts[::-1], counted.zeros)


def _clipping(counted: Histogram, ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the squared distances of the values above each upper end to it, in the shape of the ends."""
    edges = counted.edges
    centers = (edges[:-1] + edges[1:]) / 2
    # Σ c·(x - end)² = Σ c·x² - 2·end·Σ c·x + end²·Σ c, over the bins from each place on.
    sums = [np.append(np.cumsum((counted.counts * centers**power)[::-1])[::-1], 0.0) for power in range(3)]
    places = np.searchsorted(centers, ends)
    return np.asarray(sums[2][places] - 2 * ends * sums[1][places] + ends**2 * sums[0][places])
