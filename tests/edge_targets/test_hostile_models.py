"""Files built to mislead the reader of graphs, and the parts of the format that our converter never writes."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_targets import UnusableModel
from edge_targets.tflite_graph import Tensor, layer_name, parse_graph, read_graph, weight_tensors

LSTM = Path(__file__).parent / "data" / "tiny_lstm.tflite"
CONV, DEQUANTIZE = schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEQUANTIZE


def tensor(name: str = "t", buffer: int = 0, **fields: Any) -> Any:
    """A tensor in the schema's own objects; fields as the schema names them."""
    made = schema.TensorT()
    made.name, made.buffer, made.shape = name, buffer, [2]
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def operator(code: int, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, list(inputs), list(outputs)
    return made


def code(number: int, custom: str | None = None) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode, made.deprecatedBuiltinCode, made.customCode = number, min(number, 127), custom
    return made


def buffer(data: bytes = b"", offset: int = 0, size: int = 0) -> Any:
    made = schema.BufferT()
    made.data, made.offset, made.size = list(data) or None, offset, size
    return made


def quantized(scales: Sequence[float], zero_points: Sequence[int], dimension: int = 0) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint, made.quantizedDimension = list(scales), list(zero_points), dimension
    return made


def model(
    tensors: Sequence[Any],
    operators: Sequence[Any] = (),
    codes: Sequence[Any] = (),
    buffers: Sequence[Any] = (),
    bodies: Sequence[Any] = (),
) -> bytes:
    """A file of one graph, whose first tensor goes in and whose last comes out; buffer 0 is the empty one."""
    made = schema.ModelT()
    graph = subgraph(tensors, operators)
    made.version, made.subgraphs, made.operatorCodes = 3, [graph, *bodies], list(codes)
    made.buffers = [buffer(), *buffers]
    builder = flatbuffers.Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def subgraph(tensors: Sequence[Any], operators: Sequence[Any]) -> Any:
    made = schema.SubGraphT()
    made.tensors, made.operators = list(tensors), list(operators)
    made.inputs, made.outputs = [0], [len(tensors) - 1]
    return made


def repeated(tensors: int, name_bytes: int, padding_bytes: int = 0) -> bytes:
    """A file whose tensors are all one table, told over and over."""
    builder = flatbuffers.Builder(1024)
    padding = builder.CreateByteVector(bytes(padding_bytes))
    schema.BufferStart(builder)
    schema.BufferAddData(builder, padding)
    data = schema.BufferEnd(builder)
    name = builder.CreateString("x" * name_bytes)
    schema.TensorStart(builder)
    schema.TensorAddName(builder, name)
    one = schema.TensorEnd(builder)
    vectors = [vector(builder, [one] * tensors), vector(builder, [data])]
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, vectors[0])
    graphs = vector(builder, [schema.SubGraphEnd(builder)])
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, vectors[1])
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def vector(builder: Any, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in tables:
        builder.PrependUOffsetTRelative(table)
    made: int = builder.EndVector()
    return made


# ---- what misleads ----

CONV_CODE = [code(CONV)]
LIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "no tensor": (lambda: model([]), "it uses tensors that it does not have"),
    "a negative size": (lambda: model([tensor(shape=[-2])]), r"the shape \(-2,\)"),
    "too many dimensions": (lambda: model([tensor(shape=[1] * 33)]), "33 dimensions"),
    "an unknown type": (lambda: model([tensor(type=120)]), "unknown type 120"),
    "a missing buffer": (lambda: model([tensor(buffer=9)]), "buffer 9 of 1"),
    "a missing input": (lambda: model([tensor()], [operator(0, [7], [0])], CONV_CODE), "tensors that it does not"),
    "a negative output": (lambda: model([tensor()], [operator(0, [0], [-1])], CONV_CODE), "tensors that it does not"),
    "a missing code": (lambda: model([tensor()], [operator(3, [0], [0])], CONV_CODE), "operator code 3 of 1"),
    "a circle of one": (
        lambda: model([tensor(), tensor()], [operator(0, [1], [1])], CONV_CODE),
        "operator 0 reads a tensor that is made only later",
    ),
    "a circle of two": (
        lambda: model([tensor(), tensor()], [operator(0, [1], [0]), operator(0, [0], [1])], CONV_CODE),
        "operator 0 reads a tensor that is made only later",
    ),
    "scales for no channel": (
        lambda: model([tensor(quantization=quantized([1.0, 2.0, 3.0], [0, 0, 0]))]),
        "3 scales along dimension 0",
    ),
    "scales along no dimension": (
        lambda: model([tensor(quantization=quantized([1.0, 2.0], [0, 0], dimension=5))]),
        "2 scales along dimension 5",
    ),
    "more zero points than scales": (
        lambda: model([tensor(quantization=quantized([1.0], [0, 0, 0]))]),
        "1 scales and 3 zero points",
    ),
    "a constant behind the end": (lambda: model([tensor(buffer=1)], buffers=[buffer(offset=4, size=2**40)]), "outside"),
    "one tensor told too often": (lambda: repeated(40_000, 3), "more parts than it can hold"),
    "more tensors than any model": (lambda: repeated(60_000, 3, 10**6), "more parts than it can hold"),
    "a long name told too often": (lambda: repeated(40_000, 10**5, 10**5), "more than it can hold"),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_file_that_lies_is_refused_at_once(lie: str) -> None:
    made, what = LIES[lie]
    content = made()
    begin = time.process_time()
    with pytest.raises(UnusableModel, match=what):
        parse_graph(content)
    assert time.process_time() - begin < 2


def test_every_number_of_a_file_may_be_any_number() -> None:
    whole, rng = LSTM.read_bytes(), random.Random(0)
    nasty = [0, 1, 3, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1, len(whole), len(whole) - 4]
    outcomes = [opened(mutated(whole, rng, nasty)) for _ in range(400)]
    assert 50 < sum(outcomes) < 350


def mutated(whole: bytes, rng: random.Random, nasty: Sequence[int]) -> bytes:
    """The file with one aligned number replaced: these are offsets and lengths more often than not."""
    place = rng.randrange(0, len(whole) - 4, 4)
    return whole[:place] + rng.choice(nasty).to_bytes(4, "little") + whole[place + 4 :]


def opened(content: bytes) -> bool:
    """Whether all of it could be read; nothing but UnusableModel may say no, and soon."""
    begin = time.process_time()
    try:
        for _, weights in weight_tensors(parse_graph(content)):
            weights.values()
    except UnusableModel:
        return False
    finally:
        assert time.process_time() - begin < 2
    return True


def test_cut_anywhere_it_is_refused_or_read() -> None:
    whole = LSTM.read_bytes()
    assert not any(opened(whole[:end]) for end in range(0, len(whole) // 2, 16))


def test_what_is_no_file_of_sane_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match="is a folder"):
        read_graph(tmp_path)
    with pytest.raises(UnusableModel, match="no model file"):
        read_graph(tmp_path / "missing.tflite")
    with pytest.raises(UnusableModel, match="no model file"):
        read_graph(Path("/dev/zero"))
    huge = tmp_path / "huge.tflite"
    with huge.open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(UnusableModel, match=f"has {2**33} bytes"):
        read_graph(huge)


def test_names_cannot_steer_a_terminal() -> None:
    graph = parse_graph(model([tensor("\x1b[2Jconv/Conv2D\n")]))
    assert graph.tensors[0].name == "�[2Jconv/Conv2D�"


# ---- what our converter never writes ----


def test_a_state_may_be_read_before_it_is_made() -> None:
    state = tensor("state", isVariable=True)
    graph = parse_graph(model([tensor(), state], [operator(0, [0, 1], [1])], CONV_CODE))
    assert graph.tensors[1].is_variable


def test_all_matrices_of_an_lstm_are_weights_and_no_bias_is() -> None:
    found = weight_tensors(read_graph(LSTM))
    kinds = [(one.kind, weights.shape) for one, weights in found]
    cell = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert kinds == [(cell, (4, 3))] * 4 + [(cell, (4, 4))] * 4 + [("FULLY_CONNECTED", (2, 4))]


def test_weights_behind_dequantize_are_the_stored_ones() -> None:
    half = np.array([1.5, -2.0], np.float16)
    stored = tensor("conv/Conv2D", 1, type=schema.TensorType.FLOAT16)
    tensors = [tensor("x"), stored, tensor("unpacked"), tensor("y")]
    operators = [operator(1, [1], [2]), operator(0, [0, 2, -1], [3])]
    graph = parse_graph(model(tensors, operators, [code(CONV), code(DEQUANTIZE)], [buffer(half.tobytes())]))
    [(user, weights)] = weight_tensors(graph)
    assert (user.kind, weights.dtype, weights.bits) == ("CONV_2D", "float16", 16)
    assert weights.values().tolist() == [1.5, -2.0]
    assert graph.operators[1].inputs == (0, 2, -1)


def test_the_bodies_of_loops_are_read_and_their_weights_counted() -> None:
    body = subgraph([tensor("x"), tensor("w", 1), tensor("y")], [operator(0, [0, 1], [2])])
    content = model([tensor()], codes=CONV_CODE, buffers=[buffer(bytes(8))], bodies=[body])
    graph = parse_graph(content)
    assert [len(one.tensors) for one in graph.subgraphs()] == [1, 3]
    assert [weights.name for _, weights in weight_tensors(graph)] == ["w"]


def test_custom_operators_and_those_of_tomorrow_keep_their_names() -> None:
    codes = [code(schema.BuiltinOperator.CUSTOM, "edgetpu-custom-op"), code(9999)]
    graph = parse_graph(model([tensor(), tensor()], [operator(0, [0], [1]), operator(1, [0], [1])], codes))
    assert [(one.kind, one.custom_code) for one in graph.operators] == [
        ("CUSTOM", "edgetpu-custom-op"),
        ("BUILTIN_9999", ""),
    ]


def test_constants_behind_the_flatbuffer_are_found() -> None:
    constant = tensor(buffer=1, type=schema.TensorType.INT8)
    # The file is as long whatever the offset says, so the first try tells where the constant will lie.
    end = len(model([constant], buffers=[buffer(offset=2, size=2)]))
    content = model([constant], buffers=[buffer(offset=end, size=2)]) + b"\x01\xff"
    assert parse_graph(content).tensors[0].values().tolist() == [1, -1]


@pytest.mark.parametrize(
    ("dtype", "stored", "values"),
    [
        ("int2", [0b11_10_01_00], [0, 1, -2]),
        ("uint4", [0xF1, 0x02], [1, 15, 2]),
        ("int16", [1, 0, 0, 128, 255, 255], [1, -32768, -1]),
        ("bfloat16", [0x80, 0x3F, 0x20, 0xC0, 0, 0], [1.0, -2.5, 0.0]),
    ],
)
def test_numbers_of_every_width(dtype: str, stored: list[int], values: list[float]) -> None:
    assert Tensor(0, "w", (3,), dtype, data=np.array(stored, np.uint8)).values().tolist() == values


@pytest.mark.parametrize(
    "strange",
    [
        Tensor(0, "w", (3,), "string", data=np.zeros(3, np.uint8)),
        Tensor(0, "w", (3,), "int8", data=np.zeros(3, np.uint8), is_sparse=True),
        Tensor(0, "w", (2**31 - 1,) * 8, "float64", data=np.zeros(3, np.uint8)),
        Tensor(0, "w", (3,), "int8"),
    ],
)
def test_what_has_no_values_says_so(strange: Tensor) -> None:
    with pytest.raises(UnusableModel, match="'w'"):
        strange.values()


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("sequential/quant_conv2d/BiasAdd;sequential/quant_conv2d/Conv2D;sequential/x/FakeQuant", "conv2d"),
        ("tiny/quant_re_lu/Relu;tiny/quant_bn/FusedBatchNormV3;tiny/quant_conv2d/Conv2D1", "conv2d"),
        ("tiny/quant_dense/MatMul;tiny/quant_dense/LastValueQuant/FakeQuantWithMinMaxVars", "dense"),
        ("tiny/quant_flatten/Reshape;tiny/quant_dw/MovingAvgQuantize/FakeQuantWithMinMaxVars", "flatten"),
        ("model/sep/separable_conv2d/depthwise", "sep"),
        ("model/conv2d_transpose/conv2d_transpose", "conv2d_transpose"),
        ("MobilenetV1/MobilenetV1/Conv2d_0/Conv2D_Fold", "MobilenetV1/Conv2d_0"),
        ("arith.constant1", ""),
        ("StatefulPartitionedCall:0", ""),
        (";;/;//", ""),
    ],
)
def test_layer_names_of_many_converters(name: str, layer: str) -> None:
    assert layer_name(name) == layer


def test_reading_a_graph_needs_neither_tensorflow_nor_scipy() -> None:
    code = "import sys; from pathlib import Path; from edge_targets.tflite_graph import read_graph\n"
    code += "read_graph(Path(sys.argv[1])); print(sorted({name.split('.')[0] for name in sys.modules}))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(LSTM)], cwd=root, capture_output=True, check=True, timeout=60
    )
    assert b"numpy" in done.stdout
    assert not {"tensorflow", "scipy", "tf_keras", "keras"} & set(eval(done.stdout))
