"""Every row of the Edge TPU's operator table, with a model of one operator that meets it and one that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from edge_targets._edgetpu_map import predict
from edge_targets._edgetpu_node import Node, Status
from edge_targets._edgetpu_remedies import remedy_for
from edge_targets._edgetpu_table import EVERY, ROWS, refusal
from edge_targets.tflite_graph import parse_graph
from tests.edge_targets.one_operator import Tensor, constant, one_operator, zeros

IMAGE = Tensor((1, 8, 8, 4))
VECTOR = Tensor((1, 16))
RELU = 1


def conv(down: int = 1, across: int = 1, **changes: Any) -> bytes:
    options = {"Conv2DOptions": {"dilationHFactor": down, "dilationWFactor": across}}
    parts = {
        "image": IMAGE,
        "kernel": zeros(6, 3, 3, 4),
        "bias": zeros(6, dtype="int32"),
        "output": Tensor((1, 8, 8, 6)),
    }
    image, kernel, bias, output = (parts | {key: changes.pop(key) for key in parts if key in changes}).values()
    return one_operator("CONV_2D", [image, kernel, bias], [output], options, **changes)


def depthwise(down: int, across: int) -> bytes:
    options = {"DepthwiseConv2DOptions": {"dilationHFactor": down, "dilationWFactor": across}}
    bias = zeros(4, dtype="int32")
    return one_operator("DEPTHWISE_CONV_2D", [IMAGE, zeros(1, 3, 3, 4), bias], [IMAGE], options)


def dense(weights_format: int = 0, outputs: tuple[int, ...] = (1, 6)) -> bytes:
    source = Tensor((*outputs[:-1], 16))
    options = {"FullyConnectedOptions": {"weightsFormat": weights_format}}
    parts = [source, zeros(6, 16), zeros(6, dtype="int32")]
    return one_operator("FULLY_CONNECTED", parts, [Tensor(outputs)], options, 4)


def pool(kind: str, activation: int = 0) -> bytes:
    options = {"Pool2DOptions": {"fusedActivationFunction": activation}}
    return one_operator(kind, [IMAGE], [Tensor((1, 4, 4, 4))], options)


def concatenation(*inputs: Tensor, activation: int = 0) -> bytes:
    options = {"ConcatenationOptions": {"axis": 3, "fusedActivationFunction": activation}}
    return one_operator("CONCATENATION", inputs, [Tensor((1, 8, 8, 4 * len(inputs)))], options)


def reduced(kind: str, axes: list[int], source: Tensor = IMAGE) -> bytes:
    return one_operator(kind, [source, constant(axes)], [Tensor((1, 4))], {"ReducerOptions": {"keepDims": 0}})


def pack(axis: int) -> bytes:
    return one_operator(
        "PACK", [VECTOR, VECTOR], [Tensor((1, 2, 16))], {"PackOptions": {"axis": axis, "valuesCount": 2}}
    )


def pad(batch: int) -> bytes:
    amounts = constant([[batch, 0], [1, 1], [1, 1], [0, 0]])
    return one_operator("PAD", [IMAGE, amounts], [Tensor((1, 10, 10, 4))])


def prelu(*alpha: int) -> bytes:
    return one_operator("PRELU", [IMAGE, zeros(*alpha)], [IMAGE])


def reshape(*shape: int, target: Tensor | None = None) -> bytes:
    return one_operator("RESHAPE", [Tensor(shape), target or constant(shape)], [Tensor(shape)])


def resize(kind: str, before: tuple[int, ...], after: tuple[int, ...], align: int = 0) -> bytes:
    options = {"ResizeBilinearOptions": {"alignCorners": align}} if kind == "RESIZE_BILINEAR" else {}
    return one_operator(kind, [Tensor(before), constant(after[1:3])], [Tensor(after)], options)


def softmax(*shape: int) -> bytes:
    return one_operator("SOFTMAX", [Tensor(shape)], [Tensor(shape)], {"SoftmaxOptions": {"beta": 1}})


def strided(stride: int = 1, **masks: int) -> bytes:
    bounds = [constant([0, 0]), constant([1, 8]), constant([1, stride])]
    return one_operator("STRIDED_SLICE", [VECTOR, *bounds], [Tensor((1, 8))], {"StridedSliceOptions": masks})


def squeeze(before: tuple[int, ...], after: tuple[int, ...]) -> bytes:
    return one_operator("SQUEEZE", [Tensor(before)], [Tensor(after)])


def tile(batch: int) -> bytes:
    return one_operator("TILE", [Tensor((1, 1, 1, 4)), constant([batch, 8, 8, 1])], [IMAGE])


def lstm(kind: str = "UNIDIRECTIONAL_SEQUENCE_LSTM") -> bytes:
    """int8, with its states: (1, 4) int8 and int16."""
    weights: list[Tensor | None] = [*[zeros(4, 3)] * 4, *[zeros(4, 4)] * 4, None, None, None]
    biases: list[Tensor | None] = [*[zeros(4, dtype="int32")] * 4, None, None]
    states: list[Tensor | None] = [Tensor((1, 4), is_variable=True), Tensor((1, 4), "int16", is_variable=True)]
    return one_operator(kind, [Tensor((1, 5, 3)), *weights, *biases, *states], [Tensor((1, 5, 4))])


def plain(kind: str, *inputs: Tensor, output: Tensor = IMAGE) -> bytes:
    return one_operator(kind, inputs or (IMAGE,), [output])


TWO = (IMAGE, IMAGE)
MEETS: dict[str, bytes] = {
    **{kind: plain(kind, *TWO) for kind in ("ADD", "MUL", "SUB", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")},
    **{
        kind: plain(kind) for kind in ("RELU", "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "L2_NORMALIZATION", "RSQRT")
    },
    "QUANTIZE": plain("QUANTIZE", IMAGE, output=Tensor((1, 8, 8, 4), "uint8")),
    "EXPAND_DIMS": plain("EXPAND_DIMS", Tensor((1, 8, 4)), constant(1), output=Tensor((1, 1, 8, 4))),
    "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": pool("MAX_POOL_2D"),
    "CONCATENATION": concatenation(IMAGE, constant([[[[3] * 4] * 8] * 8], "int8", zero_point=3)),
    "CONV_2D": conv(2, 2),
    "DEPTHWISE_CONV_2D": depthwise(2, 2),
    "FULLY_CONNECTED": dense(),
    "LSTM": lstm("LSTM"),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": lstm(),
    "MEAN": reduced("MEAN", [1, 2, -1]),
    "SUM": reduced("SUM", [1, 2]),
    "REDUCE_MAX": reduced("REDUCE_MAX", [1]),
    "REDUCE_MIN": reduced("REDUCE_MIN", [-1]),
    "PACK": pack(1),
    "PAD": pad(0),
    "PRELU": prelu(1, 1, 4),
    "RESHAPE": reshape(1, 28, 28, 255),
    "RESIZE_BILINEAR": resize("RESIZE_BILINEAR", (1, 33, 33, 19), (1, 66, 66, 19)),
    "RESIZE_NEAREST_NEIGHBOR": resize("RESIZE_NEAREST_NEIGHBOR", (1, 40, 40, 128), (1, 80, 80, 128)),
    "SOFTMAX": softmax(1, 16_000),
    "STRIDED_SLICE": strided(beginMask=1, shrinkAxisMask=1),
    "SLICE": plain("SLICE", IMAGE, constant([0, 0, 0, 0]), constant([1, 4, 8, 4]), output=Tensor((1, 4, 8, 4))),
    "SPACE_TO_DEPTH": plain("SPACE_TO_DEPTH", IMAGE, output=Tensor((1, 4, 4, 16))),
    "SPLIT": one_operator("SPLIT", [constant(3), IMAGE], [Tensor((1, 8, 8, 2))] * 2),
    "SQUEEZE": squeeze((1, 5, 1, 10), (5, 10)),
    "TILE": tile(1),
    "TRANSPOSE": plain("TRANSPOSE", IMAGE, constant([0, 2, 1, 3])),
    "TRANSPOSE_CONV": one_operator(
        "TRANSPOSE_CONV", [constant([1, 16, 16, 6]), zeros(6, 3, 3, 4), IMAGE], [Tensor((1, 16, 16, 6))]
    ),
}

BREAKS: dict[tuple[str, str], tuple[bytes, str]] = {
    ("AVERAGE_POOL_2D", "no_activation"): (pool("AVERAGE_POOL_2D", RELU), "an activation is fused"),
    ("MAX_POOL_2D", "no_activation"): (pool("MAX_POOL_2D", RELU), "an activation is fused"),
    ("CONCATENATION", "no_activation"): (concatenation(*TWO, activation=RELU), "an activation is fused"),
    ("CONCATENATION", "zero_constant"): (concatenation(IMAGE, zeros(1, 8, 8, 4, zero_point=3)), "joins a constant"),
    ("CONV_2D", "even_dilation"): (conv(2, 1), "2 down and 1 across"),
    ("DEPTHWISE_CONV_2D", "even_dilation"): (depthwise(1, 3), "1 down and 3 across"),
    ("FULLY_CONNECTED", "default_weights"): (dense(weights_format=1), "stored shuffled"),
    ("FULLY_CONNECTED", "vector_output"): (dense(outputs=(1, 5, 6)), "its output is 1×5×6"),
    ("MEAN", "batch_stays"): (reduced("MEAN", [0, 1]), "reduces the batch"),
    ("MEAN", "lanes_of_channels"): (reduced("MEAN", [-1], Tensor((1, 8, 8, 6))), "over 6 channels"),
    ("REDUCE_MAX", "batch_stays"): (reduced("REDUCE_MAX", [-4]), "reduces the batch"),
    ("REDUCE_MIN", "batch_stays"): (reduced("REDUCE_MIN", [0]), "reduces the batch"),
    ("PACK", "pack_behind_batch"): (pack(-3), "along the batch"),
    ("PAD", "pad_behind_batch"): (pad(1), "pads the batch"),
    ("PRELU", "vector_alpha"): (prelu(8, 8, 4), "its alpha is 8×8×4"),
    ("RESHAPE", "small_reshape"): (reshape(1, 48, 48, 255), "587,520 values"),
    ("RESIZE_BILINEAR", "exact_interpolation"): (
        resize("RESIZE_BILINEAR", (1, 33, 33, 2), (1, 513, 513, 2), align=1),
        "16× down and 16× across",
    ),
    ("RESIZE_BILINEAR", "small_resize"): (
        resize("RESIZE_BILINEAR", (1, 256, 256, 32), (1, 512, 512, 32)),
        "8,388,608 values",
    ),
    ("RESIZE_NEAREST_NEIGHBOR", "small_resize"): (
        resize("RESIZE_NEAREST_NEIGHBOR", (1, 256, 256, 32), (1, 512, 512, 32)),
        "so large a resize",
    ),
    ("SOFTMAX", "softmax_vector"): (softmax(1, 16_001), "its input is 1×16001"),
    ("STRIDED_SLICE", "unit_strides"): (strided(2), "in strides"),
    ("STRIDED_SLICE", "plain_masks"): (strided(ellipsisMask=1), "a new axis"),
    ("SQUEEZE", "leading_squeeze"): (squeeze((1, 5, 1, 10), (1, 5, 10)), "leading dimensions only"),
    ("TILE", "tile_behind_batch"): (tile(2), "repeats the batch"),
}
OLD = {("SQUEEZE", "leading_squeeze"): 12}
"""Rules of older runtimes."""

EVERY_BREAKS: dict[str, tuple[bytes, str]] = {
    "eight_bits": (conv(image=Tensor((1, 8, 8, 4), "float32")), "works on float32"),
    "known_sizes": (conv(image=Tensor((1, 8, 8, 4), open_sizes=(0, 1))), "'in0' is open"),
    "three_dimensions": (conv(image=Tensor((4, 8, 8, 4)), output=Tensor((4, 8, 8, 6))), "its batch is 4"),
    "constant_parameters": (conv(kernel=Tensor((6, 3, 3, 4))), "'in1' is computed"),
}

BROKEN_OTHERWISE: dict[str, tuple[bytes, str]] = {
    "a softmax of several dimensions": (softmax(1, 5, 6), "its input is 1×5×6"),
    "a slice with a new axis": (strided(newAxisMask=1), "a new axis"),
    "a computed bias": (conv(bias=Tensor((6,), "int32")), "'in2' is computed"),
    "three dimensions behind two": (plain("RELU", Tensor((1, 2, 8, 8, 4))), "1×2×8×8×4"),
    "three outer dimensions": (plain("RELU", Tensor((3, 128, 128, 3))), "its batch is 3"),
    "a dense layer over a batch": (dense(outputs=(8, 6)), "its output is 8×6"),
}
"""Second ways to break a rule of Coral's table."""


def node(content: bytes, runtime: int = 14) -> Node:
    graph = parse_graph(content)
    return Node(graph.operators[0], graph, runtime)


def test_every_row_and_every_rule_is_tried() -> None:
    assert MEETS.keys() == ROWS.keys()
    assert BREAKS.keys() == {(kind, rule.__name__) for kind, row in ROWS.items() for rule in row.rules}
    assert EVERY_BREAKS.keys() == {rule.__name__ for rule in EVERY}


@pytest.mark.parametrize("kind", sorted(MEETS))
def test_an_operator_within_its_limits_is_mapped(kind: str) -> None:
    content = MEETS[kind]
    assert node(content).operator.kind == kind
    assert refusal(node(content)) is None
    [placement] = predict(parse_graph(content)).placements
    assert (placement.runs_on, placement.remedy) == ("edgetpu", "")


@pytest.mark.parametrize(("kind", "rule"), sorted(BREAKS))
def test_an_operator_beyond_a_limit_is_not(kind: str, rule: str) -> None:
    content, why = BREAKS[kind, rule]
    one = node(content, OLD.get((kind, rule), 14))
    refusing = [check.__name__ for check in (*EVERY, *ROWS[kind].rules) if check(one) is not None]
    assert refusing == [rule]
    _is_told(one, why, Status.LIMITED)


@pytest.mark.parametrize("rule", sorted(EVERY_BREAKS))
def test_what_holds_for_every_operator(rule: str) -> None:
    content, why = EVERY_BREAKS[rule]
    refusing = [check.__name__ for check in EVERY if check(node(content)) is not None]
    assert refusing == [rule]
    _is_told(node(content), why, Status.DATA_TYPE if rule == "eight_bits" else Status.LIMITED)


@pytest.mark.parametrize("way", BROKEN_OTHERWISE)
def test_a_rule_is_broken_in_more_than_one_way(way: str) -> None:
    content, why = BROKEN_OTHERWISE[way]
    _is_told(node(content), why, Status.LIMITED)


def test_a_batch_of_a_dense_layer_is_mended_by_its_batch() -> None:
    found = refusal(node(dense(outputs=(8, 6))))
    assert found is not None
    assert "batch_size=1" in found.remedy


def _is_told(one: Node, why: str, status: Status) -> None:
    found = refusal(one)
    assert found is not None
    assert why in found.why
    assert found.status is status
    assert len(found.remedy) > 15


@pytest.mark.parametrize("kind", ["ARG_MAX", "LEAKY_RELU", "BIDIRECTIONAL_SEQUENCE_LSTM", "SPACE_TO_BATCH_ND", "GELU"])
def test_an_operator_outside_the_table_stays_on_the_cpu(kind: str) -> None:
    _is_told(node(plain(kind)), f"the Edge TPU has no {kind}", Status.UNSUPPORTED)


def test_a_custom_operator_is_named_by_its_own_name() -> None:
    content = one_operator("CUSTOM", [IMAGE], [IMAGE], custom="PosenetDecoderOp")
    _is_told(node(content), "has no PosenetDecoderOp", Status.UNSUPPORTED)


def test_a_newer_version_than_the_compiler_reads_is_refused() -> None:
    assert refusal(node(conv(version=5))) is None
    _is_told(node(conv(version=6)), "reads up to 5", Status.VERSION)


@pytest.mark.parametrize(("kind", "remedy"), [("CONV_2D", "groups=1"), ("MUL", "an older TensorFlow")])
def test_a_newer_version_has_the_remedy_of_its_kind(kind: str, remedy: str) -> None:
    content = conv(version=9) if kind == "CONV_2D" else one_operator(kind, [IMAGE, IMAGE], [IMAGE], version=9)
    found = refusal(node(content))
    assert found is not None
    assert remedy in found.remedy


@pytest.mark.parametrize("kind", ["GATHER", "REDUCE_PROD"])
def test_what_calculates_with_sizes_goes_when_sizes_are_given(kind: str) -> None:
    sizes = Tensor((4,), "int32")
    of_sizes = refusal(node(plain(kind, sizes, output=sizes)))
    assert of_sizes is not None
    assert "batch_size=1" in of_sizes.remedy
    of_values = refusal(node(plain(kind)))
    assert of_values is not None
    assert of_values.remedy == remedy_for(kind)


@pytest.mark.parametrize(("kind", "since"), [("TRANSPOSE", 14), ("RSQRT", 14), ("SUM", 13), ("TRANSPOSE_CONV", 13)])
def test_younger_operators_need_their_runtime(kind: str, since: int) -> None:
    assert refusal(node(MEETS[kind], since)) is None
    _is_told(node(MEETS[kind], since - 1), f"it came with {since}", Status.VERSION)


def test_an_old_squeeze_may_drop_what_leads() -> None:
    leading = squeeze((1, 1, 5, 10), (5, 10))
    assert refusal(node(leading, 12)) is None
    assert refusal(node(BREAKS["SQUEEZE", "leading_squeeze"][0], 13)) is None


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (plain("QUANTIZE", Tensor((1, 8, 8, 4), "float32")), "inference_input_type int8"),
        (conv(image=Tensor((1, 8, 8, 4), "int16")), "16x8"),
        (plain("ADD", Tensor((2,), "int32"), Tensor((2,), "int32"), output=Tensor((2,), "int32")), "batch_size=1"),
        (conv(bias=zeros(6, dtype="int64")), "batch_size=1"),
    ],
)
def test_each_wrong_type_has_its_remedy(content: bytes, remedy: str) -> None:
    found = refusal(node(content))
    assert found is not None
    assert remedy in found.remedy


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(concatenation(IMAGE, IMAGE, zeros(1, 8, 8, 4)), id="three inputs, zeros among them"),
        pytest.param(concatenation(zeros(1, 8, 8, 4), zeros(1, 8, 8, 4)), id="constants only"),
    ],
)
def test_zeros_may_be_joined_to_one_tensor_only(content: bytes) -> None:
    found = refusal(node(content))
    assert found is not None
    assert "joins a constant" in found.why


def test_an_open_batch_alone_is_one() -> None:
    assert refusal(node(conv(image=Tensor((1, 8, 8, 4), open_sizes=(0,))))) is None


def test_a_computed_shape_is_not_known_when_compiling() -> None:
    found = refusal(node(reshape(1, 16, target=Tensor((2,), "int32"))))
    assert found is not None
    assert "'in1' is computed" in found.why


def test_a_remedy_for_everything() -> None:
    assert all(len(remedy_for(kind)) > 15 for kind in ("ATAN2", "CUSTOM", "WHILE", "no such thing"))
