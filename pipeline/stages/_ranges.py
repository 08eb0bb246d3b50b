"""Where trained ranges start: at what a few batches of real data show."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def start_from_data(model: Any, inputs: Any) -> None:
    """Set every range of a quantization-aware model to what it sees in some batches.

    TFMOT starts each at ±6 and moves it by a thousandth of the difference a batch: a short run would end with ranges
    that have nothing to do with the values, too wide for some and clipping others.

    Args:
        model: as `quantization_aware` made it; only its ranges change.
        inputs: iterable of batches, (b, ...) each.
    """
    wrappers = [layer for layer in model.layers if hasattr(layer, "quantize_config")]
    for wrapper in wrappers:
        for kernel, quantizer, ranges in wrapper._weight_vars:
            quantizer(kernel, True, weights=ranges)
    with contextlib.ExitStack() as swapped:
        watch = _Watch()
        for owner, attribute in _places(model):
            swapped.callback(setattr, owner, attribute, getattr(owner, attribute))
            many = isinstance(getattr(owner, attribute), list)
            setattr(owner, attribute, [watch] if many else watch)
        for batch in inputs:
            model(batch, training=False)


def _places(model: Any) -> Iterator[tuple[Any, str]]:
    """Where the quantizers of activations hang: the object and its attribute."""
    for layer in model.layers:
        if getattr(layer, "quantizer", None):  # TFMOT's QuantizeLayer, behind an input
            yield layer, "quantizer"
        if getattr(layer, "_output_quantizers", None):
            yield layer, "_output_quantizers"
        yield from ((activation, "quantizer") for activation in getattr(layer, "_quantize_activations", ()))


class _Watch:
    """Stands where a quantizer stood, lets values pass as they are, and widens the range to hold them."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        from pipeline._tf import tf

        low, high = tf.minimum(tf.reduce_min(inputs), 0.0), tf.maximum(tf.reduce_max(inputs), 0.0)
        known = id(weights["min_var"]) in self._seen
        # A range without width would make every value NaN: a layer that only gives zeros keeps TFMOT's ±6.
        if not known and not low < high:
            return inputs
        self._seen.add(id(weights["min_var"]))
        weights["min_var"].assign(tf.minimum(weights["min_var"], low) if known else low)
        weights["max_var"].assign(tf.maximum(weights["max_var"], high) if known else high)
        return inputs
