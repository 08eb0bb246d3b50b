"""Draft → `.tflite`: int8 from border to border, and the float32 baseline it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline._convert._converter import converted, frozen, integer_converter
from pipeline._convert._model import unrolled, write_plainly
from pipeline._convert._plain import without_rounding
from pipeline._convert._quantize import calibrated, quantized
from pipeline._convert._repairs import repaired
from pipeline._convert._slim import slim

__all__ = ["calibrated", "quantized", "slim", "to_float32", "to_int8"]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.draft import Draft


def to_float32(draft: Draft) -> bytes:
    """The draft as a float32 `.tflite`, batch 1.

    Raises:
        ModelError: TensorFlow Lite cannot express the model.
    """
    from pipeline._tf import tf

    return converted(tf.lite.TFLiteConverter.from_concrete_functions([frozen(draft.restore())]).convert)


def to_float_reference(draft: Draft) -> bytes:
    """What the int8 `.tflite` of a draft approximates: the same weights and operators in float32, with no rounding.

    Of a quantization-aware draft these are the weights that it trained, before they are rounded.

    Raises:
        ModelError: TensorFlow Lite cannot express the model.
    """
    from pipeline._tf import tf

    # Unrolled and with ELU written out, as the int8 model is: only then do their operators match.
    model = unrolled(without_rounding(draft) if "qat" in draft.traits else draft).restore()
    write_plainly(model)
    return converted(tf.lite.TFLiteConverter.from_concrete_functions([frozen(model)]).convert)


def to_int8(draft: Draft, calibration: NDArray[np.float32]) -> bytes:
    """The draft as a fully-int8 `.tflite`, batch 1, int8 input and output.

    A quantization-aware draft brings its ranges along. The calibration data gives those that are missing: all, without
    quantization-aware training; else those of layers that it left out, and inside layers of several operators.
    Method: https://ai.google.dev/edge/litert/models/post_training_integer_quant

    Args:
        draft: the model.
        calibration: representative inputs, (n, ...) float32, in the units that the model sees.

    Raises:
        ModelError: TensorFlow Lite cannot express the model in int8.
    """
    return repaired(converted(integer_converter(draft, calibration).convert))
