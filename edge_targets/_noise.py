"""How far a model's tensors are from those of another: what is asked, and what was found."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TensorPair:
    """The same quantity in two models.

    Attributes:
        reference, other: index of the tensor in each one's main graph.
        scale, zero_point: what a stored value q of the other stands for: scale * (q - zero_point).
    """

    reference: int
    other: int
    scale: float = 1.0
    zero_point: int = 0


@dataclass(frozen=True)
class Noise:
    """What was found of a pair, over all examples; None where the models gave numbers that are not finite.

    Attributes:
        signal: sum of the reference's squares.
        noise: sum of the squares of what the other differs by.
        details: what these two sums hide, where it was told.
    """

    signal: float | None
    noise: float | None
    details: ErrorDetails | None = None

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise: 10·log10(signal / noise); infinite where nothing differs.

        None where it says nothing: without a signal, or where numbers were not finite.
        """
        if not self.signal or self.noise is None:
            return None
        return 10 * math.log10(self.signal / self.noise) if self.noise else math.inf


@dataclass(frozen=True)
class ErrorDetails:
    """The quantization error of a tensor, float minus dequantized, and what may cause it. Channels are the last axis.

    Attributes:
        mean: of the error: other than zero, the other model is biased.
        worst: the largest error, either way.
        bin_width: of a bin of the histogram.
        bins: how many values err so much, from -len/2 to len/2 widths; zero is the edge in the middle.
        range: least and largest value of the reference.
        usual: the range without the 0.1 % that lie furthest out.
        channels: how many have a signal.
        lost_channels: those of them that vary in the reference, and are one and the same value in the other.
        channel_spread: how many times larger the largest of a channel is than that of the smallest one.
        channel_noise: noise by signal, 0 to 1, on average over the channels: a layer behind may weigh any of them.
        shift: share of the noise that is a constant of each channel, 0 to 1: adding it to the bias would take it away.
    """

    mean: float
    worst: float
    bin_width: float
    bins: tuple[int, ...]
    range: tuple[float, float]
    usual: tuple[float, float]
    channels: int
    lost_channels: int
    channel_spread: float
    channel_noise: float
    shift: float

    @property
    def channel_sqnr_db(self) -> float:
        """Signal to quantization noise where each channel counts as much as any other; infinite without noise."""
        return -10 * math.log10(self.channel_noise) if self.channel_noise > 0 else math.inf
