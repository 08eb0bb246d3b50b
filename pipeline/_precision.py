"""Whether the bytes have the precision that was asked for, where that is not int8 alone. Part of `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_targets.tflite_graph import weight_tensors
from pipeline.artifact import FLOATS
from pipeline.check import Check

if TYPE_CHECKING:
    from edge_targets.tflite_graph import Graph, Tensor


ROUNDED_FROM = 1024
"""Weights that a tensor must have before the converter takes it to int8 for dynamic range: smaller ones save little."""

INT4_KINDS = frozenset({"CONV_2D", "FULLY_CONNECTED"})
"""Operators whose weights the precision int4 has in four bits; others have no such kernel, and keep eight."""


def precision_check(graph: Graph, precision: str) -> Check:
    """How many tensors are not what the precision says.

    Args:
        graph: the model.
        precision: "int16x8", "float16", "dynamic" or "int4", as `convert.precision` has it.
    """
    look, meaning = {
        "int16x8": (_not_int16x8, "activations of int16, weights of int8, and no float"),
        "float16": (_not_float16, "weights stored as float16"),
        "dynamic": (_not_dynamic, f"weights of int8 in every tensor from {ROUNDED_FROM} weights on"),
        "int4": (_not_int4, "no float, and weights of int4 in convolutions and dense layers"),
    }[precision]
    wrong = [tensor.name for tensor in look(graph)]
    shown = ", ".join(f"'{name}'" for name in wrong[:3]) + (" …" if len(wrong) > 3 else "")
    why = f"{precision}: {meaning}" + (f"; others: {shown}" if wrong else "")
    return Check.at_most("precision", len(wrong), 0, "other tensors", why)


def _not_int16x8(graph: Graph) -> list[Tensor]:
    made = {index for operator in graph.operators for index in operator.outputs} | set(graph.inputs)
    rounded = [graph.tensors[index] for index in sorted(made) if graph.tensors[index].dtype in ("int8", "uint8")]
    weights = [tensor for _, tensor in weight_tensors(graph) if tensor.dtype != "int8"]
    return [*_floats(graph), *rounded, *weights]


def _not_float16(graph: Graph) -> list[Tensor]:
    return [tensor for _, tensor in weight_tensors(graph) if tensor.dtype != "float16"]


def _not_dynamic(graph: Graph) -> list[Tensor]:
    return [tensor for _, tensor in weight_tensors(graph) if tensor.size >= ROUNDED_FROM and tensor.dtype != "int8"]


def _not_int4(graph: Graph) -> list[Tensor]:
    wide = [
        tensor for operator, tensor in weight_tensors(graph) if operator.kind in INT4_KINDS and tensor.dtype != "int4"
    ]
    return [*_floats(graph), *wide]


def _floats(graph: Graph) -> list[Tensor]:
    return [tensor for part in graph.subgraphs() for tensor in part.tensors if tensor.dtype in FLOATS]
