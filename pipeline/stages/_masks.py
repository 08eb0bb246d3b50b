"""Which weights of a kernel go, given how much each matters: one by one, block by block, or m of every n.

Everything here is numpy. A pattern pools the scores of a kernel's weights into one score a unit (a weight, a block);
units are chosen; the pattern spreads the choice over the weights. A mask is True where a weight stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float32]
    Mask = NDArray[np.bool_]

GONE = np.float32(-1)
"""The score of a weight that may not come back; all others are at least 0."""


class Pattern(Protocol):
    """How weights are taken together."""

    needs_rows: bool
    """Whether it groups the inputs of an output, and so only fits kernels that have such rows."""

    def pool(self, scores: Scores, stored_axes: tuple[int, ...] | None) -> Scores:
        """One score a unit, (units,), from one a weight, in the kernel's shape."""

    def spread(self, kept: Mask, shape: tuple[int, ...], stored_axes: tuple[int, ...] | None) -> Mask:
        """The mask in a kernel's `shape`, from one of its units, (units,)."""


@dataclass(frozen=True)
class Single:
    """Every weight for itself."""

    needs_rows = False

    def pool(self, scores: Scores, stored_axes: tuple[int, ...] | None) -> Scores:
        return scores.reshape(-1)

    def spread(self, kept: Mask, shape: tuple[int, ...], stored_axes: tuple[int, ...] | None) -> Mask:
        return kept.reshape(shape)


@dataclass(frozen=True)
class Blocks:
    """Blocks of `height` consecutive inputs by `width` consecutive outputs; at the borders what is left of one.

    TFMOT's block sparsity, which takes matrices only; a convolution's kernel is the matrix that TensorFlow Lite makes
    of it. Where sizes do not divide, TFMOT pools other weights than it then masks; here they are the same.
    """

    height: int
    width: int
    pooling: Literal["avg", "max"]
    needs_rows = True

    def pool(self, scores: Scores, stored_axes: tuple[int, ...] | None) -> Scores:
        matrix = _rows(scores, stored_axes).T  # (inputs, outputs)
        largest = self._reduced(np.maximum, matrix)
        if self.pooling == "max":
            return largest.reshape(-1)
        means = self._reduced(np.add, np.maximum(matrix, 0)) / self._reduced(np.add, np.ones_like(matrix))
        # A block is gone for good only when all of it is.
        return np.where(largest == GONE, GONE, means).reshape(-1)

    def spread(self, kept: Mask, shape: tuple[int, ...], stored_axes: tuple[int, ...] | None) -> Mask:
        stored = tuple(shape[axis] for axis in stored_axes or ())
        outputs, inputs = stored[0], math.prod(stored[1:])
        blocks = kept.reshape(math.ceil(inputs / self.height), math.ceil(outputs / self.width))
        matrix = blocks.repeat(self.height, axis=0)[:inputs].repeat(self.width, axis=1)[:, :outputs]
        return _unrowed(matrix.T, shape, stored_axes)

    def _reduced(self, combine: np.ufunc, matrix: Scores) -> Scores:
        by_row = combine.reduceat(matrix, range(0, matrix.shape[0], self.height), axis=0)
        found: Scores = combine.reduceat(by_row, range(0, matrix.shape[1], self.width), axis=1)
        return found


def smallest_removed(scores: Scores, count: int) -> Mask:
    """The mask that takes away exactly the `count` units with the smallest scores, (units,)."""
    kept = np.ones(scores.size, bool)
    if count:
        kept[np.argpartition(scores, count - 1)[:count]] = False
    return kept


def m_by_n_mask(scores: Scores, stored_axes: tuple[int, ...], m: int, n: int) -> Mask:
    """The mask that takes the `m` smallest of every `n` consecutive inputs of an output (Mishra et al., 2021).

    At the end of a row that `n` does not divide, what is missing counts as taken: no more than n - m stay of any group.
    As in TFMOT, the inputs are those at one place of a convolution's window.

    Args:
        scores: one a weight, in the kernel's shape.
        stored_axes: the kernel's axes with the inputs last.
        m, n: of n weights m go.
    """
    stored = np.transpose(scores, stored_axes)
    missing = -stored.shape[-1] % n
    padding = [(0, 0)] * (stored.ndim - 1) + [(0, missing)]
    groups = np.pad(stored, padding, constant_values=GONE).reshape(-1, n)
    largest_first = np.argsort(-groups, axis=1, kind="stable")
    kept = np.ones(groups.shape, bool)
    np.put_along_axis(kept, largest_first[:, n - m :], False, axis=1)
    padded = kept.reshape(*stored.shape[:-1], stored.shape[-1] + missing)
    return np.transpose(padded[..., : stored.shape[-1]], np.argsort(stored_axes))


def zeros_for(units: int, share: float) -> int:
    """How many of `units` go for a share of them; one always stays (as TFMOT rounds)."""
    return units - max(round(units * (1 - share)), 1)


def _rows(array: NDArray[np.float32], stored_axes: tuple[int, ...] | None) -> NDArray[np.float32]:
    """A kernel as TensorFlow Lite's matrix, (outputs, inputs)."""
    stored = np.transpose(array, stored_axes)
    return stored.reshape(stored.shape[0], -1)


def _unrowed(matrix: Mask, shape: tuple[int, ...], stored_axes: tuple[int, ...] | None) -> Mask:
    """`_rows` backwards."""
    axes = stored_axes or ()
    return np.transpose(matrix.reshape([shape[axis] for axis in axes]), np.argsort(axes))
