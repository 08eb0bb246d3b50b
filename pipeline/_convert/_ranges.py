"""The ranges in a calibrated `.tflite`: which tensors have one, which must share one, and how to write others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_targets.tflite_graph import parse_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_targets.tflite_graph import Graph

Range = tuple[float, float]

SAME_SCALE = frozenset(
    {
        *("AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS"),
        *("GATHER", "GATHER_ND", "MAXIMUM", "MAX_POOL_2D", "MINIMUM", "MIRROR_PAD", "PACK", "PAD", "PADV2"),
        *("REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "SLICE"),
        *("SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE"),
        "UNPACK",
    }
)
"""Operators that move numbers and cannot scale them: what goes in and what comes out has one scale in int8."""

FIXED_SCALE = frozenset({"L2_NORMALIZATION", "LOGISTIC", "LOG_SOFTMAX", "SOFTMAX", "TANH"})
"""Operators whose output has the scale that TensorFlow Lite's specification gives it, whatever was measured."""


class Ranges:
    """The tensors of a calibrated `.tflite` that are computed, in groups that share a range.

    Attributes:
        each: least and largest value of every tensor by its index, as the file has them.
        groups: indices of tensors; each group as a tuple, by its first.
        measured: least and largest value over a whole group, by the same number; groups of fixed scale are left out.
        names: of every tensor, by its index.
    """

    def __init__(self, calibrated: bytes) -> None:
        from tensorflow.lite.tools import flatbuffer_utils

        self._tree = flatbuffer_utils.convert_bytearray_to_object(calibrated)
        graph = parse_graph(calibrated)
        self.names = [tensor.name for tensor in graph.tensors]
        self.each = {index: limits for index in _computed(graph) if (limits := self._range(index)) is not None}
        members = _together(graph, self.each)
        fixed = {index for each in graph.operators if each.kind in FIXED_SCALE for index in each.outputs}
        self.groups = {group[0]: group for group in members if fixed.isdisjoint(group)}
        self.measured = {first: _around(self.each[index] for index in group) for first, group in self.groups.items()}

    def by_name(self) -> dict[str, Range]:
        """The range of each computed tensor, which is that of its group, by the tensor's name."""
        shared = {index: self.measured[first] for first, group in self.groups.items() for index in group}
        return {self.names[index]: limits for index, limits in (self.each | shared).items()}

    def written(self, chosen: Mapping[int, Range]) -> bytes:
        """The file with other ranges.

        Args:
            chosen: least and largest value, by the number of the group.
        """
        return self.rewritten({index: limits for first, limits in chosen.items() for index in self.groups[first]})

    def rewritten(self, each: Mapping[int, Range]) -> bytes:
        """The file with other ranges, by the tensor's index."""
        from tensorflow.lite.tools import flatbuffer_utils

        for index, (low, high) in each.items():
            quantization = self._tree.subgraphs[0].tensors[index].quantization
            quantization.min, quantization.max = [low], [high]
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._tree))

    def _range(self, index: int) -> Range | None:
        quantization: Any = self._tree.subgraphs[0].tensors[index].quantization
        if quantization is None or quantization.min is None or len(quantization.min) != 1:
            return None
        return float(quantization.min[0]), float(quantization.max[0])


def _computed(graph: Graph) -> list[int]:
    return sorted({*graph.inputs, *(index for operator in graph.operators for index in operator.outputs)})


def _together(graph: Graph, found: Mapping[int, Range]) -> list[tuple[int, ...]]:
    """Tensors that operators of one scale join, however many such operators lie between them (union-find)."""
    parent = {index: index for index in found}

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for operator in graph.operators:
        if operator.kind in SAME_SCALE:
            joined = [index for index in (*operator.inputs, *operator.outputs) if index in found]
            for index in joined[1:]:
                parent[root(index)] = root(joined[0])
    groups: dict[int, list[int]] = {}
    for index in sorted(found):
        groups.setdefault(root(index), []).append(index)
    return [tuple(group) for group in groups.values()]


def _around(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)
