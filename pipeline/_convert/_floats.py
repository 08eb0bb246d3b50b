"""Precisions that hand on floats: weights of 16 bits, or of 8 bits with activations that the runtime rounds itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline._convert._converter import converted, frozen
from pipeline._convert._model import unrolled, write_plainly

if TYPE_CHECKING:
    from typing import Any

    from pipeline.draft import Draft


def to_float16(draft: Draft) -> bytes:
    """The draft as a `.tflite` that stores weights as float16 and computes in float32 (or float16, on a GPU).

    Method: https://ai.google.dev/edge/litert/models/post_training_float16_quant

    Raises:
        ModelError: TensorFlow Lite cannot express the model.
    """
    from pipeline._tf import tf

    converter = _converter(draft)
    converter.target_spec.supported_types = [tf.float16]
    return converted(converter.convert, "float16")


def to_dynamic(draft: Draft, *, per_channel: bool = True) -> bytes:
    """The draft as a `.tflite` with int8 weights and float activations ("dynamic range").

    The runtime rounds what a layer is given to int8, anew for each input, and hands on floats. The converter leaves
    tensors of less than 1024 weights in float.
    Method: https://ai.google.dev/edge/litert/models/post_training_quant

    Raises:
        ModelError: TensorFlow Lite cannot express the model.
    """
    converter = _converter(draft)
    converter._experimental_disable_per_channel = not per_channel
    return converted(converter.convert, "dynamic range")


def _converter(draft: Draft) -> Any:
    """The converter with its default optimization, which without examples touches weights alone."""
    from pipeline._tf import tf

    # The same operators as in int8: only then are the two compared alike.
    model = unrolled(draft).restore()
    write_plainly(model)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen(model)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter
