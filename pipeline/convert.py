"""Draft → `.tflite`: int8 from border to border, and the float32 baseline it is compared with."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

from pipeline._convert._model import refuse_loops, unrolled, write_plainly
from pipeline._convert._plain import without_rounding
from pipeline._convert._repairs import repaired
from pipeline._convert._slim import slim
from pipeline.errors import ModelError

__all__ = ["slim", "to_float32", "to_int8"]

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

    return _converted(tf.lite.TFLiteConverter.from_concrete_functions([_frozen(draft.restore())]))


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
    return _converted(tf.lite.TFLiteConverter.from_concrete_functions([_frozen(model)]))


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
    from pipeline._tf import tf

    model = unrolled(draft).restore()
    write_plainly(model)
    frozen = _frozen(model)
    refuse_loops(frozen.graph)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([example[None]] for example in calibration)
    return repaired(_converted(converter))


def _frozen(model: Any) -> Any:
    """The traced and frozen function, batch 1: ten times as fast as `from_keras_model` on deep QAT models."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from pipeline._tf import tf

    signature = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=_plain(tensor.name)) for tensor in model.inputs
    ]

    def infer(*inputs: Any) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    traced = tf.function(infer).get_concrete_function(*signature)
    return convert_variables_to_constants_v2(traced, lower_control_flow=False)


def _plain(name: str) -> str:
    return name.split(":")[0].split("/")[-1]


def _converted(converter: Any) -> bytes:
    from pipeline._tf import quiet_stderr

    # It prints to stdout from Python and to descriptor 2 from C++; what matters of it is in the error.
    with quiet_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        try:
            model: bytes = converter.convert()
        except Exception as error:  # the converter raises bare Exception
            raise ModelError(
                f"TensorFlow Lite cannot convert the model: {_first_line(error)}",
                expected="operators that TensorFlow Lite has in int8",
                mend=_mend(error),
            ) from error
    return model


def _mend(error: Exception) -> str:
    if "same scale constraint" in str(error):
        # TFMOT trains a range for each concatenation, and the converter cannot give a tensor in two of them two scales.
        return "layers that join tensors share some of them: join each tensor once, or drop the stage 'qat'"
    return "`--debug` shows the converter's whole message"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
