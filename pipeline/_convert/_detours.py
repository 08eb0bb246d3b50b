"""Detours through float: where trained ranges meet measured ones, the converter leaves int8 → float → int8."""

from __future__ import annotations

from typing import Any


def without_detours(model: bytes) -> bytes:
    """The `.tflite` with every DEQUANTIZE that only feeds QUANTIZE taken out.

    QUANTIZE takes int8 as well, and goes from one scale to another: the same numbers, with no float tensor in between.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(model)
    changed = [_shortened(graph, tree) for graph in tree.subgraphs]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree)) if any(changed) else model


def _shortened(graph: Any, tree: Any) -> bool:
    """Take the detours out of one graph; whether there were any."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    def is_a(operator: Any, kind: int) -> bool:
        return bool(tree.operatorCodes[operator.opcodeIndex].builtinCode == kind)

    readers: dict[int, list[Any]] = {}
    for operator in graph.operators:
        for tensor in operator.inputs:
            readers.setdefault(int(tensor), []).append(operator)
    detours = [
        operator
        for operator in graph.operators
        if is_a(operator, BuiltinOperator.DEQUANTIZE)
        and operator.outputs[0] not in graph.outputs
        and all(is_a(reader, BuiltinOperator.QUANTIZE) for reader in readers.get(int(operator.outputs[0]), ()))
    ]
    for detour in detours:
        for reader in readers.get(int(detour.outputs[0]), ()):
            reader.inputs[0] = detour.inputs[0]
        graph.operators.remove(detour)
    _drop_tensors(graph, tree, {int(detour.outputs[0]) for detour in detours})
    return bool(detours)


def _drop_tensors(graph: Any, tree: Any, gone: set[int]) -> None:
    """Take tensors that nothing reads any more out of a graph, and number the others anew."""
    kept = [index for index in range(len(graph.tensors)) if index not in gone]
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}  # -1 is an input left out
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs = [place[int(index)] for index in graph.inputs]
    graph.outputs = [place[int(index)] for index in graph.outputs]
    for operator in graph.operators:
        operator.inputs = [place[int(index)] for index in operator.inputs]
        operator.outputs = [place[int(index)] for index in operator.outputs]
    for signature in tree.signatureDefs or ():
        if tree.subgraphs[signature.subgraphIndex] is graph:
            for end in (*signature.inputs, *signature.outputs):
                end.tensorIndex = place[end.tensorIndex]
