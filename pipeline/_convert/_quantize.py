"""Post-training quantization in two steps: a float `.tflite` that carries the range of every tensor, then its int8.

Between the two, ranges can be edited, and operators chosen that stay in float: that is what calibration methods and
mixed precision need. The converter's own way does both at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline._convert._converter import converted, integer_converter
from pipeline._convert._repairs import repaired

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.draft import Draft


def calibrated(draft: Draft, examples: NDArray[np.float32]) -> bytes:
    """The draft as a float32 `.tflite` whose tensors carry their least and largest value over the examples.

    They stand in each tensor's `quantization.min` and `.max`, as `edge_targets.tflite_graph` does not read them:
    `tensorflow.lite.tools.flatbuffer_utils` does.

    Args:
        draft: the model.
        examples: representative inputs, (n, ...) float32, in the units that the model sees.

    Raises:
        ModelError: TensorFlow Lite cannot express the model in int8.
    """
    converter = integer_converter(draft, examples)
    converter._experimental_calibrate_only = True
    return converted(converter.convert)


def quantized(
    calibrated: bytes,
    *,
    precision: Literal["int8"] = "int8",
    per_channel: bool = True,
    keep_float: Collection[str] = (),
) -> bytes:
    """A calibrated float `.tflite` in integers, from border to border but for the operators that are kept in float.

    The numbers are those of `to_int8`; the bytes differ in the order of the file's metadata alone.

    Args:
        calibrated: a float `.tflite` with ranges, as `calibrated` gives it.
        precision: of weights and activations.
        per_channel: whether a weight has a scale for each output channel or one for all.
        keep_float: operators that compute in float, each by the whole name of its first output's tensor.

    Raises:
        ModelError: TensorFlow Lite cannot express the model in this precision.
    """
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers, mlir_quantize

    from pipeline._tf import tf

    def quantize() -> bytes:
        model = mlir_quantize(
            calibrated,
            disable_per_channel=not per_channel,
            fully_quantize=True,
            input_data_type=tf.int8,
            output_data_type=tf.int8,
            denylisted_nodes=set(keep_float) or None,
        )
        return bytes(deduplicate_readonly_buffers(model))

    return repaired(converted(quantize, precision))
