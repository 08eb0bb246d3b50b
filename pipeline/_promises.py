"""What compression promised, counted again in the bytes of the `.tflite`: dead layers, patterns of zeros, clusters.

Part of `verify`. The stages say which layers they worked on; what those layers hold is read from the bytes alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets.tflite_graph import weight_tensors
from pipeline.check import Check

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from edge_targets.tflite_graph import Graph, Tensor
    from pipeline.check import Layer
    from pipeline.draft import Draft, Step

ROWS = frozenset({"CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
"""Operators whose weights lie as (outputs, ..., inputs)."""


def promise_checks(graph: Graph, layers: tuple[Layer, ...], draft: Draft) -> list[Check]:
    """The checks that follow from the promises of a draft's stages, as far as its traits still stand for them."""
    checks = []
    if _last(draft, "max_dead_layers") and "sparse" in draft.traits:
        dead = [layer.name for layer in layers if layer.weights and layer.sparsity == 1]
        checks.append(
            Check.at_most("dead_layers", len(dead), 0, "layers", f"all zeros: {', '.join(dead)}" if dead else "")
        )
    if (pruned := _last(draft, "min_pattern_share")) and "sparse" in draft.traits:
        checks.append(_kept_pattern(graph, pruned))
    if (clustered := _last(draft, "max_distinct")) and "clustered" in draft.traits:
        checks.extend(_kept_clusters(graph, clustered.notes["clusters"]))
    return checks


def distinct_weights(tensor: Tensor) -> int:
    """How many different values the weights take that share a scale, where they take most.

    Two equal weights that are scaled apart are different numbers in the bytes: so an int8 convolution, which has a
    scale for each output channel, keeps its clusters in each channel, and a tensor with one scale keeps them in all.
    """
    stored = tensor.values()
    groups = np.moveaxis(stored, tensor.quantized_dimension, 0) if len(tensor.scales) > 1 else [stored]
    return max(len(np.unique(group)) for group in groups)


def kept_groups(zeros: NDArray[np.bool_], m: int, n: int) -> tuple[int, int]:
    """How many groups of n consecutive inputs keep no more than n - m weights, and how many groups there are.

    Args:
        zeros: where a weight is zero, (outputs, ..., inputs). What a row lacks to whole groups counts as zero.
    """
    missing = -zeros.shape[-1] % n
    rows = np.pad(zeros.reshape(-1, zeros.shape[-1]), [(0, 0), (0, missing)], constant_values=True)
    kept = (~rows).reshape(-1, n).sum(axis=1)
    return int((kept <= n - m).sum()), kept.size


def zero_blocks(zeros: NDArray[np.bool_], inputs: int, outputs: int) -> tuple[int, int]:
    """How many blocks of so many inputs by outputs are all zeros, and how many blocks there are.

    Args:
        zeros: where a weight is zero, (outputs, ..., inputs); all axes but the first make a row.
        inputs, outputs: the size of a block; at the ends of rows and columns blocks are smaller.
    """
    matrix = zeros.reshape(zeros.shape[0], -1)
    by_row = np.logical_and.reduceat(matrix, range(0, matrix.shape[0], outputs), axis=0)
    blocks = np.logical_and.reduceat(by_row, range(0, matrix.shape[1], inputs), axis=1)
    return int(blocks.sum()), blocks.size


def _kept_pattern(graph: Graph, step: Step) -> Check:
    pattern, share = step.notes["pattern"], step.promises["min_pattern_share"]
    first, second = pattern["sizes"]
    count = kept_groups if pattern["kind"] == "m_by_n" else zero_blocks
    unit = f"share of groups {first}:{second}" if pattern["kind"] == "m_by_n" else f"share of {first}x{second} blocks"
    # An unrolled loop reads one tensor many times.
    found = {id(tensor): (name, tensor) for name, tensor in _named(graph, pattern["layers"], ROWS)}
    counts = np.reshape([count(_zeros(tensor), first, second) for _, tensor in found.values()], (-1, 2)).sum(axis=0)
    seen = float(counts[0] / counts[1]) if counts[1] else 1.0
    judged = Check.at_least("kept_pattern", seen, share, unit, "as pruning left it")
    return _as_far_as_named(judged, pattern["layers"], [name for name, _ in found.values()])


def _kept_clusters(graph: Graph, promised: dict[str, int]) -> Iterator[Check]:
    """One check for each number of clusters that was promised."""
    unit = "different weights with one scale"
    for limit in sorted(set(promised.values())):
        names = [name for name, clusters in promised.items() if clusters == limit]
        name = "kept_clusters" if len(set(promised.values())) == 1 else f"kept_clusters.{limit}"
        found = [(distinct_weights(tensor), layer) for layer, tensor in _named(graph, names)]
        most, layer = max(found, default=(0, ""))
        judged = Check.at_most(name, most, limit, unit, f"most in '{layer}'")
        yield _as_far_as_named(judged, names, [layer for _, layer in found])


def _as_far_as_named(judged: Check, promised: Collection[str], found: Collection[str]) -> Check:
    """A verdict on some layers, which is no pass where the bytes do not name all that were promised."""
    lost = [name for name in promised if name not in found]
    if not lost or judged.status == "fail":
        return judged
    why = f"the file does not name these layers: {', '.join(lost)}"
    return Check.not_measured(judged.name, judged.limit, judged.unit, why)


def _last(draft: Draft, promise: str) -> Step | None:
    """The last stage that made a promise."""
    return next((step for step in reversed(draft.steps) if promise in step.promises), None)


def _named(graph: Graph, names: Collection[str], kinds: Collection[str] = ()) -> Iterator[tuple[str, Tensor]]:
    """The weights of some layers by name, as the bytes tell it; of some kinds of operators, or of all but depthwise."""
    for operator, tensor in weight_tensors(graph):
        fits = operator.kind in kinds if kinds else operator.kind != "DEPTHWISE_CONV_2D"
        if operator.name in names and fits:
            yield operator.name, tensor


def _zeros(tensor: Tensor) -> NDArray[np.bool_]:
    """Where the weights stand for zero."""
    points: Any = np.asarray(tensor.zero_points or (0,))
    if points.size > 1:
        shape = [1] * len(tensor.shape)
        shape[tensor.quantized_dimension] = points.size
        points = points.reshape(shape)
    zeros: NDArray[np.bool_] = tensor.values() == points
    return zeros
