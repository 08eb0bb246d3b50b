"""Operators that stand in floats or in int16 amid an int8 model, and the borders that were put around them.

`DEQUANTIZE → ELU → QUANTIZE`: what is to be mended is ELU. That the model be converted fully to int8, which is the
remedy for a float operator otherwise, was tried by whoever has such a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_targets._edgetpu_node import Refusal
from edge_targets.tflite_graph import Graph, Operator

_BORDERS = ("QUANTIZE", "DEQUANTIZE")


def without_borders(graph: Graph, refusals: Sequence[Refusal | None]) -> list[Refusal | None]:
    """The refusals, where a border's names the operator that it is there for.

    Args:
        graph: the model.
        refusals: of its operators.
    """
    readers: dict[int, Operator] = {}
    makers: dict[int, Operator] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            readers.setdefault(index, operator)
        makers.update(dict.fromkeys(operator.outputs, operator))
    return [
        found and _told(found, graph, operator, _neighbour(graph, operator, readers, makers))
        for operator, found in zip(graph.operators, refusals, strict=True)
    ]


def _neighbour(
    graph: Graph, operator: Operator, readers: dict[int, Operator], makers: dict[int, Operator]
) -> Operator | None:
    """The operator in floats or int16 that a border leads to or comes from; None at the model's own border."""
    if operator.kind not in _BORDERS or not operator.inputs or not operator.outputs:
        return None
    leads_to = _is_entrance(graph, operator)
    beside = readers.get(operator.outputs[0]) if leads_to else makers.get(operator.inputs[0])
    return None if beside is None or beside.kind in _BORDERS else beside


def _is_entrance(graph: Graph, border: Operator) -> bool:
    """Whether a border leads out of int8: a DEQUANTIZE, or a QUANTIZE to int16."""
    return border.kind == "DEQUANTIZE" or graph.tensors[border.outputs[0]].dtype == "int16"


def _told(found: Refusal, graph: Graph, border: Operator, beside: Operator | None) -> Refusal:
    if beside is None:
        return found
    name = f"operator {beside.index} ({beside.custom_code or beside.kind})"
    place = border.outputs[0] if _is_entrance(graph, border) else border.inputs[0]
    works = "on int16" if graph.tensors[place].dtype == "int16" else "in floats"
    return replace(found, why=f"it stands here because {name} works {works}", remedy=f"mend {name}: then this is gone")
