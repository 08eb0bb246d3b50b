"""Counts in the weights what a stage is about to promise of the final bytes, and refuses what is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import BrokenPromise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.stages._kernels import Kernel


def share_of_zeros(weights: Sequence[NDArray[Any]]) -> float:
    """Share of zeros over some arrays together."""
    return sum(int((one == 0).sum()) for one in weights) / sum(one.size for one in weights)


def kept_groups_share(kernels: Sequence[Kernel], m: int, n: int) -> float:
    """Share of groups of n consecutive inputs of an output with at most n - m weights that are not zero."""
    good = groups = 0
    for kernel in kernels:
        stored = np.transpose(kernel.values(), kernel.stored_axes) != 0
        padding = [(0, 0)] * (stored.ndim - 1) + [(0, -stored.shape[-1] % n)]
        left = np.pad(stored, padding).reshape(-1, n).sum(axis=1)
        good += int((left <= n - m).sum())
        groups += left.size
    return good / groups


def refuse_fewer(where: str, found: float, expected: float) -> None:
    """Refuse to go on with fewer zeros (or good groups) than the settings ask for.

    Raises:
        BrokenPromise: they are fewer.
    """
    if found < expected:
        raise BrokenPromise(
            f"Pruning left {found:g} zeros in {where}.",
            expected=f"at least {expected:g}",
            mend="raise the threshold, if that is what the recipe sets; otherwise this is a fault of edgesmith: please "
            "report it with the recipe",
        )


def refuse_dead_layers(stage: str, kernels: Sequence[Kernel]) -> None:
    """Refuse a model with a kernel that is all zeros: nothing passes through such a layer, whatever the accuracy says.

    Raises:
        BrokenPromise: with the names of the layers.
    """
    dead = [kernel.layer for kernel in kernels if not kernel.values().any()]
    if dead:
        raise BrokenPromise(
            f"Every weight is zero in: {', '.join(dict.fromkeys(dead))}.",
            expected="layers that something passes through",
            mend=f"put the layer into stages.{stage}.skip_layers, or ask for less; stages.prune.max_layer_sparsity: 1 "
            "allows it",
        )
