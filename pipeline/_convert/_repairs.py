"""What TensorFlow Lite's converter leaves wrong in the bytes of an int8 model, put right."""

from __future__ import annotations

import copy
from typing import Any

SPLITS = {"SPLIT": 1, "SPLIT_V": 0}
"""Operators that cut a tensor in pieces, and which of their inputs is the tensor."""


def repaired(model: bytes) -> bytes:
    """The same `.tflite` without three faults of the converter; where it has none of them, the same bytes.

    - A piece of a split that nothing reads, such as a gate of a recurrent layer's first step, leaves the split in
      float. Its pieces take the scale of the whole.
    - Where trained ranges meet measured ones, it goes from int8 to float and back. QUANTIZE takes int8 as well, and
      goes from one scale to another: the same numbers.
    - REVERSE_V2 gets another scale behind it than before it, but only moves bytes: in a bidirectional layer all numbers
      of one direction are then off. A QUANTIZE goes before it.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(model)
    # In this order: a split in int8 leaves a detour behind. Each repair looks the graph over anew.
    repairs = (_split_in_int8, _without_detours, _one_scale_around_reverse)
    changes = [repair(_Graph(graph, tree)) for graph in tree.subgraphs for repair in repairs]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree)) if any(changes) else model


class _Graph:
    """One subgraph of a `.tflite` as the flatbuffers' object tree, with names for what is looked up in it."""

    def __init__(self, graph: Any, tree: Any) -> None:
        self.graph, self.tree = graph, tree
        self._readers: dict[int, list[Any]] = {}
        self._writer: dict[int, Any] = {}
        for operator in graph.operators:
            for tensor in operator.inputs:
                self._readers.setdefault(int(tensor), []).append(operator)
            self._writer.update((int(tensor), operator) for tensor in operator.outputs)

    def kind(self, operator: Any) -> str:
        """The name of an operator's kind, or '' of none that is looked for here."""
        from tensorflow.lite.python.schema_py_generated import BuiltinOperator

        names = ("DEQUANTIZE", "QUANTIZE", "REVERSE_V2", *SPLITS)
        code = self.tree.operatorCodes[operator.opcodeIndex]
        # Codes below 127 stand in the old field too, and in files of old converters only there.
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return next((name for name in names if getattr(BuiltinOperator, name) == number), "")

    def only_quantized(self, tensor: int) -> bool:
        """Whether nothing reads a tensor but QUANTIZE."""
        inside = tensor not in self.graph.outputs
        return inside and all(self.kind(reader) == "QUANTIZE" for reader in self._readers.get(tensor, ()))

    def readers(self, tensor: int) -> list[Any]:
        """The operators that read a tensor."""
        return self._readers.get(tensor, [])

    def dequantized(self, tensor: int) -> int | None:
        """The int8 tensor that a float one was made of, if it was."""
        writer = self._writer.get(tensor)
        return int(writer.inputs[0]) if writer is not None and self.kind(writer) == "DEQUANTIZE" else None


def _split_in_int8(found: _Graph) -> bool:
    changed = False
    for operator in found.graph.operators:
        place = SPLITS.get(found.kind(operator))
        source = None if place is None else found.dequantized(int(operator.inputs[place]))
        if source is not None and all(found.only_quantized(int(piece)) for piece in operator.outputs):
            found.readers(int(operator.inputs[place])).remove(operator)
            operator.inputs = _replaced(operator.inputs, operator.inputs[place], source)
            for piece in operator.outputs:
                _like(found.graph.tensors[piece], found.graph.tensors[source])
            changed = True
    return changed


def _replaced(tensors: Any, old: int, new: int) -> list[int]:
    return [int(new if tensor == old else tensor) for tensor in tensors]


def _like(tensor: Any, other: Any) -> None:
    """Give a tensor the type, the scale and the zero point of another."""
    tensor.type, tensor.quantization = other.type, copy.deepcopy(other.quantization)


def _without_detours(found: _Graph) -> bool:
    detours = [
        operator
        for operator in found.graph.operators
        if found.kind(operator) == "DEQUANTIZE" and found.only_quantized(int(operator.outputs[0]))
    ]
    for detour in detours:
        for reader in found.readers(int(detour.outputs[0])):
            reader.inputs = _replaced(reader.inputs, detour.outputs[0], detour.inputs[0])
        found.graph.operators.remove(detour)
    drop_tensors(found.tree, found.graph, {int(detour.outputs[0]) for detour in detours})
    return bool(detours)


def drop_tensors(tree: Any, graph: Any, gone: set[int]) -> None:
    """Take tensors that nothing reads any more out of a graph of a model, and number the others anew."""
    kept = [index for index in range(len(graph.tensors)) if index not in gone]
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}  # -1 is an input left out
    graph.tensors = [graph.tensors[index] for index in kept]
    for holder in (graph, *graph.operators):
        holder.inputs = [place[int(index)] for index in holder.inputs]
        holder.outputs = [place[int(index)] for index in holder.outputs]
    for signature in tree.signatureDefs or ():
        if tree.subgraphs[signature.subgraphIndex] is graph:
            for end in (*signature.inputs, *signature.outputs):
                end.tensorIndex = place[end.tensorIndex]


def _one_scale_around_reverse(found: _Graph) -> bool:
    tensors, operators = found.graph.tensors, found.graph.operators
    wrong = [
        operator
        for operator in operators
        if found.kind(operator) == "REVERSE_V2"
        and not _same_scale(tensors[operator.inputs[0]], tensors[operator.outputs[0]])
    ]
    for operator in wrong:
        before, after = tensors[operator.inputs[0]], tensors[operator.outputs[0]]
        rescaled = copy.deepcopy(before)
        rescaled.name, rescaled.buffer = before.name + b"_rescaled", 0
        _like(rescaled, after)
        tensors.append(rescaled)
        operators.insert(
            operators.index(operator), quantize_operator(found.tree, int(operator.inputs[0]), len(tensors) - 1)
        )
        operator.inputs = [len(tensors) - 1, *operator.inputs[1:]]
    return bool(wrong)


def _same_scale(one: Any, other: Any) -> bool:
    return all(
        list(getattr(one.quantization, fact)) == list(getattr(other.quantization, fact))
        for fact in ("scale", "zeroPoint")
        if getattr(one.quantization, fact) is not None
    )


def quantize_operator(tree: Any, source: int, target: int) -> Any:
    """A QUANTIZE operator from one tensor to another."""
    return _border(tree, "QUANTIZE", source, target)


def dequantize_operator(tree: Any, source: int, target: int) -> Any:
    """A DEQUANTIZE operator from one tensor to another."""
    return _border(tree, "DEQUANTIZE", source, target)


def _border(tree: Any, kind: str, source: int, target: int) -> Any:
    from tensorflow.lite.python import schema_py_generated as schema

    made = schema.OperatorT()
    # The second version is the first that takes int8.
    made.opcodeIndex = operator_code(tree, getattr(schema.BuiltinOperator, kind), 2)
    made.inputs, made.outputs = [source], [target]
    return made


def operator_code(tree: Any, kind: int, version: int) -> int:
    """The number of a built-in operator's code in a model; it is added where it is not there."""
    from tensorflow.lite.python import schema_py_generated as schema

    for place, code in enumerate(tree.operatorCodes):
        if (max(code.builtinCode, code.deprecatedBuiltinCode), code.version, code.customCode) == (kind, version, None):
            return place
    added = schema.OperatorCodeT()
    added.builtinCode, added.version = kind, version
    added.deprecatedBuiltinCode = min(kind, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    tree.operatorCodes.append(added)
    return len(tree.operatorCodes) - 1
