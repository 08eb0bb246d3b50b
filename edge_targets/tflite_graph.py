"""Reads a `.tflite` (operators, tensors, quantization) without TensorFlow and without an interpreter.

Schema: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
A file from a stranger may lie in every field. Whatever is wrong with it is an `UnusableModel`, found in bounded time:
every vector that is read counts against a budget that the file's size sets.
"""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_targets._base import UnusableModel

MAGIC = b"TFL3"

_DTYPES = {
    "FLOAT32": "float32",
    "FLOAT16": "float16",
    "INT32": "int32",
    "UINT8": "uint8",
    "INT64": "int64",
    "BOOL": "bool",
    "INT16": "int16",
    "INT8": "int8",
    "FLOAT64": "float64",
    "UINT64": "uint64",
    "UINT32": "uint32",
    "UINT16": "uint16",
    "INT4": "int4",
    "BFLOAT16": "bfloat16",
}

_WEIGHTS_AT = {
    "CONV_2D": (1,),
    "CONV_3D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "FULLY_CONNECTED": (1,),
    "TRANSPOSE_CONV": (1,),
    "GATHER": (0,),
    "EMBEDDING_LOOKUP": (1,),
    "BATCH_MATMUL": (0, 1),
    "SVDF": (1, 2),
    "RNN": (1, 2),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (1, 2),
    "LSTM": tuple(range(1, 9)),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 9)),
}
"""Which inputs of an operator are its weights, where they are constant."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        index: its place in `Graph.tensors`.
        name: as the converter left it.
        shape: with batch.
        dtype: as numpy names it, `int8`; `int4` and what numpy does not have keep their own name.
        scales, zero_points: one for the tensor, or one a channel; empty where it is not quantized.
        quantized_dimension: the channels' axis.
        data: the raw bytes of a constant, or None.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    quantized_dimension: int
    data: bytes | None


@dataclass(frozen=True)
class Operator:
    """An operator of the graph.

    Attributes:
        index: its place in `Graph.operators`, which is the order of execution within a subgraph.
        kind: `CONV_2D`; `CUSTOM` for one that TensorFlow Lite does not define.
        name: the Keras layer's name, as far as the file tells it.
        inputs, outputs: places in `Graph.tensors`; -1 for an optional input that is not given.
        custom_code: the name of a custom operator, or "".
    """

    index: int
    kind: str
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    custom_code: str


@dataclass(frozen=True)
class Graph:
    """A model. Operators and tensors of all subgraphs follow one another; inputs and outputs are the first's."""

    operators: tuple[Operator, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size_bytes: int
    description: str


def read(source: bytes | Path) -> Graph:
    """Read a model.

    Args:
        source: its bytes, or where it lies.

    Raises:
        UnusableModel: it is no `.tflite`, or a broken one.
    """
    name = str(source) if isinstance(source, Path) else "The model"
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise UnusableModel(f"{name} cannot be read: {error.strerror}.", expected="a .tflite file") from error
    if len(data) < 8 or data[4:8] != MAGIC:
        raise UnusableModel(f"{name} is no TensorFlow Lite model.", expected=f"a .tflite file: {MAGIC!r} at byte 4")
    try:
        return _Reader(data).graph()
    # What a broken file makes of the generated accessors: offsets out of the buffer, vectors beyond its end.
    except (struct.error, ValueError, IndexError, TypeError, OverflowError, AttributeError, MemoryError) as error:
        raise UnusableModel(f"{name} is a broken TensorFlow Lite model: {error}.", expected="a whole file") from error


def weight_tensors(graph: Graph) -> list[tuple[Operator, Tensor]]:
    """Every constant weight tensor with the first operator that uses it; biases are not weights."""
    found: dict[int, tuple[Operator, Tensor]] = {}
    for operator in graph.operators:
        for place in _WEIGHTS_AT.get(operator.kind, ()):
            index = operator.inputs[place] if place < len(operator.inputs) else -1
            if index >= 0 and graph.tensors[index].data is not None:
                found.setdefault(index, (operator, graph.tensors[index]))
    return list(found.values())


def constant(tensor: Tensor) -> NDArray[Any]:
    """The stored numbers of a constant, in the tensor's shape; 4-bit numbers come as int8.

    Raises:
        UnusableModel: it is no constant, or its bytes do not fit its shape.
    """
    count = math.prod(tensor.shape)
    stored_bytes = math.ceil(count * bits(tensor.dtype) / 8)
    if tensor.data is None or len(tensor.data) != stored_bytes:
        held = "none" if tensor.data is None else len(tensor.data)
        raise UnusableModel(
            f"The constant '{tensor.name}' has {held} bytes.", expected=f"{stored_bytes} for shape {tensor.shape}"
        )
    if tensor.dtype == "int4":
        return _unpacked(tensor.data, count).reshape(tensor.shape)
    return np.frombuffer(tensor.data, _numpy_dtype(tensor.dtype)).reshape(tensor.shape)


def bits(dtype: str) -> int:
    """Bits that a stored number takes."""
    return 4 if dtype == "int4" else _numpy_dtype(dtype).itemsize * 8


def layer_name(tensor_name: str) -> str:
    """The Keras layer behind a converter's tensor name.

    Example:
        >>> layer_name("lenet5/quant_conv1/BiasAdd;lenet5/quant_conv1/Conv2D;conv1/bias")
        'conv1'
    """
    parts = [part for part in tensor_name.split(";")[0].split("/") if part]
    inner = parts[-2] if len(parts) > 1 else (parts[0] if parts else "")
    return inner.removeprefix("quant_").removeprefix("prune_low_magnitude_").split(":")[0]


class _Reader:
    """One pass over a file's bytes. `_spend` keeps the work in proportion to the file, however its offsets overlap."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._data = data
        self._budget = 64 * len(data) + 4096
        self._model = schema.Model.GetRootAs(data, 0)

    def graph(self) -> Graph:
        kinds = self._kinds()
        tensors: list[Tensor] = []
        operators: list[Operator] = []
        border: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        for place in range(self._length(self._model.SubgraphsLength())):
            part = self._model.Subgraphs(place)
            first = len(tensors)
            count = self._length(part.TensorsLength())
            tensors.extend(self._tensor(part.Tensors(index), first + index) for index in range(count))
            if border is None:
                border = self._places(part.InputsAsNumpy(), 0, count), self._places(part.OutputsAsNumpy(), 0, count)
            for index in range(self._length(part.OperatorsLength())):
                operators.append(self._operator(part.Operators(index), kinds, tensors, first, count, len(operators)))
        if border is None:
            raise ValueError("it has no graph")
        description = self._text(self._model.Description())
        return Graph(tuple(operators), tuple(tensors), *border, len(self._data), description)

    def _kinds(self) -> list[tuple[str, str]]:
        kinds = []
        for place in range(self._length(self._model.OperatorCodesLength())):
            code = self._model.OperatorCodes(place)
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            kinds.append((_kind_names().get(number, f"UNKNOWN_{number}"), self._text(code.CustomCode())))
        return kinds

    def _tensor(self, tensor: Any, index: int) -> Tensor:
        shape = tuple(int(size) for size in self._vector(tensor.ShapeAsNumpy()))
        if any(size < 0 for size in shape) or math.prod(shape) > 2**40:
            raise ValueError(f"a tensor has the shape {shape}")
        scales, zero_points, axis = self._quantization(tensor.Quantization())
        if scales and shape and not 0 <= axis < len(shape):
            raise ValueError(f"a tensor of {len(shape)} dimensions is quantized along dimension {axis}")
        number = tensor.Type()
        dtype = _type_names().get(number, f"unknown_{number}")
        name = self._text(tensor.Name())
        return Tensor(index, name, shape, dtype, scales, zero_points, axis, self._buffer(tensor.Buffer()))

    def _quantization(self, found: Any) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        if found is None:
            return (), (), 0
        scales = tuple(float(scale) for scale in self._vector(found.ScaleAsNumpy()))
        zero_points = tuple(int(point) for point in self._vector(found.ZeroPointAsNumpy()))
        if scales and not zero_points:
            zero_points = (0,) * len(scales)
        if len(scales) != len(zero_points):
            return (), (), 0
        return scales, zero_points, int(found.QuantizedDimension())

    def _buffer(self, index: int) -> bytes | None:
        if not 0 <= index < self._model.BuffersLength():
            raise ValueError(f"a tensor names buffer {index}, which is not there")
        buffer = self._model.Buffers(index)
        data = self._vector(buffer.DataAsNumpy())
        if len(data):
            return bytes(data)
        # Large models keep their constants behind the flatbuffer.
        offset, size = buffer.Offset(), buffer.Size()
        if offset <= 1 or size == 0:
            return None
        if offset + size > len(self._data):
            raise ValueError("a buffer reaches beyond the end of the file")
        self._spend(size)
        return self._data[offset : offset + size]

    def _operator(
        self, operator: Any, kinds: list[tuple[str, str]], tensors: list[Tensor], first: int, count: int, index: int
    ) -> Operator:
        number = operator.OpcodeIndex()
        if not 0 <= number < len(kinds):
            raise ValueError(f"an operator names code {number}, which is not there")
        kind, custom_code = kinds[number]
        inputs = self._places(operator.InputsAsNumpy(), first, count)
        outputs = self._places(operator.OutputsAsNumpy(), first, count)
        # The model's own outputs lose their layer's name; the constants of that layer keep it.
        constants = [place for place in inputs if place >= 0 and tensors[place].data is not None]
        related = [tensors[place].name for place in (*outputs, *constants) if place >= 0]
        name = next((name for name in related if "/" in name), related[0] if related else "")
        return Operator(index, kind, layer_name(name) or kind.lower(), inputs, outputs, custom_code)

    def _places(self, numbers: Any, first: int, count: int) -> tuple[int, ...]:
        places = [int(number) for number in self._vector(numbers)]
        if any(not -1 <= place < count for place in places):
            raise ValueError("an operator names a tensor that is not there")
        return tuple(place if place < 0 else first + place for place in places)

    def _vector(self, numbers: Any) -> NDArray[Any]:
        # The generated accessors give the number 0 for a vector that is not there.
        if isinstance(numbers, int):
            return np.empty(0, np.int64)
        self._spend(numbers.nbytes)
        found: NDArray[Any] = numbers
        return found

    def _text(self, text: bytes | None) -> str:
        self._spend(len(text or b""))
        return (text or b"").decode("utf-8", "replace")

    def _length(self, length: int) -> int:
        if length > len(self._data) // 4:
            raise ValueError("a list is longer than the file")
        self._spend(4 * length)
        return length

    def _spend(self, size_bytes: int) -> None:
        self._budget -= size_bytes
        if self._budget < 0:
            raise ValueError("its parts overlap")


@functools.cache
def _kind_names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}


@functools.cache
def _type_names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import TensorType

    named = {number: name for name, number in vars(TensorType).items() if isinstance(number, int)}
    return {number: _DTYPES.get(name, name.lower()) for number, name in named.items()}


def _numpy_dtype(name: str) -> np.dtype[Any]:
    try:
        return np.dtype("uint16" if name == "bfloat16" else name)
    except TypeError:
        raise UnusableModel(f"A constant has the type {name}, which cannot be read as numbers.") from None


def _unpacked(data: bytes, count: int) -> NDArray[np.int8]:
    """Two 4-bit numbers a byte, the low half first; (count,) int8 of -8 … 7."""
    packed = np.frombuffer(data, np.uint8)
    halves = np.stack([packed & 0xF, packed >> 4], axis=1).ravel()[:count].astype(np.int8)
    signed: NDArray[np.int8] = np.where(halves > 7, halves - 16, halves).astype(np.int8)
    return signed
