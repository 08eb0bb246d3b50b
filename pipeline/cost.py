"""What each layer of a Keras model costs on the device: parameters, and multiply-accumulates (MACs) an inference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer, over all the places where the model calls it.

    Attributes:
        name: the layer's.
        kind: its class, `Conv2D`.
        parameters: numbers in its weights, those of a batch normalization's statistics too.
        macs: multiply-accumulates an inference on one example. Batch normalization has none: the converter folds it.
        uses: for each weight of `layer.weights`, how often an inference multiplies with each of its numbers; 0 for
            biases. MACs are then the sum of size times uses, which stays true when filters are removed.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    uses: tuple[int, ...]


def layer_costs(model: Any) -> tuple[LayerCost, ...]:
    """The cost of every layer, in the model's order.

    Counted are convolutions of every kind, dense layers and recurrent ones; every other layer counts as free, such as
    the products of two activations in an attention. This is how the papers of MobileNet and of ResNet count.

    Args:
        model: a flat tf_keras model; dimensions that it leaves open count as 1.
    """
    return tuple(_cost(layer, _nodes_of(layer, model)) for layer in model.layers)


def total_macs(model: Any) -> int:
    """Multiply-accumulates of an inference on one example."""
    return sum(cost.macs for cost in layer_costs(model))


def _nodes_of(layer: Any, model: Any) -> list[Any]:
    """The calls of a layer that belong to this model; a layer may have been called for others too."""
    ours = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    return [node for node in layer.inbound_nodes if id(node) in ours]


def _cost(layer: Any, nodes: list[Any]) -> LayerCost:
    kind = type(layer).__name__
    sizes = [math.prod(weight.shape) for weight in layer.weights]
    uses = [0] * len(sizes)
    for node in nodes:
        for index, times in enumerate(_COUNTS.get(kind, _none)(node)):
            uses[index] += times
    macs = sum(size * times for size, times in zip(sizes, uses, strict=True))
    return LayerCost(layer.name, kind, sum(sizes), macs, tuple(uses))


def _none(node: Any) -> list[int]:
    return []


def _places(shape: Any) -> int:
    """Positions of a tensor (batch, ..., channels): how many vectors of channels it holds for one example."""
    return math.prod(size or 1 for size in shape[1:-1])


def _per_output(node: Any) -> list[int]:
    """The kernel is multiplied once for each place of the output."""
    return [_places(node.output_shapes)]


def _per_input(node: Any) -> list[int]:
    """A transposed convolution spreads each place of its input."""
    return [_places(node.input_shapes)]


def _separable(node: Any) -> list[int]:
    # The depthwise kernel strides; the pointwise one sees what is left.
    return [_places(node.output_shapes)] * 2


def _recurrent(node: Any) -> list[int]:
    """Kernel and recurrent kernel, once a time step. (batch, time, features)"""
    return [node.input_shapes[1] or 1] * 2


_COUNTS: dict[str, Callable[[Any], list[int]]] = {
    "Dense": _per_output,
    **{f"Conv{n}D": _per_output for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": _per_output for n in (1, 2)},
    **{f"SeparableConv{n}D": _separable for n in (1, 2)},
    **{f"Conv{n}DTranspose": _per_input for n in (1, 2, 3)},
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN"), _recurrent),
}
