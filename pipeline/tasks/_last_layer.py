"""What a Keras model ends in: a loss must know whether it is given probabilities or logits."""

from __future__ import annotations

from typing import Any

_SHAPING = frozenset({"Flatten", "Reshape", "Dropout", "QuantizeLayer"})
"""Layers that leave the numbers as they are, so that what lies before them decides."""


def last_activation(model: Any) -> str:
    """The name of the activation that a model's first output comes from, `softmax`; `linear` where there is none.

    Wrappers of TFMOT are looked through: a quantization-aware softmax is a softmax.
    """
    layer = _inner(model.outputs[0]._keras_history.layer)
    while type(layer).__name__ in _SHAPING:
        layer = _inner(layer.input._keras_history.layer)
    if type(layer).__name__ == "Softmax":
        return "softmax"
    activation = getattr(layer, "activation", None)
    # TFMOT puts an object in the function's place, which still has it.
    activation = getattr(activation, "activation", activation)
    return getattr(activation, "__name__", "linear")


def _inner(layer: Any) -> Any:
    """What a wrapper for pruning, clustering or quantization holds."""
    # Bidirectional and TimeDistributed are layers in their own right, yet end in their inner one's activation too.
    return getattr(layer, "layer", layer)
