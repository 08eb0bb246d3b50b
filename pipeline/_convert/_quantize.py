"""Post-training quantization in two steps: a float `.tflite` that carries the range of every tensor, then its int8.

Between the two, ranges are measured and edited, and operators chosen that stay in float: that is what calibration and
mixed precision need. The converter's own way does both at once, with ranges that are too wide.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from edge_targets.tflite_graph import parse_graph
from pipeline._convert._converter import converted, integer_converter
from pipeline._convert._extremes import with_extremes
from pipeline._convert._repairs import repaired
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.draft import Draft

_NO_INT16 = re.compile(r"16x8-bit not yet supported for op: '(\w+)'")
"""What the quantizer says of an operator that it cannot take to int16."""

INT16_ABORTS = "RSQRT"
"""The quantizer makes it; LiteRT ends the process where a variance rounds to zero in it, tflite-runtime lacks it."""

REMEDIES = {
    "PRELU": "put LeakyReLU or ReLU in the place of PReLU",
    "HARD_SWISH": "put ReLU or ReLU6 in the place of hard swish",
    "RSQRT": "put BatchNormalization in the place of LayerNormalization",
}
"""What can stand in for an operator without int16."""


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
    # One example shows the converter which tensors take a range; what the ranges are is measured here.
    converter = integer_converter(draft, examples[:1])
    converter._experimental_calibrate_only = True
    return with_extremes(converted(converter.convert), examples)


def quantized(
    calibrated: bytes,
    *,
    precision: Literal["int8", "int16x8"] = "int8",
    per_channel: bool = True,
    keep_float: Collection[str] = (),
) -> bytes:
    """A calibrated float `.tflite` in integers, from border to border but for the operators that are kept in float.

    Args:
        calibrated: a float `.tflite` with ranges, as `calibrated` gives it.
        precision: int8, or int16 activations with int8 weights (which takes `per_channel`, and keeps nothing in float).
        per_channel: whether a weight has a scale for each output channel or one for all.
        keep_float: operators that compute in float, each by the whole name of its first output's tensor.

    Raises:
        ModelError: TensorFlow Lite cannot express the model in this precision.
    """
    if precision == "int16x8":
        return repaired(_to_int16x8(calibrated))
    return repaired(converted(lambda: _to_int8(calibrated, per_channel, keep_float), precision))


def _to_int8(calibrated: bytes, per_channel: bool, keep_float: Collection[str]) -> bytes:
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers, mlir_quantize

    from pipeline._tf import tf

    model = mlir_quantize(
        calibrated,
        disable_per_channel=not per_channel,
        fully_quantize=True,
        input_data_type=tf.int8,
        output_data_type=tf.int8,
        denylisted_nodes=set(keep_float) or None,
    )
    return bytes(deduplicate_readonly_buffers(model))


def _to_int16x8(calibrated: bytes) -> bytes:
    """By the converter's older quantizer, which alone makes int16; a ModelError names layers that it cannot take."""
    if any(operator.kind == INT16_ABORTS for operator in parse_graph(calibrated).operators):
        raise _without_int16(calibrated, INT16_ABORTS)
    try:
        return converted(lambda: _by_older_quantizer(calibrated), "int16x8")
    except ModelError as error:
        told = _NO_INT16.search(error.what)
        raise _without_int16(calibrated, told[1]) if told else error from error


def _by_older_quantizer(calibrated: bytes) -> bytes:
    """With nothing fed to it, it takes the ranges that stand in the file."""
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    from pipeline._tf import tf

    model = Calibrator(calibrated).calibrate_and_quantize(
        lambda: iter(()), tf.int16, tf.int16, allow_float=False, activations_type=tf.int16, bias_type=tf.int64
    )
    return bytes(deduplicate_readonly_buffers(model))


def _without_int16(calibrated: bytes, kind: str) -> ModelError:
    found = [operator.name for operator in parse_graph(calibrated).operators if operator.kind == kind]
    named = ", ".join(f"'{name}'" for name in dict.fromkeys(found[:3])) + (" …" if len(found) > 3 else "")
    return ModelError(
        f"TensorFlow Lite has no int16 kernel to rely on for the operator {kind} of {named}.",
        expected="operators that it has with int16 activations",
        mend=f"{REMEDIES.get(kind, 'replace the layer')}, or set `convert.precision` to int8 or float16",
    )
