"""The one file that both of a model in two stages were cut from: what its layers are held against float with.

Part of `verify`. Both files together give its numbers to the bit (ADR 15), so what is measured inside it holds for
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_targets.tflite_cost import weight_costs
from edge_targets.tflite_graph import Graph, parse_graph
from pipeline._convert._cut import dealt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.artifact import Artifact
    from pipeline.check import Layer


def uncut_bytes(artifact: Artifact) -> bytes:
    """The model as it was before it was cut; most models were never."""
    return artifact.path.read_bytes() if artifact.cascade is None else artifact.cascade.uncut


def uncut_places(artifact: Artifact, uncut: Graph) -> list[int]:
    """For each row of an artifact's layer table, the index of its operator in the uncut file; -1 in a loop's body.

    Args:
        artifact: one file, or both.
        uncut: what `uncut_bytes` gives, read.
    """
    parts = [parse_graph(part.path.read_bytes()) for part in artifact.parts] if artifact.cascade else [uncut]
    indices = dealt(uncut) if artifact.cascade else [[operator.index for operator in uncut.operators]]
    return [place for part, there in zip(parts, indices, strict=True) for place in _places_in(part, there)]


def uncut_rows(layers: Sequence[Layer], artifact: Artifact, uncut: Graph) -> tuple[Layer, ...]:
    """The rows of an artifact's layer table in the order of the uncut file's."""
    if artifact.cascade is None:
        return tuple(layers)
    waiting: dict[int, list[Layer]] = {}
    for place, layer in zip(uncut_places(artifact, uncut), layers, strict=True):
        waiting.setdefault(place, []).append(layer)
    return tuple(waiting[cost.operator.index].pop(0) for cost in weight_costs(uncut))


def _places_in(part: Graph, there: Sequence[int]) -> list[int]:
    """For each weight tensor of a file, the index in the uncut one of the operator that reads it."""
    own = {id(operator): there[place] for place, operator in enumerate(part.operators)}
    return [own.get(id(cost.operator), -1) for cost in weight_costs(part)]
