"""Which operators the Edge TPU can run: a row each.

After Coral's "TensorFlow models on the Edge TPU". The newest versions are those of TensorFlow Lite's register.cc in the
release whose limits on CONV_2D (5) and TRANSPOSE_CONV (3) are the ones that edgetpu_compiler 16.0 shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_targets import _edgetpu_rules as rules
from edge_targets._edgetpu_node import Node, Refusal, Status
from edge_targets._edgetpu_remedies import (
    SHAPE_TYPES,
    UNSUPPORTED,
    remedy_for,
    remedy_for_type,
    remedy_for_version,
)
from edge_targets._edgetpu_rules import Rule


@dataclass(frozen=True)
class Row:
    """An operator that the Edge TPU can run.

    Attributes:
        newest: the newest version of it that edgetpu_compiler 16.0 reads.
        rules: what it must keep to.
        since: the first runtime that has it.
    """

    newest: int
    rules: tuple[Rule, ...] = ()
    since: int = 10


EVERY: tuple[Rule, ...] = (rules.eight_bits, rules.known_sizes, rules.three_dimensions, rules.constant_parameters)
"""What holds for every operator."""

ROWS: dict[str, Row] = {
    "ADD": Row(3),
    "AVERAGE_POOL_2D": Row(3, (rules.no_activation,)),
    "CONCATENATION": Row(3, (rules.no_activation, rules.zero_constant)),
    "CONV_2D": Row(5, (rules.even_dilation,)),
    "DEPTHWISE_CONV_2D": Row(6, (rules.even_dilation,)),
    "EXPAND_DIMS": Row(1),
    "FULLY_CONNECTED": Row(9, (rules.default_weights, rules.vector_output)),
    "L2_NORMALIZATION": Row(2),
    "LOGISTIC": Row(3),
    "LSTM": Row(4),
    "MAXIMUM": Row(4),
    "MAX_POOL_2D": Row(3, (rules.no_activation,)),
    "MEAN": Row(3, (rules.batch_stays, rules.lanes_of_channels)),
    "MINIMUM": Row(4),
    "MUL": Row(4),
    "PACK": Row(3, (rules.pack_behind_batch,)),
    "PAD": Row(3, (rules.pad_behind_batch,)),
    "PRELU": Row(1, (rules.vector_alpha,)),
    "QUANTIZE": Row(2),
    "REDUCE_MAX": Row(3, (rules.batch_stays,)),
    "REDUCE_MIN": Row(3, (rules.batch_stays,)),
    "RELU": Row(3),
    "RELU6": Row(3),
    "RELU_N1_TO_1": Row(1),
    "RESHAPE": Row(1, (rules.small_reshape,)),
    "RESIZE_BILINEAR": Row(4, (rules.exact_interpolation, rules.small_resize)),
    "RESIZE_NEAREST_NEIGHBOR": Row(4, (rules.small_resize,)),
    "RSQRT": Row(2, since=14),
    "SLICE": Row(5),
    "SOFTMAX": Row(3, (rules.softmax_vector,)),
    "SPACE_TO_DEPTH": Row(2),
    "SPLIT": Row(4),
    "SQUARED_DIFFERENCE": Row(2, since=14),
    "SQUEEZE": Row(2, (rules.leading_squeeze,)),
    "STRIDED_SLICE": Row(5, (rules.unit_strides, rules.plain_masks)),
    "SUB": Row(5),
    "SUM": Row(2, since=13),
    "TANH": Row(3),
    # Not in Coral's table, and yet mapped in models that Coral publishes.
    "TILE": Row(2, (rules.tile_behind_batch,)),
    "TRANSPOSE": Row(5, since=14),
    "TRANSPOSE_CONV": Row(3, since=13),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Row(3),
}


def refusal(node: Node) -> Refusal | None:
    """Why the Edge TPU cannot run an operator, or None if it can.

    Raises:
        UnusableModel: a constant's bytes do not fit its shape.
    """
    row = ROWS.get(node.operator.kind)
    if row is None:
        return _unsupported(node)
    checks = (lambda _: _too_new(node, row), *EVERY, *row.rules)
    return next((found for check in checks if (found := check(node)) is not None), None)


def _unsupported(node: Node) -> Refusal:
    name = node.operator.custom_code or node.operator.kind
    types = {tensor.dtype for tensor in node.operands()}
    # Whatever it is, it calculates with sizes: once they are given, it is gone.
    of_sizes = bool(types) and types <= set(SHAPE_TYPES)
    remedy = remedy_for_type(SHAPE_TYPES[0]) if of_sizes else remedy_for(node.operator.kind)
    return Refusal(Status.UNSUPPORTED, f"the Edge TPU has no {name}", remedy)


def _too_new(node: Node, row: Row) -> Refusal | None:
    if node.runtime < row.since:
        return Refusal(
            Status.VERSION,
            f"runtime {node.runtime} has no {node.operator.kind}; it came with {row.since}",
            f"update libedgetpu to runtime {row.since}; {UNSUPPORTED}",
        )
    if node.operator.version <= row.newest:
        return None
    return Refusal(
        Status.VERSION,
        f"it is version {node.operator.version} of {node.operator.kind}; edgetpu_compiler 16.0 reads up to "
        f"{row.newest}, and may refuse the whole file",
        remedy_for_version(node.operator.kind),
    )
