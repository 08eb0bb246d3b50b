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
    """

    signal: float | None
    noise: float | None

    @property
    def sqnr_db(self) -> float | None:
        """Signal to quantization noise: 10·log10(signal / noise); infinite where nothing differs.

        None where it says nothing: without a signal, or where numbers were not finite.
        """
        if not self.signal or self.noise is None:
            return None
        return 10 * math.log10(self.signal / self.noise) if self.noise else math.inf
