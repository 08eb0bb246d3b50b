"""Where an early head can branch off: places in a model that everything passes through as one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cost import layer_costs
from pipeline.errors import ModelError

_FUSED = frozenset({"Activation", "BatchNormalization", "ELU", "LeakyReLU", "PReLU", "ReLU"})
"""Layers that the converter makes one operator of with what is before them: a head between would keep them apart."""

_UNSEEN = frozenset({"Dropout", "SpatialDropout1D", "SpatialDropout2D"})
"""Layers that are not in the `.tflite`: the tensor behind them is the one before them."""

_FLAT = frozenset({"Flatten", "Permute", "Reshape", "ZeroPadding1D", "ZeroPadding2D"})
"""Layers behind which a head sees no more, and less of where things are: `auto` stays before them."""


MOST_SHARE = 0.9
"""What leads to an early exit may take of a model's MACs: with the head's beside them nothing would be saved."""


@dataclass(frozen=True)
class Place:
    """A layer whose output is all that the rest of the model reads.

    Attributes:
        layer: its name.
        kind: its class; behind a dropout, that of the layer before it.
        output: the Keras tensor, (batch, ...).
        share: of the model's multiply-accumulates, what it takes to get there, 0 to 1.
    """

    layer: str
    kind: str
    output: Any
    share: float


def places_of(model: Any) -> list[Place]:
    """Every place where the model can be cut, in its order.

    Args:
        model: a flat tf_keras model of one input and one output.
    """
    macs = {cost.name: cost.macs for cost in layer_costs(model)}
    total = sum(macs.values()) or 1
    return [
        Place(node.layer.name, _maker(node.layer), node.outputs, sum(macs[name] for name in behind) / total)
        for node, behind in _alone(_nodes(model))
        if node.outputs is not model.outputs[0]
    ]


def place_after(places: Sequence[Place], layer: str, model: Any) -> Place:
    """The place behind a layer, and behind all that becomes one operator with it.

    Raises:
        ModelError: there is no such layer, or more than one tensor leads on from there.
    """
    names = [one.name for one in model.layers]
    possible = ", ".join(place.layer for place in places) or "none: no layer of this model stands alone"
    if layer not in names:
        raise ModelError(
            f"stages.early_exit.after names the layer '{layer}', which the model does not have.",
            expected=f"auto, or one of: {possible}",
        )
    named = [place.layer for place in places]
    settled = _settled(places, model)
    found = [place for place in places[named.index(layer) :] if place in settled] if layer in named else []
    if not found:
        raise ModelError(
            f"The model cannot be cut behind the layer '{layer}': other tensors lead past it, or nothing follows it.",
            expected=f"auto, or one of: {possible}",
        )
    return found[0]


def chosen_place(places: Sequence[Place], share: float, model: Any) -> Place:
    """The last place that takes no more than a share of the model's MACs; the first with any where none does.

    Raises:
        ModelError: the model can be cut nowhere, or only where nearly all is done.
    """
    fit = [place for place in _settled(places, model) if place.kind not in _FLAT and place.share > 0]
    if not fit:
        raise ModelError(
            "There is no place in this model for an early exit.",
            expected="a layer behind the first convolution or dense layer that everything passes through",
            mend="drop the stage 'early_exit'",
        )
    if fit[0].share > MOST_SHARE:
        raise ModelError(
            f"The first place for an early exit is behind '{fit[0].layer}', where {100 * fit[0].share:.1f} % of the "
            "model's multiply-accumulates are done.",
            expected="a place that leaves something to be saved",
            mend="drop the stage 'early_exit', or take a model of several smaller layers",
        )
    cheap = [place for place in fit if place.share <= share]
    return cheap[-1] if cheap else fit[0]


def _settled(places: Sequence[Place], model: Any) -> list[Place]:
    """Those that no layer follows which becomes one operator with them, or is gone in the `.tflite`."""
    readers: dict[int, set[str]] = {}
    for node in _nodes(model):
        for tensor in node.keras_inputs:
            readers.setdefault(id(tensor), set()).add(type(node.layer).__name__)
    return [place for place in places if not readers.get(id(place.output), set()) & (_FUSED | _UNSEEN)]


def _maker(layer: Any) -> str:
    """The class of the layer whose numbers these are."""
    while type(layer).__name__ in _UNSEEN:
        layer = layer.input._keras_history.layer
    return type(layer).__name__


def _nodes(model: Any) -> list[Any]:
    """The calls of a model in an order in which each comes after what it reads; inputs are left out."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]


def _alone(nodes: Sequence[Any]) -> Iterator[tuple[Any, set[str]]]:
    """Calls whose one output is all that later calls read, each with the names of the layers up to it."""
    maker = {id(tensor): node for node in nodes for tensor in _flat(node.outputs)}
    for node in nodes:
        behind = _ancestors(node, maker)
        later = [other for other in nodes if id(other) not in behind]
        crossing = {id(tensor) for other in later for tensor in other.keras_inputs if _is_before(tensor, maker, behind)}
        if not isinstance(node.outputs, list | tuple) and crossing == {id(node.outputs)}:
            yield node, {one.layer.name for one in nodes if id(one) in behind}


def _is_before(tensor: Any, maker: dict[int, Any], behind: set[int]) -> bool:
    """Whether a tensor is made before the cut; the model's input, which nothing makes, always is."""
    return id(tensor) not in maker or id(maker[id(tensor)]) in behind


def _ancestors(node: Any, maker: dict[int, Any]) -> set[int]:
    found: set[int] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if id(one) not in found:
            found.add(id(one))
            waiting.extend(maker[id(tensor)] for tensor in one.keras_inputs if id(tensor) in maker)
    return found


def _flat(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, list | tuple) else [tensors]
