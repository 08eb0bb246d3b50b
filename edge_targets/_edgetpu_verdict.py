"""Where operators run by the compiler's own file: what it left to the CPU still stands there under its old name."""

from __future__ import annotations

from dataclasses import replace

from edge_targets._edgetpu_log import Compilation
from edge_targets._edgetpu_map import COMPILED, CPU, EDGETPU, Mapped
from edge_targets._edgetpu_node import Status
from edge_targets._errors import UnusableModel
from edge_targets._placement import Placement, Placements
from edge_targets.tflite_graph import Graph, Operator

_Identity = tuple[str, tuple[str, ...]]


def corrected(graph: Graph, predicted: Mapped, compiled: Graph, compilation: Compilation) -> Mapped:
    """The prediction, with the compiler's word in its place wherever the two differ.

    Args:
        graph: the model as it was.
        predicted: where its operators were predicted to run.
        compiled: the compiler's file.
        compilation: what it says of it.
    """
    left = {_identity(compiled, one) for one in compiled.operators if one.custom_code != COMPILED}
    told = [
        _told(graph, status, placement, left, compilation)
        for status, placement in zip(predicted.statuses, predicted.placements, strict=True)
    ]
    return Mapped(tuple(placement for _, placement in told), tuple(status for status, _ in told))


def refused(predicted: Placements, error: UnusableModel) -> Placements:
    """The prediction for a model that the compiler does not compile, or maps nothing of: all of it is the CPU's.

    Args:
        predicted: what was predicted; its estimate goes, for it no longer holds.
        error: what the compiler said.
    """
    operators = tuple(
        one if one.runs_on == CPU else replace(one, runs_on=CPU, why=error.what, remedy=error.mend)
        for one in predicted.operators
    )
    facts = {name: predicted.facts[name] for name in ("provenance", "runtime") if name in predicted.facts}
    return Placements(operators, (*predicted.notes, error.what), facts)


def _identity(graph: Graph, operator: Operator) -> _Identity:
    """An operator by its kind and the names of what it makes: the compiler renumbers all, and renames nothing."""
    return operator.custom_code or operator.kind, tuple(graph.tensors[index].name for index in operator.outputs)


def _told(
    graph: Graph, status: Status, placement: Placement, left: set[_Identity], compilation: Compilation
) -> tuple[Status, Placement]:
    if placement.subgraph:
        return status, placement
    operator = graph.operators[placement.index]
    stays = _identity(graph, operator) in left
    if stays == (placement.runs_on == CPU):
        return status, placement
    if not stays:
        why = f"edgetpu_compiler maps it, though this was not foretold: {placement.why}"
        return Status.MAPPED, replace(placement, runs_on=EDGETPU, why=why, remedy="")
    reasons = [row.status for row in compilation.rows if row.kind == operator.kind and not row.mapped]
    why = f"edgetpu_compiler leaves it to the CPU: {'; '.join(reasons) or 'it does not say why'}"
    remedy = "make what flows through it smaller, or end the model before it and compute it outside"
    return Status.LIMITED, Placement(0, placement.index, CPU, why, remedy)
