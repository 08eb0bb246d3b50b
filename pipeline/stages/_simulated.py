"""A model run twice side by side, layer by layer: in float, and as int8 would run it, simulated in float.

Weights are rounded to 8 bits with a scale for each output channel, activations with one scale for each tensor, whose
range is that of the float run: as TensorFlow Lite quantizes after training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.stages._linear import CONVOLUTIONS, DEPTHWISE, TRANSPOSED, output_ranges, scales_of_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.stages._network import Network

CORRECTED = ("Dense", *CONVOLUTIONS, *DEPTHWISE, *TRANSPOSED)
"""Layers whose weights are rounded in the simulation, and whose biases can make up for it."""

_SAME_SCALE = (
    "Flatten",
    "Reshape",
    "Permute",
    "Dropout",
    "MaxPooling1D",
    "MaxPooling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
)
"""Layers whose output has the scale of their input: nothing is rounded in them."""


@dataclass
class Both:
    """A tensor of both runs, (n, ...) each."""

    exact: Any
    rounded: Any


@dataclass(frozen=True)
class Met:
    """A layer that was corrected, or could be: what its int8 outputs are off, before its activation.

    Attributes:
        name: the layer's.
        error: mean over examples and places of float minus int8, (out,).
        deviation: standard deviation of the float outputs, over all channels.
    """

    name: str
    error: NDArray[np.float64]
    deviation: float


class Simulation:
    """Runs a live Keras model in both ways.

    Args:
        network: the model as data.
        model: the Keras model that the network stands for. With `correct` its biases change.
        correct: whether each layer's error is taken off its bias before the next layer is run.
    """

    def __init__(self, network: Network, model: Any, *, correct: bool) -> None:
        self._network, self._model, self._correct = network, model, correct
        self.met: list[Met] = []

    def run(self, x: NDArray[np.float32]) -> list[Both]:
        """Both outputs of the model, for inputs (n, ...)."""
        tensors: dict[int, Both] = {id(self._model.inputs[0]): Both(x, _round_activations(x, x))}
        readers = self._readers()
        for node in self._nodes():
            taken = [tensors[id(tensor)] for tensor in node.keras_inputs]
            given = self._layer(node, taken)
            for tensor, both in zip(_flat(node.outputs), given, strict=True):
                tensors[id(tensor)] = both
            for tensor in node.keras_inputs:
                readers[id(tensor)] -= 1
                if not readers[id(tensor)]:
                    # Else every activation of the model would lie in memory at the end.
                    del tensors[id(tensor)]
        return [tensors[id(tensor)] for tensor in self._model.outputs]

    def _nodes(self) -> Iterator[Any]:
        for depth in sorted(self._model._nodes_by_depth, reverse=True):
            yield from (node for node in self._model._nodes_by_depth[depth] if not node.is_input)

    def _readers(self) -> dict[int, int]:
        """How often each tensor is read, the outputs once more than by layers."""
        found = {id(tensor): 1 for tensor in self._model.outputs}
        for node in self._nodes():
            for tensor in node.keras_inputs:
                found[id(tensor)] = found.get(id(tensor), 0) + 1
        return found

    def _layer(self, node: Any, taken: list[Both]) -> list[Both]:
        name = node.layer.name
        if self._network.kind(name) in CORRECTED:
            given = [self._weighted(node.layer, taken[0])]
        else:
            exact = _called(node, [both.exact for both in taken])
            rounded = _called(node, [both.rounded for both in taken])
            given = [Both(*pair) for pair in zip(exact, rounded, strict=True)]
        if self._network.kind(name) in _SAME_SCALE or self._is_fused(name):
            return given
        return [Both(both.exact, _round_activations(both.rounded, both.exact)) for both in given]

    def _weighted(self, layer: Any, taken: Both) -> Both:
        """A layer with a kernel and a bias; its error before the activation is met, and corrected."""
        from pipeline._tf import keras, tf

        activation, kernel = layer.activation, layer.weights[0].numpy()
        layer.activation = keras.activations.linear
        exact = layer(taken.exact).numpy()
        layer.weights[0].assign(_round_weights(self._network, layer.name, kernel))
        rounded = layer(taken.rounded).numpy()
        layer.weights[0].assign(kernel)
        layer.activation = activation
        error = (exact - rounded).mean(axis=tuple(range(exact.ndim - 1)), dtype=np.float64)
        self.met.append(Met(layer.name, error, float(exact.std())))
        if self._correct:
            layer.bias.assign_add(error.astype(np.float32))
            rounded = rounded + error.astype(np.float32)
        return Both(activation(tf.constant(exact)), activation(tf.constant(rounded)))

    def _is_fused(self, name: str) -> bool:
        """Whether a layer becomes one operator with the one behind it, so that nothing is rounded between them."""
        network = self._network
        behind = network.behind(name)
        linear = network.configs[name].get("activation", "linear") == "linear"
        if network.kind(name) not in (*CORRECTED, "Add", "BatchNormalization") or not behind or not linear:
            return False
        if network.kind(behind) == "BatchNormalization":
            return network.kind(name) in CORRECTED
        relu = network.kind(behind) == "Activation" and network.configs[behind]["activation"] in ("relu", "relu6")
        return relu or network.kind(behind) == "ReLU"


def _called(node: Any, values: list[Any]) -> list[Any]:
    """What a layer gives when its call in the model is repeated with other tensors."""
    places = {str(id(tensor)): [value] * len(values) for tensor, value in zip(node.keras_inputs, values, strict=True)}
    args, kwargs = node.map_arguments(places)
    return _flat(node.layer(*args, **kwargs))


def _flat(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _round_weights(network: Network, name: str, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """A kernel as int8 from -127 to 127 would hold it, with a scale for each output channel."""
    widest = output_ranges(network, name)
    scales = scales_of_outputs(network, name, np.where(widest > 0, widest, 1.0) / 127)
    rounded: NDArray[np.float32] = (np.round(kernel / scales) * scales).astype(np.float32)
    return rounded


def _round_activations(values: Any, exact: Any) -> Any:
    """A tensor as int8 would hold it, with one scale that fits the exact values."""
    from pipeline._tf import tf

    least, most = min(0.0, float(np.min(exact))), max(0.0, float(np.max(exact)))
    if least == most:
        return values
    return tf.quantization.fake_quant_with_min_max_args(values, least, most)
