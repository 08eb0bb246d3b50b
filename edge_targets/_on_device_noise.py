"""Runs on the device, beside `_on_device.py`: how far one tensor of a model is from the same one of another.

A `Tally` sees the tensor of one example after another and keeps sums, so that its size does not depend on how many
there are: what comes back of a layer is a few numbers and two small histograms' worth of them. It needs Python 3.7 and
numpy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Json = dict[str, Any]

# Even, so that zero is an edge: bins stay in place when two become one. 32 are enough to see a shape; the range of a
# tensor is read from the finer ones.
ERROR_BINS, VALUE_BINS = 32, 4096

# What is left out at both ends together of the range that holds nearly all values.
OUTLIERS = 0.001


class Tally:
    """What was seen so far of a pair of tensors: the reference's, and the other's as stored.

    Args:
        pair: the two indices, then scale and zero point of the other: a stored q stands for scale * (q - zero point).
    """

    def __init__(self, pair: Sequence[Any]) -> None:
        self.places = pair[:2]
        self.scale, self.zero_point = np.float32(pair[2]), np.float32(pair[3])
        self.errors, self.values = Histogram(ERROR_BINS), Histogram(VALUE_BINS)
        self.rows = 0
        self.channels: Channels | None = None

    def add(self, reference: Any, other: Any) -> None:
        """One more example: the tensor in both models, (..., channels)."""
        if not reference.size:
            return
        width = reference.shape[-1] if reference.ndim else 1
        reference = reference.reshape(-1, width).astype(np.float32)
        other = (other.reshape(-1, width).astype(np.float32) - self.zero_point) * self.scale
        error = reference - other
        self.errors.add(error)
        self.values.add(reference)
        self.rows += len(error)
        found = Channels(reference, other, error)
        self.channels = found if self.channels is None else self.channels.with_more(found)

    def answer(self) -> Json:
        """All of it as JSON; without the details where the numbers were not finite."""
        if self.channels is None:
            return {"signal": 0.0, "noise": 0.0}
        signal, noise = float(self.channels.signal.sum()), float(self.channels.noise.sum())
        if not math.isfinite(signal) or not math.isfinite(noise):
            return {"signal": finite(signal), "noise": finite(noise)}
        low, high = self.values.bounds(OUTLIERS)
        size = self.rows * len(self.channels.noise)
        return dict(
            self.channels.answer(self.rows),
            signal=signal,
            noise=noise,
            mean=float(self.channels.error.sum()) / size,
            worst=self.errors.most,
            bin_width=self.errors.width,
            bins=self.errors.counts.tolist(),
            usual=[low, high],
        )


class Channels:
    """Sums and ranges of each channel, over all places and examples; arrays are (channels,)."""

    def __init__(self, reference: Any, other: Any, error: Any) -> None:
        sums = {"axis": 0, "dtype": np.float64}
        self.signal = np.square(reference).sum(**sums)
        self.noise = np.square(error).sum(**sums)
        self.error = error.sum(**sums)
        self.low, self.high = reference.min(axis=0), reference.max(axis=0)
        self.stored_low, self.stored_high = other.min(axis=0), other.max(axis=0)

    def with_more(self, other: Channels) -> Channels:
        """These with those of another example."""
        for name in ("signal", "noise", "error"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, side in (("low", np.minimum), ("high", np.maximum)):
            for which in (name, "stored_" + name):
                setattr(self, which, side(getattr(self, which), getattr(other, which)))
        return self

    def answer(self, rows: int) -> Json:
        """What a sum over all channels hides. Channels without a signal say nothing and do not count."""
        alive = self.signal > 0
        varies = alive & (self.high > self.low)
        lost = varies & (self.stored_high == self.stored_low)
        reach = np.maximum(np.abs(self.low), np.abs(self.high))[alive].astype(np.float64)
        shares = np.minimum(self.noise[alive] / self.signal[alive], 1)
        noise = float(self.noise.sum())
        return {
            "range": [float(self.low.min()), float(self.high.max())],
            "channels": int(alive.sum()),
            "lost_channels": int(lost.sum()),
            "channel_spread": float(reach.max() / reach.min()) if reach.size else 1.0,
            "channel_noise": float(shares.mean()) if shares.size else 0.0,
            "shift": float((np.square(self.error) / rows).sum()) / noise if noise else 0.0,
        }


class Histogram:
    """Counts in bins of one width around zero, which doubles, two bins becoming one, until all fit.

    Args:
        bins: how many, an even number.
    """

    def __init__(self, bins: int) -> None:
        self.counts = np.zeros(bins, np.int64)
        self.width = 0.0
        self.most = 0.0

    def add(self, values: Any) -> None:
        """Count these, an array of any shape; numbers that are not finite are left out."""
        values = values[np.isfinite(values)].astype(np.float64)
        self.most = max(self.most, float(np.abs(values).max()) if values.size else 0.0)
        half = len(self.counts) // 2
        # A power of two is exact: a bin's edge is then no matter of rounding. Denormal widths have no inverse.
        if self.most and not self.width:
            self.width = 2.0 ** max(math.floor(math.log2(self.most / half)), -1000)
        while self.most >= half * self.width > 0:
            self._double()
        if self.width:
            places = np.floor(values / self.width).astype(np.int64) + half
            self.counts += np.bincount(places, minlength=len(self.counts))
        else:
            self.counts[half] += values.size

    def _double(self) -> None:
        quarter = len(self.counts) // 4
        self.counts = np.pad(self.counts.reshape(-1, 2).sum(axis=1), quarter, mode="constant")
        self.width *= 2

    def bounds(self, left_out: float) -> tuple[float, float]:
        """The edges between which all values lie but this share, half of it at each end."""
        share = np.cumsum(self.counts) / max(self.counts.sum(), 1)
        half = len(self.counts) // 2
        first = int(np.argmax(share > left_out / 2))
        last = int(np.argmax(share >= 1 - left_out / 2))
        return float((first - half) * self.width), float((last + 1 - half) * self.width)


def finite(number: float) -> float | None:
    """JSON knows no infinity and no NaN."""
    return number if math.isfinite(number) else None
