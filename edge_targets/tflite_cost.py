"""What each operator of a `.tflite` costs: multiply-accumulates (MACs) an inference, and bytes in the file.

Counted from shapes alone, without TensorFlow. A body of a loop counts once, for how often it runs is not in the file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edge_targets.tflite_graph import UNPACKING, Graph, Operator, Tensor, stored_constant, weight_places

_SCALE_BYTES, _ZERO_POINT_BYTES = 4, 8
"""float32 and int64 in TensorFlow Lite's schema."""


@dataclass(frozen=True)
class OperatorCost:
    """The cost of one operator.

    Attributes:
        operator: the operator.
        subgraph: which of the graph's subgraphs it is in; 0 is the main one.
        macs: multiply-accumulates of one run; 0 for operators that multiply nothing with weights.
        bytes: of the constants it reads, biases, scales and zero points too. What several operators read counts for
            the first of them, for it lies in the file once.
    """

    operator: Operator
    subgraph: int
    macs: int
    bytes: int


@dataclass(frozen=True)
class WeightCost:
    """The cost of one weight tensor, over all the operators that read it, such as the steps of an unrolled loop.

    Attributes:
        operator: the first that reads it.
        tensor: the weights as they are stored.
        macs: multiply-accumulates of one run.
        bytes: of its values, scales and zero points, and of what else its operator alone reads, such as the bias.
    """

    operator: Operator
    tensor: Tensor
    macs: int
    bytes: int


def operator_costs(graph: Graph) -> tuple[OperatorCost, ...]:
    """The cost of every operator, in the order of execution; those of loops' and branches' bodies come last."""
    seen: set[int] = set()
    return tuple(
        OperatorCost(operator, number, subgraph.macs(operator), _fresh_bytes(subgraph.constants(operator), seen))
        for number, subgraph in enumerate(map(_Subgraph, graph.subgraphs()))
        for operator in subgraph.graph.operators
    )


def weight_costs(graph: Graph) -> tuple[WeightCost, ...]:
    """The cost of every weight tensor, each once, in the order of execution."""
    readers: dict[int, list[_Reader]] = {}
    for subgraph in map(_Subgraph, graph.subgraphs()):
        for operator in subgraph.graph.operators:
            for tensor in subgraph.weights(operator):
                readers.setdefault(id(tensor), []).append(_Reader(subgraph, operator, tensor))
    seen: set[int] = set()
    return tuple(_weight_cost(found, readers.keys(), seen) for found in readers.values())


def total_macs(graph: Graph) -> int:
    """Multiply-accumulates of an inference on one input of the model."""
    return sum(cost.macs for cost in operator_costs(graph))


_OUTPUT = -1
_COUNTED: dict[str, int] = {
    # A kernel is multiplied once for each place of the output (batch, ..., channels).
    **dict.fromkeys(("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), _OUTPUT),
    # A transposed convolution spreads each place of its input, which comes third.
    **dict.fromkeys(("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"), 2),
    # Every step of every sequence, (batch, time, features) or (time, batch, features).
    **dict.fromkeys(("LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"), 0),
    **dict.fromkeys(("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"), 0),
}
"""Operators that multiply each of their weights as often as this tensor has places: an input, or the output."""


class _Subgraph:
    """A subgraph, with what has to be looked up in it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._makers = {output: operator for operator in graph.operators for output in operator.outputs}

    def macs(self, operator: Operator) -> int:
        """Multiply-accumulates of one run; those of adding a bias are not counted."""
        if operator.kind == "BATCH_MATMUL":
            return self._batch_matmul(operator)
        weights = (self._input(operator, place) for place in weight_places(operator))
        return self._passes(operator) * sum(tensor.size for tensor in weights if tensor is not None)

    def macs_through(self, operator: Operator, weights: Tensor) -> int:
        """Those of them that multiply with one of the operator's weight tensors."""
        if operator.kind == "BATCH_MATMUL":
            return self._batch_matmul(operator)
        return self._passes(operator) * weights.size

    def weights(self, operator: Operator) -> list[Tensor]:
        """The operator's constant weights, as they are stored."""
        places = weight_places(operator)
        return self._stored([operator.inputs[place] for place in places if place < len(operator.inputs)])

    def constants(self, operator: Operator) -> list[Tensor]:
        """The constants that an operator reads. What unpacks one leaves it to the operator behind."""
        return [] if operator.kind in UNPACKING else self._stored(operator.inputs)

    def _stored(self, indices: Iterable[int]) -> list[Tensor]:
        found = (stored_constant(self.graph, self._makers, index) for index in indices)
        return [tensor for tensor in found if tensor is not None]

    def _passes(self, operator: Operator) -> int:
        """How often a run multiplies with each number of the operator's weights."""
        place = _COUNTED.get(operator.kind)
        if place is None:
            return 0
        counted = self._output(operator) if place == _OUTPUT else self._input(operator, place)
        return math.prod(counted.shape[:-1]) if counted else 0

    def _batch_matmul(self, operator: Operator) -> int:
        """(..., m, k) by (..., k, n), either of them transposed or not: k follows from the sizes."""
        left, output = self._input(operator, 0), self._output(operator)
        if left is None or output is None or len(output.shape) < 2:
            return 0
        return output.size * math.prod(left.shape[-2:]) // max(output.shape[-2], 1)

    def _input(self, operator: Operator, place: int) -> Tensor | None:
        index = operator.inputs[place] if place < len(operator.inputs) else -1
        return self.graph.tensors[index] if index >= 0 else None

    def _output(self, operator: Operator) -> Tensor | None:
        return self.graph.tensors[operator.outputs[0]] if operator.outputs else None


@dataclass(frozen=True)
class _Reader:
    """An operator that reads a weight tensor."""

    subgraph: _Subgraph
    operator: Operator
    weights: Tensor

    def macs(self) -> int:
        return self.subgraph.macs_through(self.operator, self.weights)


def _weight_cost(readers: list[_Reader], all_weights: Collection[int], seen: set[int]) -> WeightCost:
    first = readers[0]
    constants = first.subgraph.constants(first.operator)
    beside = [constant for constant in constants if id(constant) not in all_weights]
    stored_bytes = _fresh_bytes([first.weights, *beside], seen)
    return WeightCost(first.operator, first.weights, sum(reader.macs() for reader in readers), stored_bytes)


def _fresh_bytes(tensors: Iterable[Tensor], seen: set[int]) -> int:
    """What these tensors take in the file, as far as nothing counted them before. Tensors may share their bytes."""
    total = 0
    for tensor in tensors:
        if tensor.data is not None and id(tensor.data) not in seen:
            seen.add(id(tensor.data))
            total += len(tensor.data) + _SCALE_BYTES * len(tensor.scales) + _ZERO_POINT_BYTES * len(tensor.zero_points)
    return total
