"""The verdict on a flat model: how far it is from the original, and at which layer if it is too far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline._intake._prove import TOLERANCE, largest_difference
from pipeline.errors import ModelError


def proven(original: Any, flat: Any, name: str, renamed: Mapping[str, str], *, seed: int) -> float:
    """The largest difference of the outputs of both models on random inputs.

    Args:
        original: a live Keras model.
        flat: the flat model that shall equal it.
        name: what messages call it.
        renamed: the original's names to the flat model's, where they differ.
        seed: of the inputs.

    Raises:
        ModelError: it is more than `TOLERANCE`.
    """
    difference = largest_difference(original, flat, seed=seed)
    if difference <= TOLERANCE:
        return difference
    layer = _first_apart(original, flat, renamed, seed)
    raise ModelError(
        f"The flat model of {name} does not compute what the original does: they differ by {difference:.1e}"
        f"{f', from the layer {layer!r} on' if layer else ''}.",
        expected=f"outputs that agree to {TOLERANCE:.0e} on random inputs",
        mend="put another layer in its place, or report the model: this should not happen",
    )


def _first_apart(original: Any, flat: Any, renamed: Mapping[str, str], seed: int) -> str:
    """The first layer of the original whose output differs; '' where the layers cannot be compared one by one."""
    keras = {"keras": _keras3, "tf_keras": _tf_keras}.get(_package(original))
    if keras is None:
        return ""
    flat_names = {layer.name for layer in flat.layers}
    pairs = [(layer, renamed.get(layer.name, layer.name)) for layer in original.layers]
    pairs = [(layer, other) for layer, other in pairs if other in flat_names]
    low, high = 0, len(pairs) - 1
    # Bisecting: once two models are apart, they stay so.
    while low < high:
        middle = (low + high) // 2
        layer, other = pairs[middle]
        try:
            one = keras().Model(original.inputs, layer.output)
            two = _tf_keras().Model(flat.inputs, flat.get_layer(other).output)
            apart = largest_difference(one, two, seed=seed) > TOLERANCE
        except (ValueError, AttributeError, ModelError):
            return ""  # a layer that is shared, or was folded into its neighbour, has no output of its own
        low, high = (low, middle) if apart else (middle + 1, high)
    return str(pairs[low][0].name) if pairs else ""


def _package(model: Any) -> str:
    return next((cls.__module__.partition(".")[0] for cls in type(model).__mro__ if cls.__name__ == "Model"), "")


def _keras3() -> Any:
    from pipeline._tf import keras3

    return keras3()


def _tf_keras() -> Any:
    from pipeline._tf import keras

    return keras
