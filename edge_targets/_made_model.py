"""Writes small `.tflite` files of one operator, and takes single operators out of a larger file.

Both through LiteRT's own description of the format (`schema_py_generated`), which is in the wheel on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_targets.tflite_graph import Graph

IDENTIFIER = b"TFL3"
WHOLE_GRAPHS = frozenset({"WHILE", "IF", "CALL", "CALL_ONCE"})
"""Operators that run other subgraphs."""


@dataclass(frozen=True)
class Made:
    """A tensor of a model that is made here.

    Attributes:
        shape: with batch.
        dtype: `float32`, `int8` or `int32`.
        constant: whether it is filled with ones; else it is computed, or the input.
        scale: of one quantized step; 0 where it is none.
    """

    shape: tuple[int, ...]
    dtype: str
    constant: bool = False
    scale: float = 0.0


def one_operator(kind: str, options: str, tensors: Sequence[Made]) -> bytes:
    """A model of one operator that reads all tensors but the last, which it makes.

    Args:
        kind: the operator as the schema names it, `FULLY_CONNECTED`.
        options: its table of options without the "Options", `FullyConnected`; all options keep their defaults.
        tensors: inputs, constants and the output, in the operator's order.
    """
    from ai_edge_litert import schema_py_generated as schema

    file, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    file.version, file.subgraphs, file.operatorCodes, file.buffers = 3, [graph], [code], [schema.BufferT()]
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
    # Quantized kernels came with later forms of the operators; the highest of these is 4.
    code.version = 4 if tensors[0].scale else 1
    graph.tensors = [_tensor(schema, place, made, file.buffers) for place, made in enumerate(tensors)]
    last = len(tensors) - 1
    graph.inputs = [place for place, made in enumerate(tensors[:-1]) if not made.constant]
    graph.outputs, graph.operators = [last], [operator]
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, list(range(last)), [last]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
    operator.builtinOptions = getattr(schema, f"{options}OptionsT")()
    return _packed(file)


def taken_out(content: bytes, graph: Graph) -> dict[int, bytes]:
    """Each operator of the main graph as a model of its own: what it reads goes in, what it makes comes out.

    What computes something from constants alone (weights that are unpacked) goes with the operator that reads it, for
    the interpreter does it once, and an operator whose weights came in as an input would run another kernel.

    Args:
        content: the `.tflite`.
        graph: the same, read.

    Returns:
        By the operator's index. Operators that run other subgraphs (loops, branches) and those that make constants
        are left out.
    """
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromPackedBuf(content, 0)
    made_of = _of_constants(graph)
    return {
        operator.index: _piece(schema, whole, [*_needed(operator.inputs, made_of), operator.index], operator.outputs)
        for operator in graph.operators
        if operator.kind not in WHOLE_GRAPHS
        and not operator.kind.startswith("STABLEHLO_")
        and not set(operator.outputs) <= made_of.keys()
    }


def part_of(content: bytes, operators: Sequence[int], outputs: Sequence[int]) -> bytes:
    """Some operators of a `.tflite`'s main graph as a model of their own; what they read and do not make goes in.

    Args:
        content: the `.tflite`.
        operators: their indices, in the order of execution.
        outputs: indices of the tensors that come out.
    """
    from ai_edge_litert import schema_py_generated as schema

    return _piece(schema, schema.ModelT.InitFromPackedBuf(content, 0), operators, outputs)


def _of_constants(graph: Graph) -> dict[int, int]:
    """The tensors that are computed from constants alone, and which operator makes each."""
    constants = {tensor.index for tensor in graph.tensors if tensor.data is not None} | {-1}
    made: dict[int, int] = {}
    for operator in graph.operators:
        if operator.inputs and all(index in constants for index in operator.inputs):
            made |= dict.fromkeys(operator.outputs, operator.index)
            constants |= set(operator.outputs)
    return made


def _needed(inputs: Sequence[int], made_of: dict[int, int]) -> list[int]:
    """The operators that make the constants among these inputs. What those are made of again is rare, and goes in."""
    return sorted({made_of[index] for index in inputs if index in made_of})


def _piece(schema: Any, whole: Any, operators: Sequence[int], outputs: Sequence[int]) -> bytes:
    """A model of some operators of another, in their order, and the tensors that come out of it."""
    source = whole.subgraphs[0]
    chosen = [source.operators[index] for index in operators]
    used = sorted({int(index) for each in chosen for index in [*each.inputs, *each.outputs] if index >= 0})
    places = {index: place for place, index in enumerate(used)} | {-1: -1}
    file, graph = schema.ModelT(), schema.SubGraphT()
    file.version, file.subgraphs, file.operatorCodes = whole.version, [graph], whole.operatorCodes
    file.buffers, graph.tensors = [schema.BufferT()], []
    for index in used:
        graph.tensors.append(_copied(schema.TensorT(), source.tensors[index]))
        if _has_data(whole, source.tensors[index]):
            graph.tensors[-1].buffer = len(file.buffers)
            file.buffers.append(whole.buffers[source.tensors[index].buffer])
        else:
            graph.tensors[-1].buffer = 0
    graph.operators = [_copied(schema.OperatorT(), each) for each in chosen]
    for each in graph.operators:
        each.inputs = [places[int(index)] for index in each.inputs]
        each.outputs = [places[int(index)] for index in each.outputs]
    made = {index for each in graph.operators for index in each.outputs}
    given = [place for place, tensor in enumerate(graph.tensors) if tensor.buffer == 0 and not tensor.isVariable]
    graph.inputs, graph.outputs = [place for place in given if place not in made], [places[index] for index in outputs]
    return _packed(file)


def _copied(copy: Any, original: Any) -> Any:
    vars(copy).update(vars(original))
    return copy


def _has_data(whole: Any, tensor: Any) -> bool:
    data = whole.buffers[tensor.buffer].data
    return tensor.buffer > 0 and data is not None and len(data) > 0


def _tensor(schema: Any, place: int, made: Made, buffers: list[Any]) -> Any:
    import numpy as np

    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = f"t{place}", list(made.shape), 0
    tensor.type = getattr(schema.TensorType, made.dtype.upper())
    if made.scale:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [made.scale], [0]
    if made.constant:
        buffer = schema.BufferT()
        buffer.data = np.ones(math.prod(made.shape), made.dtype).view(np.uint8)
        tensor.buffer = len(buffers)
        buffers.append(buffer)
    return tensor


def _packed(file: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
