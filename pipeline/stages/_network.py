"""A Keras model that can be edited: what its layers take from each other, their configs and their weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pipeline.stages._surgery import leads_past

if TYPE_CHECKING:
    from pipeline.draft import Draft

Weights = list[NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """What a layer is, as long as nothing has been edited.

    Attributes:
        kind: its class, `Conv2D`; empty where it is not one of Keras' own, and so may do anything.
        once: whether it is called once, so that changing it changes one place of the model.
        input_shape, output_shape: of one example, without batch; None where there are several.
    """

    kind: str
    once: bool
    input_shape: tuple[int | None, ...] | None
    output_shape: tuple[int | None, ...] | None


class Network:
    """A model that is edited as data; `model()` gives what became of it.

    Args:
        draft: what is edited; it stays as it is.
        model: the Keras model that the draft restores to.

    Attributes:
        parts: each layer by its name, in the model's order.
        configs: the settings of each layer, as Keras writes them.
        weights: its weights, in Keras' order.
    """

    def __init__(self, draft: Draft, model: Any) -> None:
        self._architecture = json.loads(draft.architecture)
        self._layers = {layer["config"]["name"]: layer for layer in self._architecture["config"]["layers"]}
        self.parts = {layer.name: _part(layer) for layer in model.layers}
        self.configs: dict[str, dict[str, Any]] = {name: layer["config"] for name, layer in self._layers.items()}
        self.weights: dict[str, Weights] = {layer.name: layer.get_weights() for layer in model.layers}
        self._takes = {layer.name: _takes(layer) for layer in model.layers}
        self._outputs = [tensor._keras_history.layer.name for tensor in model.outputs]
        self._gone: set[str] = set()
        self._instead: dict[str, list[Any]] = {}

    def kind(self, name: str) -> str:
        """A layer's class; empty where it is called more than once, or is no layer of Keras' own."""
        # The input of a Sequential is none of its layers.
        part = self.parts.get(name, Part("InputLayer", True, None, None))
        return part.kind if part.once else ""

    def names(self, *kinds: str) -> list[str]:
        """The layers of some kinds that are called once, in the model's order."""
        return [name for name in self.parts if self.kind(name) in kinds]

    def taken(self, name: str) -> tuple[str, ...]:
        """The layers whose outputs a layer takes."""
        return self._takes[name]

    def before(self, name: str) -> str:
        """The one layer whose output a layer takes; empty where it takes several."""
        taken = self._takes[name]
        return taken[0] if len(taken) == 1 else ""

    def behind(self, name: str) -> str:
        """The one layer that takes a layer's output; empty where several do, or the output is one of the model's."""
        takers = [other for other, taken in self._takes.items() for one in taken if one == name]
        return takers[0] if len(takers) == 1 and name not in self._outputs else ""

    def width(self, name: str) -> int:
        """How many channels a layer gives that is called once on one tensor."""
        shape = self.parts[name].output_shape
        assert shape is not None  # weighted layers give one tensor
        assert shape[-1] is not None  # Keras builds none without
        return shape[-1]

    def is_output(self, name: str) -> bool:
        """Whether a layer gives one of the model's outputs."""
        return name in self._outputs

    def take_out(self, name: str, past: str = "") -> None:
        """Remove a layer; what took its output takes the one of `past` instead, of those that it takes itself.

        Args:
            name: a layer that is called once.
            past: one of the layers before it; needed where there are several.
        """
        past = past or self.before(name)
        if "inbound_nodes" in self._layers[name]:
            tensors = self._layers[name]["inbound_nodes"][0]
            self._instead[name] = next(one[:3] for one in tensors if self._origin(one[0]) == past)
        self._takes = {
            other: tuple(past if one == name else one for one in taken)
            for other, taken in self._takes.items()
            if other != name
        }
        self._outputs = [past if one == name else one for one in self._outputs]
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._gone.add(name)
        self._takes.pop(name, None)
        for known in (self.parts, self.configs, self.weights):
            del known[name]

    def _origin(self, name: str) -> str:
        """The layer that stands for one that may have been taken out."""
        while name in self._instead:
            name = self._instead[name][0]
        return name

    def take_out_unused(self) -> list[str]:
        """Remove every layer that no output depends on, inputs excepted.

        Returns:
            Their names.
        """
        used: set[str] = set()
        waiting = list(self._outputs)
        while waiting:
            name = waiting.pop()
            if name not in used:
                used.add(name)
                waiting.extend(self._takes.get(name, ()))
        unused = [name for name in self.parts if name not in used and self.parts[name].kind != "InputLayer"]
        for name in unused:
            self._forget(name)
        return unused

    def model(self) -> Any:
        """A new Keras model, as the edits have left it."""
        from pipeline._tf import keras

        architecture = json.loads(json.dumps(self._architecture))
        layers = [layer for layer in architecture["config"]["layers"] if layer["config"]["name"] not in self._gone]
        architecture["config"]["layers"] = layers
        model = keras.models.model_from_json(json.dumps(leads_past(self._instead, architecture)))
        for layer in model.layers:
            layer.set_weights(self.weights[layer.name])
        return model


def _part(layer: Any) -> Part:
    own = type(layer).__module__.startswith("tf_keras.")
    one_in_one_out = isinstance(layer.input_shape, tuple) and isinstance(layer.output_shape, tuple)
    return Part(
        type(layer).__name__ if own else "",
        len(layer.inbound_nodes) == 1,
        layer.input_shape[1:] if one_in_one_out else None,
        layer.output_shape[1:] if one_in_one_out else None,
    )


def _takes(layer: Any) -> tuple[str, ...]:
    """The layers whose outputs a layer takes, over all of its calls."""
    tensors = [tensor for node in layer.inbound_nodes for tensor in ([] if node.is_input else node.keras_inputs)]
    return tuple(tensor._keras_history.layer.name for tensor in tensors)
