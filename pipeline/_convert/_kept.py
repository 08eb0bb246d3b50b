"""Layers kept in float or int16 amid int8: their operators come out of another model of the same ranges.

TensorFlow's quantizers mix no int16 into int8. Single operators they leave in float, but for those of several outputs,
such as a split in a recurrent layer, and for transposed convolutions, which they take to int8 without a word. So the
whole model is made twice, in int8 and in what layers are kept in, and the operators that are kept are put in the place
of the first one's. QUANTIZE and DEQUANTIZE lead from one to the other; with int16, all of it is integers.
"""

from __future__ import annotations

import copy
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets.tflite_graph import Graph, Operator, parse_graph
from pipeline._convert._halves import HALVED, Halves
from pipeline._convert._int16x8 import has_int16, side_by_side
from pipeline._convert._repairs import dequantize_operator, drop_tensors, operator_code, quantize_operator
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from numpy.typing import NDArray


def with_kept(
    int8: bytes,
    calibrated: bytes,
    kept: Collection[str],
    in_int16: bytes | None = None,
    *,
    halves: bool = True,
) -> bytes:
    """An int8 `.tflite` in which some operators compute in float or in int16x8.

    Args:
        int8: the model.
        calibrated: the float one that it was made of, with ranges.
        kept: the operators, each by the name of its first output's tensor in `calibrated`.
        in_int16: what `as_far_as_int16_goes` makes of that, for operators with int16 activations; None for float.
        halves: with int16, whether convolutions and dense layers get weights of 16 bits, in two halves of int8.

    Raises:
        ModelError: an operator has no int16 kernel, or TensorFlow Lite rewrote the model on its way to integers.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    plain = parse_graph(calibrated)
    source = plain if in_int16 is None else parse_graph(in_int16)
    found = _replacements(plain, parse_graph(int8), source, kept)
    if in_int16 is not None:
        _must_have_kernels(source, found.values())
    tree, donor = (flatbuffer_utils.convert_bytearray_to_object(model) for model in (int8, in_int16 or calibrated))
    splice = _Splice(tree, donor, "FLOAT32" if in_int16 is None else "INT16")
    for place, operator in enumerate(tree.subgraphs[0].operators):
        if place not in found:
            splice.leave(operator)
            continue
        real, theirs = found[place]
        weights = plain.tensors[real.inputs[1]] if in_int16 is not None and halves and real.kind in HALVED else None
        finer = weights.values() if weights is not None and weights.data is not None else None
        splice.put(operator, donor.subgraphs[0].operators[theirs], finer)
    splice.join()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _replacements(plain: Graph, int8: Graph, donor: Graph, kept: Collection[str]) -> dict[int, tuple[Operator, int]]:
    """For each operator of the int8 model that is kept, by its index: the float one, and the donor's one's index."""
    triples = side_by_side(plain, int8, donor)
    chosen = [each for each in triples if each[0].outputs and plain.tensors[each[0].outputs[0]].name in kept]
    return {own.index: (real, wide.index) for real, own, wide in chosen}


def _must_have_kernels(int16x8: Graph, chosen: Iterable[tuple[Operator, int]]) -> None:
    for real, place in chosen:
        if not has_int16(int16x8, int16x8.operators[place]):
            what = f"the operator {real.kind} of '{real.name}'"
            raise ModelError(f"TensorFlow Lite has no int16 kernel to rely on for {what}.")


class _Splice:
    """Lays a model's operators down anew, some of them replaced by a donor's; both are object trees.

    Args:
        tree: the model, in int8.
        donor: the other.
        wide: the type of the donor's activations, as the schema names it.
    """

    def __init__(self, tree: Any, donor: Any, wide: str) -> None:
        from tensorflow.lite.python import schema_py_generated as schema

        self._tree, self._donor = tree, donor
        self._graph, self._theirs = tree.subgraphs[0], donor.subgraphs[0].tensors
        self._type, self._bits = getattr(schema.TensorType, wide), wide[-2:].encode()
        self._quantize = schema.BuiltinOperator.QUANTIZE
        self._operators: list[Any] = []
        self._halves = Halves(tree)
        self._constants: dict[int, int] = {}  # of the donor's tensors to ours
        self._wide: dict[int, int] = {}  # of our int8 tensors to what they were made of
        self._widened: dict[tuple[int, bytes], int] = {}  # of our tensors and a scale to the same in the donor's type
        self._sources = {
            int(one.outputs[0]): int(one.inputs[0]) for one in self._graph.operators if self._is_quantize(one)
        }

    def leave(self, operator: Any) -> None:
        """Lay an operator down as it is."""
        self._operators.append(operator)

    def put(self, operator: Any, other: Any, real: NDArray[np.float32] | None = None) -> None:
        """Lay the donor's operator down in the place of ours, with borders around it.

        Args:
            operator: ours, in int8.
            other: the donor's.
            real: its weights in float, where it is to have them in two halves.
        """
        made = copy.copy(other)
        code = self._donor.operatorCodes[other.opcodeIndex]
        made.opcodeIndex = operator_code(self._tree, max(code.builtinCode, code.deprecatedBuiltinCode), code.version)
        read = zip_longest(map(int, operator.inputs), map(int, other.inputs), fillvalue=-1)
        made.inputs = [self._input(ours, theirs) for ours, theirs in read]
        written = zip(map(int, operator.outputs), map(int, other.outputs), strict=True)
        made.outputs = [self._output(ours, theirs) for ours, theirs in written]
        before = [] if real is None else self._halves.give(made, real)
        self._operators += [*before, made]
        for ours, wide in zip(map(int, operator.outputs), made.outputs, strict=True):
            if wide != ours:
                self._operators.append(quantize_operator(self._tree, wide, ours))

    def join(self) -> None:
        """Take the operators for the model's, without those and without tensors that nothing reads any more."""
        graph = self._graph
        while unread := [one for one in self._operators if self._is_quantize(one) and not self._is_read(one)]:
            self._operators = [one for one in self._operators if one not in unread]
        graph.operators = self._operators
        used = {int(place) for one in graph.operators for place in (*one.inputs, *one.outputs)}
        used |= {*map(int, graph.inputs), *map(int, graph.outputs)}
        drop_tensors(self._tree, graph, set(range(len(graph.tensors))) - used)
        buffers = {tensor.buffer for graph in self._tree.subgraphs for tensor in graph.tensors}
        buffers |= {one.buffer for one in self._tree.metadata or ()}
        for place, buffer in enumerate(self._tree.buffers):
            if place not in buffers:
                buffer.data = None

    def _input(self, ours: int, theirs: int) -> int:
        """Our tensor for an input of the donor's operator."""
        if theirs < 0:
            return theirs
        wanted = self._theirs[theirs]
        if self._donor.buffers[wanted.buffer].data is not None or wanted.isVariable:
            if theirs not in self._constants:
                self._constants[theirs] = self._added(wanted, self._donor.buffers[wanted.buffer])
            return self._constants[theirs]
        return self._as(wanted, ours) if wanted.type == self._type else ours

    def _as(self, wanted: Any, ours: int) -> int:
        """One of our tensors in the donor's type and scale, by a border where it is not made so."""
        source = ours
        # What the quantizer gave another scale for an int8 reader, is read as it was before.
        while source not in self._wide and source in self._sources:
            source = self._sources[source]
        source = self._wide.get(source, source)
        scale, tensor = _scale(wanted), self._graph.tensors[source]
        if tensor.type == self._type and _scale(tensor) == scale:
            return source
        if (source, scale) not in self._widened:
            self._widened[source, scale] = self._added(wanted)
            border = quantize_operator if scale else dequantize_operator
            self._operators.append(border(self._tree, source, self._widened[source, scale]))
        return self._widened[source, scale]

    def _output(self, ours: int, theirs: int) -> int:
        """The tensor that the donor's operator writes, and ours is made of; ours itself where it is no activation."""
        if self._theirs[theirs].type != self._type:
            return ours
        self._wide[ours] = self._added(self._theirs[theirs])
        return self._wide[ours]

    def _added(self, theirs: Any, buffer: Any = None) -> int:
        """A tensor of the donor's among ours, with its constant where it has one."""
        made = copy.copy(theirs)
        made.buffer = 0
        if buffer is not None:
            made.buffer = len(self._tree.buffers)
            self._tree.buffers.append(buffer)
        else:
            # Beside the int8 tensor of that name.
            made.name = made.name.removesuffix(b"_int16") + b"_" + self._bits
            made.quantization = made.quantization if _scale(made) else None
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def _is_quantize(self, operator: Any) -> bool:
        code = self._tree.operatorCodes[operator.opcodeIndex]
        return bool(max(code.builtinCode, code.deprecatedBuiltinCode) == self._quantize)

    def _is_read(self, operator: Any) -> bool:
        made = int(operator.outputs[0])
        return made in map(int, self._graph.outputs) or any(made in map(int, one.inputs) for one in self._operators)


def _scale(tensor: Any) -> bytes:
    """The scale of a tensor, to compare; empty of one in float, which may carry a range all the same."""
    scale = None if tensor.quantization is None else tensor.quantization.scale
    return b"" if scale is None else np.asarray(scale, np.float32).tobytes()
