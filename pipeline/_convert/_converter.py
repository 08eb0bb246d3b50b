"""TensorFlow Lite's converter: what it is fed with, and what it says in a sentence where it fails."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

from pipeline._convert._model import refuse_loops, unrolled, write_plainly
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.draft import Draft


def frozen(model: Any) -> Any:
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


def integer_converter(draft: Draft, calibration: NDArray[np.float32]) -> Any:
    """The converter that takes a draft to int8, with the examples that give the ranges.

    Args:
        draft: the model.
        calibration: representative inputs, (n, ...) float32.

    Raises:
        ModelError: the model holds a loop or a branch.
    """
    from pipeline._tf import tf

    model = unrolled(draft).restore()
    write_plainly(model)
    function = frozen(model)
    refuse_loops(function.graph)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: ([example[None]] for example in calibration)
    return converter


def converted(convert: Callable[[], bytes], into: str = "int8") -> bytes:
    """What a conversion gives; what it prints is kept still, and what it raises becomes a sentence.

    Raises:
        ModelError: TensorFlow Lite cannot express the model.
    """
    from pipeline._tf import quiet_stderr

    # It prints to stdout from Python and to descriptor 2 from C++; what matters of it is in the error.
    with quiet_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        try:
            return bytes(convert())
        except Exception as error:  # the converter raises bare Exception
            raise ModelError(
                f"TensorFlow Lite cannot convert the model: {_first_line(error)}",
                expected=f"operators that TensorFlow Lite has in {into}",
                mend=_mend(error),
            ) from error


def _plain(name: str) -> str:
    return name.split(":")[0].split("/")[-1]


def _mend(error: Exception) -> str:
    if "same scale constraint" in str(error):
        # TFMOT trains a range for each concatenation, and the converter cannot give a tensor in two of them two scales.
        return "layers that join tensors share some of them: join each tensor once, or drop the stage 'qat'"
    return "`--debug` shows the converter's whole message"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
