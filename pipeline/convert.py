"""Draft → `.tflite`: int8 from border to border or another precision, and the float32 baseline it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline._convert import _aeq
from pipeline._convert._calibration import recalibrated
from pipeline._convert._converter import converted, frozen
from pipeline._convert._cut import cut
from pipeline._convert._examples import refuse_unusable, warnings_of
from pipeline._convert._floats import to_dynamic, to_float16
from pipeline._convert._model import input_shape, unrolled, write_plainly
from pipeline._convert._plain import without_rounding
from pipeline._convert._quantize import Quantizer, calibrated, quantized
from pipeline._convert._slim import slim

__all__ = [
    "Quantizer",
    "calibrated",
    "cut",
    "quantized",
    "recalibrated",
    "slim",
    "to_float32",
    "to_int8",
    "to_tflite",
    "warnings_of",
]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.draft import Draft
    from pipeline.settings import ConvertSettings


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
    return quantized(calibrated(draft, calibration))


def refuse_missing(settings: ConvertSettings) -> None:
    """A UsageError where a package is not installed that a recipe's conversion takes."""
    if settings.backend == "ai_edge_quantizer":
        _aeq.refuse_missing()


def to_tflite(draft: Draft, examples: NDArray[np.float32], settings: ConvertSettings) -> bytes:
    """The draft as a `.tflite` of the precision that a recipe asks for, batch 1.

    Args:
        draft: the model.
        examples: calibration data, (n, ...) float32, in the units that the model sees.
        settings: the recipe's.

    Raises:
        DataError: no range can come of the examples.
        ModelError: the model cannot be had in this precision.
    """
    refuse_unusable(examples, input_shape(draft))
    per_channel = settings.granularity == "per_channel"
    if settings.precision == "float16":
        return to_float16(draft)
    if settings.backend == "ai_edge_quantizer":
        ranges, own = with_ranges(draft, examples, settings), settings.calibration == "moving_average"
        return _aeq.by_ai_edge_quantizer(
            ranges, examples, precision=settings.precision, per_channel=per_channel, own_calibration=own
        )
    if settings.precision == "dynamic":
        return to_dynamic(draft, per_channel=per_channel)
    integers: Literal["int8", "int16x8"] = "int16x8" if settings.precision == "int16x8" else "int8"
    return quantized(with_ranges(draft, examples, settings), precision=integers, per_channel=per_channel)


def with_ranges(draft: Draft, examples: NDArray[np.float32], settings: ConvertSettings) -> bytes:
    """The draft as a float32 `.tflite` with the ranges that a recipe's calibration gives.

    Args:
        draft: the model.
        examples: calibration data, (n, ...) float32.
        settings: the recipe's.

    Raises:
        DataError: no range can come of the examples.
        ModelError: TensorFlow Lite cannot express the model in int8.
    """
    refuse_unusable(examples, input_shape(draft))
    measured, method = calibrated(draft, examples), settings.calibration
    if method == "min_max" or method == "moving_average":  # which the second quantizer takes itself
        return measured
    return recalibrated(measured, examples, method, percentile=settings.percentile, precision=settings.precision)
