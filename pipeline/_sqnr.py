"""How much of each layer's signal int8 leaves: its output against the same layer's in float, on real examples.

Part of `verify`. Both models run with every tensor kept, in a process of their own; only sums and counts come back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edge_targets._noise import TensorPair
from edge_targets.tflite_graph import Graph, Operator, weight_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from edge_targets._base import Target
    from pipeline.check import Layer

MOST_EXAMPLES, FEWEST_EXAMPLES = 64, 8
MOST_MACS = 4_000_000_000
"""What a model of many MACs may multiply in all: a second or two on a PC, so it sees fewer examples."""


def examples_for(macs: int) -> int:
    """How many examples a model of so many multiply-accumulates is measured with."""
    return max(FEWEST_EXAMPLES, min(MOST_EXAMPLES, MOST_MACS // max(macs, 1)))


def with_sqnr(
    layers: Sequence[Layer],
    places: Sequence[int],
    graphs: tuple[Graph, Graph],
    models: tuple[Path, Path],
    inputs: tuple[NDArray[Any], NDArray[Any]],
    interpreter: Target,
) -> tuple[Layer, ...]:
    """The layer table with each layer's signal to quantization noise ratio, and how its output errs.

    Args:
        layers: the rows of the int8 model.
        places: of each row, the index of its operator; -1 where that is in a loop's body.
        graphs: the float reference's and the int8 model's.
        models: the two files.
        inputs: the same examples as each of them takes them, raw, (n, ...).
        interpreter: runs them.

    Raises:
        TargetError: a model did not run.
    """
    reference, quantized = graphs
    pairs = tensor_pairs(reference, quantized)
    found = interpreter.noise(models, inputs, list(pairs.values()))
    by_operator = dict(zip(pairs, found, strict=True))
    rows = map(by_operator.get, places)
    return tuple(
        layer if noise is None else replace(layer, sqnr_db=noise.sqnr_db, error=noise.details)
        for layer, noise in zip(layers, rows, strict=True)
    )


def tensor_pairs(reference: Graph, quantized: Graph) -> dict[int, TensorPair]:
    """The outputs to compare: index of the int8 model's operator to the pair.

    Operators as `operator_pairs` has them; those whose outputs are of another shape are left out.
    """
    together = operator_pairs(reference, quantized)
    found = ((own.index, _pair(reference, other, quantized, own)) for other, own in together)
    return {index: pair for index, pair in found if pair is not None}


def operator_pairs(reference: Graph, quantized: Graph) -> list[tuple[Operator, Operator]]:
    """The same operator in both files, the reference's first.

    Operators with weights belong together by their layer's name, and where a layer has several by their order. A layer
    that became another number of operators in the two files is left out.
    """
    theirs, ours = _by_layer(reference), _by_layer(quantized)
    return [
        pair
        for name, operators in ours.items()
        if len(theirs.get(name, ())) == len(operators)
        for pair in zip(theirs[name], operators, strict=True)
    ]


def _by_layer(graph: Graph) -> dict[str, list[Operator]]:
    """The operators with weights of a graph by their layer's name; bodies of loops are not looked into."""
    found: dict[str, list[Operator]] = {}
    for operator in {operator.index: operator for operator, _ in weight_tensors(replace(graph, bodies=()))}.values():
        found.setdefault(operator.name, []).append(operator)
    return found


def _pair(reference: Graph, other: Operator, quantized: Graph, own: Operator) -> TensorPair | None:
    if not other.outputs or not own.outputs:
        return None
    theirs, ours = reference.tensors[other.outputs[0]], quantized.tensors[own.outputs[0]]
    # The same rows of channels may come in one file with the batch and in the other without: (1, 8, 4) and (8, 4).
    alike = (theirs.size, theirs.shape[-1:]) == (ours.size, ours.shape[-1:])
    if not alike or len(ours.scales) > 1:
        return None
    scale, zero_point = (ours.scales[0], ours.zero_points[0] if ours.zero_points else 0) if ours.scales else (1.0, 0)
    return TensorPair(theirs.index, ours.index, scale, zero_point)
