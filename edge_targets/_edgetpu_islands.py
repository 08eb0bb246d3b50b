"""Operators that the converter left in floats amid an int8 model, and the borders it put around them.

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
        _told(found, _neighbour(operator, readers, makers)) if found is not None else None
        for operator, found in zip(graph.operators, refusals, strict=True)
    ]


def _neighbour(operator: Operator, readers: dict[int, Operator], makers: dict[int, Operator]) -> Operator | None:
    """The float operator behind a DEQUANTIZE or before a QUANTIZE; None where it stands at the model's own border."""
    if operator.kind not in _BORDERS or not operator.inputs or not operator.outputs:
        return None
    beside = readers.get(operator.outputs[0]) if operator.kind == "DEQUANTIZE" else makers.get(operator.inputs[0])
    return None if beside is None or beside.kind in _BORDERS else beside


def _told(found: Refusal, beside: Operator | None) -> Refusal:
    if beside is None:
        return found
    name = f"operator {beside.index} ({beside.custom_code or beside.kind})"
    return replace(
        found, why=f"it stands here because {name} works in floats", remedy=f"mend {name}: then this is gone"
    )
