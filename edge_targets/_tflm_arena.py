"""How much memory a model's tensors take on a microcontroller at the very least, from its graph alone."""

from __future__ import annotations

from edge_targets.tflite_graph import Graph, Tensor

ALIGNMENT_BYTES = 16
"""TFLM aligns every buffer to as many."""


def least_arena_bytes(graph: Graph) -> int:
    """The most that lives at the same time, of the subgraph that needs most: no planner does with less.

    A tensor lives from the operator that makes it to the last that reads it; inputs from the start, outputs and
    variables to the end. What the interpreter keeps beside the tensors is not in it.
    """
    return max((_most_alive(each) for each in graph.subgraphs()), default=0)


def _most_alive(graph: Graph) -> int:
    changes = [0] * (len(graph.operators) + 2)
    for index, (first, last) in _lives(graph).items():
        size_bytes = _aligned(graph.tensors[index])
        changes[first] += size_bytes
        changes[last + 1] -= size_bytes
    most = alive = 0
    for change in changes:
        alive += change
        most = max(most, alive)
    return most


def _lives(graph: Graph) -> dict[int, tuple[int, int]]:
    """For each computed tensor, the first and the last operator that it lives at."""
    end = max(len(graph.operators) - 1, 0)
    lives = dict.fromkeys(graph.inputs, (0, 0))
    for place, operator in enumerate(graph.operators):
        for index in (*operator.inputs, *operator.outputs):
            if index >= 0 and graph.tensors[index].data is None:
                whole = graph.tensors[index].is_variable
                first = 0 if whole else lives.get(index, (place, place))[0]
                lives[index] = (first, end if whole else place)
    return lives | {index: (lives[index][0], end) for index in graph.outputs if index in lives}


def _aligned(tensor: Tensor) -> int:
    size_bytes = -(-tensor.size * tensor.bits // 8)
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
