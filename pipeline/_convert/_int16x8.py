"""Int16 activations with int8 weights: by the converter's older quantizer, which alone makes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge_targets._tflm_kernels import NO_INT16
from edge_targets.tflite_graph import parse_graph
from pipeline._convert._biases import with_own_biases
from pipeline._convert._converter import converted
from pipeline.artifact import FLOATS
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from edge_targets.tflite_graph import Graph, Operator

_NO_INT16 = re.compile(r"16x8-bit not yet supported for op: '(\w+)'")
"""What the quantizer says of an operator that it cannot take to int16."""

UNRELIABLE = ("RSQRT", "SQUARED_DIFFERENCE", "SUM")
"""Operators that the quantizer makes in int16, and LiteRT does not run: it ends the process where a variance rounds to
zero in the first, refuses the second, and sums up to other numbers in the third."""

REMEDIES = {
    "PRELU": "put LeakyReLU or ReLU in the place of PReLU",
    "HARD_SWISH": "put ReLU or ReLU6 in the place of hard swish",
    "RSQRT": "put BatchNormalization in the place of LayerNormalization",
    "SQUARED_DIFFERENCE": "put BatchNormalization in the place of LayerNormalization",
    "SUM": "put a mean in the place of the sum",
}
"""What can stand in for an operator without int16."""

BORDERS = frozenset({"QUANTIZE", "DEQUANTIZE"})
"""Operators that a quantizer adds, and that change a tensor's type or scale alone."""


def to_int16x8(calibrated: bytes) -> bytes:
    """A calibrated float `.tflite` in int16x8 from border to border.

    Raises:
        ModelError: it has no int16 kernel for a layer, which is named.
    """
    kinds = {operator.kind for operator in parse_graph(calibrated).operators}
    found = next((kind for kind in UNRELIABLE if kind in kinds), None)
    if found is not None:
        raise _without_int16(calibrated, found)
    try:
        return converted(lambda: _by_older_quantizer(calibrated), "int16x8")
    except ModelError as error:
        told = _NO_INT16.search(error.what)
        raise _without_int16(calibrated, told[1]) if told else error from error


def as_far_as_int16_goes(calibrated: bytes) -> bytes:
    """The same, but that operators without an int16 kernel stay in float.

    Raises:
        ModelError: the quantizer cannot read the model.
    """
    return converted(lambda: _by_older_quantizer(calibrated, allow_float=True), "int16x8")


def without_int16(calibrated: bytes, in_int16: bytes) -> frozenset[str]:
    """The operators of a calibrated model without an int16 kernel to rely on, by the names of their first outputs.

    Microcontrollers count: what TensorFlow Lite Micro has no such kernel for is among them.

    Args:
        calibrated: the model.
        in_int16: what `as_far_as_int16_goes` makes of it.

    Raises:
        ModelError: the quantizer rewrote the model.
    """
    graph, made = parse_graph(calibrated), parse_graph(in_int16)
    pairs = side_by_side(graph, made)
    return frozenset(
        graph.tensors[plain.outputs[0]].name for plain, wide in pairs if plain.outputs and not has_int16(made, wide)
    )


def side_by_side(*graphs: Graph) -> list[tuple[Operator, ...]]:
    """The same operator in each of some models of one: all but those that only take a tensor to another type or scale.

    Raises:
        ModelError: they do not compute alike, operator by operator.
    """
    computing = [[operator for operator in graph.operators if operator.kind not in BORDERS] for graph in graphs]
    if len({tuple(operator.kind for operator in each) for each in computing}) > 1:
        raise ModelError(
            "Layers cannot be kept out of int8: TensorFlow Lite rewrote the operators on their way to integers.",
            expected="the same operators in float and in integers",
            mend="leave `convert.mixed_precision` out, or set `convert.precision` to int16x8 or float16",
        )
    return list(zip(*computing, strict=True))


def has_int16(made: Graph, operator: Operator) -> bool:
    """Whether an operator of `as_far_as_int16_goes` is to be relied on: it computes without float, and everywhere."""
    ends = [made.tensors[place].dtype for place in (*operator.inputs, *operator.outputs) if place >= 0]
    return operator.kind not in (*UNRELIABLE, *NO_INT16) and FLOATS.isdisjoint(ends)


def _by_older_quantizer(calibrated: bytes, *, allow_float: bool = False) -> bytes:
    """With nothing fed to it, it takes the ranges that stand in the file."""
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    from pipeline._tf import tf

    border = tf.float32 if allow_float else tf.int16
    model = Calibrator(calibrated).calibrate_and_quantize(
        lambda: iter(()), border, border, allow_float=allow_float, activations_type=tf.int16, bias_type=tf.int64
    )
    return with_own_biases(bytes(deduplicate_readonly_buffers(model)))


def _without_int16(calibrated: bytes, kind: str) -> ModelError:
    found = [operator.name for operator in parse_graph(calibrated).operators if operator.kind == kind]
    named = ", ".join(f"'{name}'" for name in dict.fromkeys(found[:3])) + (" …" if len(found) > 3 else "")
    return ModelError(
        f"TensorFlow Lite has no int16 kernel to rely on for the operator {kind} of {named}.",
        expected="operators that it has with int16 activations",
        mend=f"{REMEDIES.get(kind, 'replace the layer')}, or set `convert.precision` to int8 or float16",
    )
