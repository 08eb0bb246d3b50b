"""Cuts channels and whole branches out of a model: a smaller architecture, and the weights that are left of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.draft import Draft
from pipeline.stages._channels import Channels


@dataclass(frozen=True)
class Branch:
    """A residual branch, from a split to the addition where it ends.

    Attributes:
        add: name of the addition.
        layers: names of the layers that only serve the branch.
        shortcut: what is left of the sum without it, as Keras' configs write a tensor: (layer, call, output).
        output: the tensor that the branch adds, likewise.
    """

    add: str
    layers: tuple[str, ...]
    shortcut: tuple[str, int, int]
    output: tuple[str, int, int]


def find_branches(model: Any) -> list[Branch]:
    """The branches that can be left out: an identity leads around each, and nothing else looks into it.

    Args:
        model: a flat tf_keras model.
    """
    graph = _Graph(model)
    found = [graph.branch(layer) for layer in model.layers if type(layer).__name__ == "Add"]
    return [branch for branch in found if branch is not None]


def cut_out(
    draft: Draft, model: Any, channels: Channels, removed: NDArray[np.bool_], branches: Sequence[Branch] = ()
) -> Draft:
    """The draft in which channels are gone from every layer that makes, passes or reads them, and whole branches.

    Args:
        draft: the model.
        model: the tf_keras model that the draft restores to.
        channels: where its channels run.
        removed: which of them go, (number of channels,).
        branches: what goes as a whole, with the additions where they end.
    """
    from pipeline._tf import keras

    gone = {name for branch in branches for name in (branch.add, *branch.layers)}
    architecture = json.loads(draft.architecture)
    layers = [layer for layer in architecture["config"]["layers"] if layer["config"]["name"] not in gone]
    for layer in layers:
        if layer["config"]["name"] in channels.widths:
            setting, along = channels.widths[layer["config"]["name"]]
            _narrow(layer["config"], setting, int((~removed[along]).sum()))
    architecture["config"]["layers"] = layers
    architecture = leads_past({branch.add: list(branch.shortcut) for branch in branches}, architecture)
    weights = _sliced({layer.name: layer.get_weights() for layer in model.layers}, channels, removed)
    keras.backend.clear_session()
    smaller = keras.models.model_from_json(json.dumps(architecture))
    for layer in smaller.layers:
        layer.set_weights(weights[layer.name])
    return replace(Draft.of(smaller, draft.traits), steps=draft.steps)


def _sliced(
    weights: dict[str, list[NDArray[Any]]], channels: Channels, removed: NDArray[np.bool_]
) -> dict[str, list[NDArray[Any]]]:
    for axis in channels.axes:
        kept = np.flatnonzero(~removed[axis.channels])
        weights[axis.layer][axis.weight] = weights[axis.layer][axis.weight].take(kept, axis.axis)
    return weights


def _narrow(config: dict[str, Any], setting: str, width: int) -> None:
    if setting != "target_shape":
        config[setting] = width
    elif config[setting][-1] != -1:
        config[setting] = [*config[setting][:-1], width]


def leads_past(instead: Mapping[str, list[Any]], config: Any) -> Any:
    """A config in which every tensor of some layers is another one: `["stack1_add", 0, 0, ...]`."""
    if isinstance(config, dict):
        return {key: leads_past(instead, value) for key, value in config.items()}
    if not isinstance(config, list):
        return config
    if len(config) >= 3 and isinstance(config[0], str) and config[0] in instead and config[1:3] == [0, 0]:
        # The shortcut of one branch may be the addition where another one ended.
        return leads_past(instead, [*instead[config[0]], *config[3:]])
    return [leads_past(instead, value) for value in config]


class _Graph:
    """The calls of a model, by the tensors between them."""

    def __init__(self, model: Any) -> None:
        self._nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes]
        self._maker = {id(tensor): node for node in self._nodes for tensor in _flat(node.outputs)}
        self._readers: dict[int, list[Any]] = {}
        for node in self._nodes:
            for tensor in node.keras_inputs:
                self._readers.setdefault(id(tensor), []).append(node)
        self._outputs = {id(tensor) for tensor in model.outputs}

    def branch(self, add: Any) -> Branch | None:
        """The branch that ends in an addition, or None where there is none that can go."""
        nodes = [node for node in self._nodes if node.layer is add]
        if len(nodes) != 1 or len(nodes[0].keras_inputs) != 2 or id(nodes[0].outputs) in self._outputs:
            return None
        one, other = nodes[0].keras_inputs
        if one is other or tuple(one.shape) != tuple(other.shape):
            return None
        for shortcut, output in ((one, other), (other, one)):
            inside = self._between(shortcut, output, nodes[0])
            if inside:
                names = tuple(node.layer.name for node in inside)
                return Branch(add.name, names, self._named(shortcut), self._named(output))
        return None

    def _between(self, split: Any, end: Any, add: Any) -> list[Any]:
        """The calls that lead from `split` to `end` and serve nothing else; none where other things come in or out."""
        inside: list[Any] = []
        waiting = [end]
        while waiting:
            tensor = waiting.pop()
            node = self._maker[id(tensor)]
            if tensor is split or node in inside:
                continue
            if node.is_input or id(tensor) in self._outputs or len(node.layer.inbound_nodes) > 1:
                return []
            inside.append(node)
            waiting.extend(node.keras_inputs)
        served = {id(node) for node in (*inside, add)}
        readers = [
            reader for node in inside for one in _flat(node.outputs) for reader in self._readers.get(id(one), [])
        ]
        return inside if all(id(reader) in served for reader in readers) else []

    def _named(self, tensor: Any) -> tuple[str, int, int]:
        node = self._maker[id(tensor)]
        # Calls that belong to other models are not counted in a config, but a restored draft has none.
        return node.layer.name, node.layer.inbound_nodes.index(node), _position(tensor, _flat(node.outputs))


def _flat(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]


def _position(tensor: Any, tensors: list[Any]) -> int:
    return next(place for place, one in enumerate(tensors) if one is tensor)
