"""Cuts a `.tflite` with an early head in two files where the paths to its two outputs part.

The model is converted as a whole and cut afterwards, so the features have one scale and zero point in both files, and
no operator is in both.
"""

from __future__ import annotations

from edge_targets._made_model import WHOLE_GRAPHS, part_of
from edge_targets.tflite_graph import Graph, Operator, operators_behind, parse_graph
from pipeline.errors import ModelError


def cut(model: bytes) -> tuple[bytes, bytes]:
    """A model of two outputs, early scores and final ones, as two files: input to (early scores, features), and
    features to final scores.

    Args:
        model: a `.tflite`; what the early scores need is the first file.

    Raises:
        ModelError: other tensors than one lead from the first file to the second.
    """
    graph = parse_graph(model)
    early, final = graph.outputs
    first, rest = dealt(graph)
    _refuse_bodies(graph)
    features = _crossing(graph, set(rest))
    return part_of(model, first, [early, features]), part_of(model, rest, [final])


def dealt(graph: Graph) -> tuple[list[int], list[int]]:
    """The indices of the operators of either file, in their order there."""
    early, final = graph.outputs
    first = operators_behind(graph, [early])
    return sorted(first), sorted(operators_behind(graph, [final]) - first)


def _crossing(graph: Graph, rest: set[int]) -> int:
    """The one tensor that the second file takes from the first."""
    chosen: list[Operator] = [operator for operator in graph.operators if operator.index in rest]
    made = {output for operator in chosen for output in operator.outputs}
    read = {index for operator in chosen for index in operator.inputs if index >= 0}
    crossing = sorted(index for index in read - made if graph.tensors[index].data is None)
    if len(crossing) != 1 or crossing[0] in graph.inputs:
        names = ", ".join(graph.tensors[index].name for index in crossing) or "none"
        raise ModelError(
            f"The model cannot be cut behind its early head: the tensors that lead on from there are {names}.",
            expected="one tensor, which both paths read",
            mend="set stages.early_exit.after to another layer",
        )
    return crossing[0]


def _refuse_bodies(graph: Graph) -> None:
    if any(operator.kind in WHOLE_GRAPHS for operator in graph.operators):
        raise ModelError("A model with a loop or a branch cannot be cut in two.", mend="drop the stage 'early_exit'")
