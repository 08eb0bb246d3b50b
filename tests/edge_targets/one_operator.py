"""Writes small `.tflite` files without TensorFlow: tensors by name, operators that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


@dataclass(frozen=True)
class Tensor:
    """A tensor; with `data` a constant. `open_sizes` are the places that are -1 in its signature."""

    shape: tuple[int, ...]
    dtype: str = "int8"
    data: Any = None
    zero_point: int = 0
    open_sizes: tuple[int, ...] = ()
    is_variable: bool = False
    scales: int = 1


@dataclass(frozen=True)
class Operator:
    """An operator: `options` are the schema's, `{"Pool2DOptions": {"fusedActivationFunction": 1}}`; "" is an input
    that is left out."""

    kind: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    options: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    version: int = 1
    custom: str | None = None


def constant(values: Any, dtype: str = "int32", **fields: Any) -> Tensor:
    array = np.asarray(values, dtype)
    return Tensor(array.shape, dtype, array, **fields)


def zeros(*shape: int, dtype: str = "int8", **fields: Any) -> Tensor:
    return constant(np.zeros(shape), dtype, **fields)


def one_operator(
    kind: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    options: Mapping[str, Mapping[str, int]] | None = None,
    version: int = 1,
    custom: str | None = None,
) -> bytes:
    """A model of one operator: what is computed goes in and comes out."""
    named = {f"in{place}": tensor for place, tensor in enumerate(inputs) if tensor is not None}
    named |= {f"out{place}": tensor for place, tensor in enumerate(outputs)}
    read = [f"in{place}" if tensor is not None else "" for place, tensor in enumerate(inputs)]
    made = [f"out{place}" for place in range(len(outputs))]
    return model(named, [Operator(kind, read, made, options or {}, version, custom)])


def model(tensors: Mapping[str, Tensor], operators: Sequence[Operator], description: str = "") -> bytes:
    """A file of one graph: computed tensors that no operator makes go in, those that none reads come out."""
    file = schema.ModelT()
    file.version, file.description = 3, description
    file.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(name, tensor, file.buffers) for name, tensor in tensors.items()]
    places = {name: place for place, name in enumerate(tensors)} | {"": -1}
    file.operatorCodes = [_code(operator) for operator in operators]
    graph.operators = [_operator(number, operator, places) for number, operator in enumerate(operators)]
    made = {name for operator in operators for name in operator.outputs}
    read = {name for operator in operators for name in operator.inputs}
    computed = [name for name, tensor in tensors.items() if tensor.data is None and not tensor.is_variable]
    graph.inputs = [places[name] for name in computed if name not in made]
    graph.outputs = [places[name] for name in computed if name in made and name not in read]
    file.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, tensor: Tensor, buffers: list[Any]) -> Any:
    made = schema.TensorT()
    made.name, made.shape, made.isVariable = name, list(tensor.shape), tensor.is_variable
    made.type = getattr(schema.TensorType, tensor.dtype.upper())
    if tensor.open_sizes:
        made.shapeSignature = [-1 if place in tensor.open_sizes else size for place, size in enumerate(tensor.shape)]
    made.quantization = schema.QuantizationParametersT()
    made.quantization.scale = [0.5] * tensor.scales
    made.quantization.zeroPoint = [tensor.zero_point] * tensor.scales
    made.buffer = 0
    if tensor.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        made.buffer = len(buffers)
        buffers.append(buffer)
    return made


def _code(operator: Operator) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, operator.kind)
    made.deprecatedBuiltinCode = min(made.builtinCode, 127)
    made.version, made.customCode = operator.version, operator.custom
    return made


def _operator(number: int, operator: Operator, places: Mapping[str, int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = number
    made.inputs = [places[name] for name in operator.inputs]
    made.outputs = [places[name] for name in operator.outputs]
    for table, fields in operator.options.items():
        made.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        made.builtinOptions = getattr(schema, f"{table}T")()
        for name, value in fields.items():
            if not hasattr(made.builtinOptions, name):
                raise AttributeError(f"{table} has no {name}")
            setattr(made.builtinOptions, name, value)
    return made


def model_that_keeps_busy(operators: int) -> bytes:
    """So many operators whose axes are one constant of a million numbers."""
    tensors = {"axes": constant([1] * 10**6), "t0": Tensor((1, 8, 4))}
    chain = []
    for number in range(1, operators + 1):
        tensors[f"t{number}"] = Tensor((1, 8, 4))
        chain.append(Operator("MEAN", [f"t{number - 1}", "axes"], [f"t{number}"]))
    return model(tensors, chain)
