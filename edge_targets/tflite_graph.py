"""Reads a `.tflite` without TensorFlow: its operators, tensors, quantization and weights.

The file may be anything. What is not a well-formed model is refused with `UnusableModel`, in time and memory that
the size of the file bounds: lengths are checked before they are believed, and a file may not tell the same bytes over
and over. The format is FlatBuffers with TensorFlow Lite's schema (schema.fbs in its repository).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._errors import UnusableModel
from edge_targets._tflite_options import read_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

IDENTIFIER = b"TFL3"
# FlatBuffers' offsets end at 2 GiB; what lies behind that is no model for the edge.
MOST_FILE_BYTES = 2**31
# Tables (tensors, operators, buffers, …) a file may have. Large language models have some ten thousand.
MOST_TABLES = 50_000
# An entry in a vector and an offset to its layout: no table takes less.
MIN_TABLE_BYTES = 8
MOST_RANK = 32


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph. A stored value q stands for `scale * (q - zero_point)`.

    Attributes:
        index: its place in its subgraph.
        name: as the converter wrote it.
        shape: with batch; sizes that are open in the model are 1.
        dtype: as numpy names it (`int8`, `float32`), and `int4`, `int2`, `uint4`, `bfloat16`, `string`, `resource`,
            `variant`.
        scales, zero_points: of the quantization: none, one for the tensor, or one a channel.
        quantized_dimension: the dimension of the channels.
        data: the stored bytes of a constant, (bytes,) uint8, or None where the tensor is computed.
        is_variable: the tensor keeps its value from run to run.
        is_sparse: the stored bytes leave zeros out (TensorFlow Lite's sparse encoding).
        open_dimensions: those whose sizes the model leaves open.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    quantized_dimension: int = 0
    data: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)
    is_variable: bool = False
    is_sparse: bool = False
    open_dimensions: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many values it holds."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits a value takes where it is stored; 0 for types of no fixed size."""
        return _BITS.get(self.dtype, 0)

    def values(self) -> NDArray[Any]:
        """The values of a constant, raw, in the tensor's shape. Values below 8 bits come as int8 or uint8.

        Raises:
            UnusableModel: it is not constant, its bytes do not fit its shape, or its type holds no numbers.
        """
        if self.data is None:
            raise UnusableModel(f"The tensor '{self.name}' is not constant.")
        if self.is_sparse:
            raise UnusableModel(
                f"The tensor '{self.name}' is stored in TensorFlow Lite's sparse encoding, which is not read here.",
                mend="convert without EXPERIMENTAL_SPARSITY",
            )
        if self.bits == 0 or len(self.data) != math.ceil(self.size * self.bits / 8):
            raise UnusableModel(
                f"The tensor '{self.name}' holds {len(self.data)} bytes, which are not {self.dtype} {self.shape}."
            )
        return _decoded(self.data, self.dtype, self.size).reshape(self.shape)


@dataclass(frozen=True)
class Operator:
    """A node of the graph.

    Attributes:
        index: its place in its subgraph, which is the order of execution.
        kind: the builtin operator, `CONV_2D`; `CUSTOM` for others.
        name: the Keras layer that it came from, as far as the file still tells; else its first output's name.
        inputs: indices of tensors; -1 for an optional one that is left out.
        outputs: indices of tensors.
        custom_code: the name of a custom operator, or "".
        version: of the builtin operator: which of its forms an interpreter must know to run it.
        options: its settings that matter to accelerators, by their names in TensorFlow Lite's schema.
    """

    index: int
    kind: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom_code: str = ""
    version: int = 1
    options: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Graph:
    """A model: its main subgraph, and in `bodies` those that its loops, branches and calls run.

    Attributes:
        name: of the subgraph.
        operators: in the order of execution.
        tensors: by index.
        inputs, outputs: indices of tensors.
        size_bytes: of the file.
        description: what the converter wrote about it.
        metadata: name to content, beside the model.
        bodies: the other subgraphs. Sizes, description and metadata are the file's and are not repeated in them.
    """

    name: str
    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size_bytes: int = 0
    description: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    bodies: tuple[Graph, ...] = ()

    def subgraphs(self) -> tuple[Graph, ...]:
        """This one and its bodies: all that can run."""
        return (self, *self.bodies)


def read_graph(path: Path) -> Graph:
    """Read a `.tflite`.

    Raises:
        UnusableModel: it cannot be read, or is not a well-formed model.
    """
    return parse_graph(_bytes_of(path), path.name)


def parse_graph(content: bytes, name: str = "the model") -> Graph:
    """Read the bytes of a `.tflite`.

    Args:
        content: the whole file.
        name: what messages call it.

    Raises:
        UnusableModel: they are not a well-formed model.
    """
    try:
        if content[4:8] != IDENTIFIER:
            raise _Malformed(f"it begins with {content[:8]!r}, without the mark TFL3 at byte 4")
        return _File(content).graph()
    # struct.error: an offset that points outside; the others: numpy and FlatBuffers on impossible numbers.
    except (_Malformed, struct.error, ValueError, TypeError, OverflowError) as error:
        raise UnusableModel(
            f"{name} is not a usable .tflite: {error}.",
            expected="a complete TensorFlow Lite model",
            mend="convert it again, or fetch it again if it was cut short on its way",
        ) from error


def weight_tensors(graph: Graph) -> list[tuple[Operator, Tensor]]:
    """Every constant that an operator multiplies its input with, in order; biases are not among them.

    A weight that is stored as float16 or sparse stands behind DEQUANTIZE or DENSIFY: then the stored tensor is given.
    A tensor that two operators share comes twice. The bodies of loops and branches are looked at too.
    """
    return [pair for subgraph in graph.subgraphs() for pair in _weights_of(subgraph)]


def operators_behind(graph: Graph, tensors: Iterable[int]) -> set[int]:
    """The operators of the main graph, by index, that it takes to make some tensors."""
    makers = {output: operator for operator in graph.operators for output in operator.outputs}
    found: set[int] = set()
    waiting = list(tensors)
    while waiting:
        operator = makers.get(waiting.pop())
        if operator is not None and operator.index not in found:
            found.add(operator.index)
            waiting.extend(operator.inputs)
    return found


def layer_name(tensor_name: str) -> str:
    """The Keras layer in a tensor's name: `sequential/quant_conv2d/Conv2D;…` → `conv2d`; "" where none is told."""
    told = [path for piece in tensor_name.split(";") if (path := _layer_path(piece))]
    # Of a fused operator's names, the kernel's is the layer with the weights.
    kernels = [path for path, does_multiply in told if does_multiply]
    names = kernels or [path for path, _ in told]
    return names[0] if names else ""


# ---- weights ----

_LSTM = (*range(1, 12), 16)
# Which inputs of TensorFlow Lite's kernels are weights: neither biases nor states nor normalization vectors.
_WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "FULLY_CONNECTED": (1,),
    "TRANSPOSE_CONV": (1,),
    "CONV_3D": (1,),
    "CONV_3D_TRANSPOSE": (1,),
    "BATCH_MATMUL": (0, 1),
    "EMBEDDING_LOOKUP": (1,),
    "GATHER": (0,),
    "SVDF": (1, 2),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "BIDIRECTIONAL_SEQUENCE_RNN": (1, 2, 5, 6, 10, 11),
    "LSTM": _LSTM,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LSTM,
    "BIDIRECTIONAL_SEQUENCE_LSTM": (*range(1, 12), 16, *range(18, 29), 33, *range(40, 48)),
}
# The older, smaller LSTM kernel: data, previous activation, weights, biases, previous state.
_BASIC_LSTM_INPUTS = 5
UNPACKING = ("DEQUANTIZE", "DENSIFY")
"""Operators that only turn a stored constant into one that can be computed with."""


def _weights_of(graph: Graph) -> Iterator[tuple[Operator, Tensor]]:
    makers = {output: operator for operator in graph.operators for output in operator.outputs}
    for operator in graph.operators:
        for place in weight_places(operator):
            index = operator.inputs[place] if place < len(operator.inputs) else -1
            stored = stored_constant(graph, makers, index)
            if stored is not None:
                yield operator, stored


def weight_places(operator: Operator) -> tuple[int, ...]:
    """Which of an operator's inputs are weights, be they constant or computed."""
    if operator.kind == "LSTM" and len(operator.inputs) == _BASIC_LSTM_INPUTS:
        return (2,)
    return _WEIGHT_INPUTS.get(operator.kind, ())


def stored_constant(graph: Graph, makers: Mapping[int, Operator], index: int) -> Tensor | None:
    """The constant that an input comes from, behind DEQUANTIZE and DENSIFY, or None if it is computed.

    Args:
        graph: the subgraph.
        makers: its operators by the tensors that they make.
        index: of the input's tensor; -1 for one that is left out.
    """
    # Parsing refused circles, so this ends.
    while index in makers and makers[index].kind in UNPACKING:
        index = makers[index].inputs[0]
    return graph.tensors[index] if index >= 0 and graph.tensors[index].data is not None else None


# ---- names ----

_KERNELS = r"Conv2D|Conv1D|Conv3D|depthwise|convolution|separable_conv2d|conv2d_transpose|MatMul|Tensordot|einsum"
_STEPS = (
    r"BiasAdd|Relu6?|Elu|Selu|Tanh|Sigmoid|Softmax|LeakyRelu|FusedBatchNormV3|batchnorm|add|sub|mul|Add|Sub|Mul|AddV2|"
    r"Mean|Max|MaxPool|AvgPool|Reshape|Pad|concat|stack|ReadVariableOp|resource|reduction_indices|ResizeBilinear|"
    r"ResizeNearestNeighbor|ExpandDims|Squeeze|LastValueQuant|AllValuesQuantize|MovingAvgQuantize|FakeQuant\w*"
)
# The converter makes a name unique with a number behind it.
_IS_STEP = re.compile(rf"(?:{_KERNELS}|{_STEPS})(?:_Fold)?(?:_?\d+)?")
_IS_KERNEL = re.compile(rf"(?:{_KERNELS})(?:_Fold)?(?:_?\d+)?")
_IS_WRAPPER = re.compile(r"^(?:quant_|prune_low_magnitude_|cluster_)+(?=.)")
_IS_OUTPUT_NUMBER = re.compile(r":\d+$")


def _layer_path(piece: str) -> tuple[str, bool] | None:
    """One name `model/layer/operation` as the layer's, and whether the operation multiplies with weights."""
    parts = [part for part in _IS_OUTPUT_NUMBER.sub("", piece).split("/") if part]
    if len(parts) < 2:
        return None
    multiplies = any(_IS_KERNEL.fullmatch(part) for part in parts[1:])
    # A layer may be named like an operation: of `model/conv2d_transpose/conv2d_transpose` the first stays.
    fewest = 2 if len(parts) > 2 else 1
    while len(parts) > fewest and _IS_STEP.fullmatch(parts[-1]):
        parts.pop()
    layer = parts[1:] if len(parts) > 1 else parts
    layer[-1] = _IS_WRAPPER.sub("", layer[-1])
    return "/".join(layer), multiplies


# ---- values ----

_PACKED_TYPES = {"int4": 4, "uint4": 4, "int2": 2}
_BITS = {
    **_PACKED_TYPES,
    **dict.fromkeys(("bool", "int8", "uint8"), 8),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 64),
    "complex128": 128,
}


def _decoded(data: NDArray[np.uint8], dtype: str, size: int) -> NDArray[Any]:
    """Stored bytes as (size,) numbers."""
    if dtype in _PACKED_TYPES:
        return _unpacked(data, _PACKED_TYPES[dtype], signed=dtype.startswith("int"))[:size]
    if dtype == "bfloat16":
        # A bfloat16 is the upper half of a float32.
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return data.view(np.dtype(dtype).newbyteorder("<"))


def _unpacked(data: NDArray[np.uint8], bits: int, *, signed: bool) -> NDArray[Any]:
    """Numbers of a few bits, the first in the lowest bits of each byte."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers: NDArray[np.uint8] = ((data[:, None] >> shifts) & np.uint8(2**bits - 1)).reshape(-1)
    if not signed:
        return numbers
    half = 2 ** (bits - 1)
    signed_numbers: NDArray[np.int8] = (numbers ^ np.uint8(half)).astype(np.int8) - np.int8(half)
    return signed_numbers


# ---- the file ----


class _Malformed(Exception):
    """What is wrong with the file, as the end of a sentence."""


class _File:
    """One pass over a file's tables, with an allowance of what an honest file of this size can hold.

    Offsets in a FlatBuffer may point anywhere, twice too: a few hundred bytes can tell of a million tensors with names
    of a megabyte each. So every table read, and every byte copied, is taken off an allowance first.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._content = content
        self._tables_left = min(MOST_TABLES, len(content) // MIN_TABLE_BYTES)
        self._bytes_left = 2 * len(content)
        self._model = schema.Model.GetRootAs(content)
        self._types = _names_by_number(schema.TensorType)
        self._kinds = _names_by_number(schema.BuiltinOperator)

    def graph(self) -> Graph:
        model = self._model
        self._buffers = [self._buffer(model.Buffers(place)) for place in self._tables(model.BuffersLength())]
        self._codes = [self._code(model.OperatorCodes(place)) for place in self._tables(model.OperatorCodesLength())]
        subgraphs = [self._subgraph(model.Subgraphs(place)) for place in self._tables(model.SubgraphsLength())]
        if not subgraphs:
            raise _Malformed("it has no graph")
        main = subgraphs[0]
        return Graph(
            name=main.name,
            operators=main.operators,
            tensors=main.tensors,
            inputs=main.inputs,
            outputs=main.outputs,
            size_bytes=len(self._content),
            description=self._text(model.Description()),
            metadata=self._metadata(),
            bodies=tuple(subgraphs[1:]),
        )

    def _subgraph(self, table: Any) -> Graph:
        tensors = tuple(self._tensor(table.Tensors(place), place) for place in self._tables(table.TensorsLength()))
        operators = tuple(
            self._operator(table.Operators(place), place, tensors) for place in self._tables(table.OperatorsLength())
        )
        _refuse_circles(operators, tensors)
        inputs = self._indices(table.InputsLength(), table.InputsAsNumpy, len(tensors))
        outputs = self._indices(table.OutputsLength(), table.OutputsAsNumpy, len(tensors))
        return Graph(self._text(table.Name()), operators, tensors, inputs, outputs)

    def _tensor(self, table: Any, place: int) -> Tensor:
        shape = self._shape(table)
        scales, zero_points, dimension = self._quantization(table.Quantization(), shape)
        return Tensor(
            index=place,
            name=self._text(table.Name()),
            shape=shape,
            dtype=self._dtype(table.Type()),
            scales=scales,
            zero_points=zero_points,
            quantized_dimension=dimension,
            data=self._buffers[_within(table.Buffer(), len(self._buffers), "buffer")] if self._buffers else None,
            is_variable=bool(table.IsVariable()),
            is_sparse=table.Sparsity() is not None,
            open_dimensions=self._open_dimensions(table),
        )

    def _open_dimensions(self, table: Any) -> tuple[int, ...]:
        signature = self._numbers(table.ShapeSignatureLength(), table.ShapeSignatureAsNumpy)
        return tuple(place for place, size in enumerate(signature) if size < 0)

    def _shape(self, table: Any) -> tuple[int, ...]:
        if table.ShapeLength() > MOST_RANK:
            raise _Malformed(f"a tensor has {table.ShapeLength()} dimensions")
        shape = self._numbers(table.ShapeLength(), table.ShapeAsNumpy)
        if any(size < 0 for size in shape):
            raise _Malformed(f"a tensor has the shape {shape}")
        return shape

    def _dtype(self, number: int) -> str:
        if number not in self._types:
            raise _Malformed(f"a tensor is of the unknown type {number}")
        return self._types[number].lower()

    def _quantization(self, table: Any, shape: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        if table is None:
            return (), (), 0
        scales = self._numbers(table.ScaleLength(), table.ScaleAsNumpy)
        zero_points = self._numbers(table.ZeroPointLength(), table.ZeroPointAsNumpy)
        dimension = table.QuantizedDimension()
        if len(scales) > 1 and not (0 <= dimension < len(shape) and shape[dimension] == len(scales)):
            raise _Malformed(f"a tensor of shape {shape} has {len(scales)} scales along dimension {dimension}")
        if len(zero_points) not in (0, 1, len(scales)):
            raise _Malformed(f"a tensor has {len(scales)} scales and {len(zero_points)} zero points")
        return scales, zero_points, dimension

    def _operator(self, table: Any, place: int, tensors: tuple[Tensor, ...]) -> Operator:
        kind, custom_code, version = self._codes[_within(table.OpcodeIndex(), len(self._codes), "operator code")]
        inputs = self._indices(table.InputsLength(), table.InputsAsNumpy, len(tensors), least=-1)
        outputs = self._indices(table.OutputsLength(), table.OutputsAsNumpy, len(tensors))
        name = _operator_name(kind, [tensors[index].name for index in inputs if index >= 0], tensors, outputs)
        return Operator(place, kind, name, inputs, outputs, custom_code, version, read_options(kind, table))

    def _code(self, table: Any) -> tuple[str, str, int]:
        # Codes above 127 did not fit into the first field; old files only have that one.
        number = max(table.BuiltinCode(), table.DeprecatedBuiltinCode())
        return self._kinds.get(number, f"BUILTIN_{number}"), self._text(table.CustomCode()), table.Version()

    def _buffer(self, table: Any) -> NDArray[np.uint8] | None:
        if table.DataLength():
            data: NDArray[np.uint8] = table.DataAsNumpy()
            return data
        # Large constants may lie behind the FlatBuffer, in the same file; 0 and 1 mean that they do not.
        offset, size = table.Offset(), table.Size()
        if offset <= 1 or size == 0:
            return None
        if offset + size > len(self._content):
            raise _Malformed("a constant lies outside the file")
        return np.frombuffer(self._content, np.uint8, count=size, offset=offset)

    def _metadata(self) -> dict[str, bytes]:
        tables = [self._model.Metadata(place) for place in self._tables(self._model.MetadataLength())]
        return {self._text(table.Name()): self._content_of(table.Buffer()) for table in tables}

    def _content_of(self, number: int) -> bytes:
        data = self._buffers[_within(number, len(self._buffers), "buffer")]
        if data is None:
            return b""
        self._take_bytes(len(data))
        return data.tobytes()

    def _tables(self, length: int) -> range:
        """The places of a vector of tables, if so many can be."""
        self._tables_left -= length
        if self._tables_left < 0:
            raise _Malformed("it tells of more parts than it can hold")
        return range(length)

    def _numbers(self, length: int, as_numpy: Any) -> tuple[Any, ...]:
        """A vector of numbers, if so many can be."""
        self._take_bytes(4 * length)
        return tuple(as_numpy().tolist()) if length else ()

    def _indices(self, length: int, as_numpy: Any, tensors: int, least: int = 0) -> tuple[int, ...]:
        indices = self._numbers(length, as_numpy)
        if any(not least <= index < tensors for index in indices):
            raise _Malformed("it uses tensors that it does not have")
        return indices

    def _text(self, raw: bytes | None) -> str:
        """A name, with nothing in it that a terminal would obey."""
        self._take_bytes(len(raw or b""))
        told = (raw or b"").decode("utf-8", "replace")
        return told if told.isprintable() else "".join(one if one.isprintable() else "�" for one in told)

    def _take_bytes(self, count: int) -> None:
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise _Malformed("it tells more than it can hold")


def _operator_name(kind: str, inputs: list[str], tensors: tuple[Tensor, ...], outputs: tuple[int, ...]) -> str:
    """The layer's name: from the weights if the operator has any, for a fused output may be called after its end."""
    output = tensors[outputs[0]].name if outputs else ""
    candidates = [inputs[place] for place in _WEIGHT_INPUTS.get(kind, ())[:1] if place < len(inputs)]
    # Slim models call weights by their layer's bare name.
    bare = [name for name in candidates if "/" not in name]
    return next((name for name in [*map(layer_name, [*candidates, output]), *bare] if name), output)


def _refuse_circles(operators: tuple[Operator, ...], tensors: tuple[Tensor, ...]) -> None:
    """Operators run in order: what one reads cannot be made by itself or a later one."""
    made_by = {output: operator.index for operator in operators for output in operator.outputs}
    for operator in operators:
        for index in operator.inputs:
            if made_by.get(index, -1) >= operator.index and not tensors[index].is_variable:
                raise _Malformed(f"operator {operator.index} reads a tensor that is made only later")


def _within(number: int, length: int, what: str) -> int:
    if not 0 <= number < length:
        raise _Malformed(f"it uses {what} {number} of {length}")
    return number


def _names_by_number(enumeration: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}


def _bytes_of(path: Path) -> bytes:
    try:
        # Asked first, for a pipe or a device has no end.
        if path.is_dir():
            raise UnusableModel(f"{path} is a folder.", expected="a .tflite file", mend="name the .tflite in it")
        if not path.is_file():
            raise UnusableModel(f"There is no model file {path}.", expected="a .tflite file")
        size_bytes = path.stat().st_size
        if size_bytes > MOST_FILE_BYTES:
            raise UnusableModel(f"{path} has {size_bytes} bytes.", expected=f"at most {MOST_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise UnusableModel(f"The model {path} cannot be read: {error.strerror or error}.") from error
