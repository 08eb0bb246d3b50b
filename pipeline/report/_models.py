"""The two models of a report: what measurements call each, where its facts stand, and what people call it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.latency import EARLY, REST
from pipeline.report import _format as fmt
from pipeline.report._drawing import FLOAT, INT8
from pipeline.report._json import JsonObject

BASELINE, ARTIFACT = "float32", "int8"
"""What measurements call the two, whatever the artifact's precision is."""


@dataclass(frozen=True)
class Model:
    """One of the two.

    Attributes:
        key: what measurements call it.
        part: the key of the document under which its facts stand.
        name: what people call it: its precision.
        colour: what it is drawn in.
    """

    key: str
    part: str
    name: str
    colour: str


def models(document: JsonObject) -> tuple[Model, Model]:
    """Both, the baseline first."""
    return (
        Model(BASELINE, "baseline", shown(BASELINE, document), FLOAT),
        Model(ARTIFACT, "artifact", shown(ARTIFACT, document), INT8),
    )


def shown(model: object, document: JsonObject) -> str:
    """What people call a model that was measured, or one of its two stages: `int16x8 early`."""
    precision = document["artifact"]["precision"]
    stages = {EARLY: f"{precision} early", REST: f"{precision} rest"}
    return fmt.printable({ARTIFACT: precision, **stages}.get(str(model), model))


def shown_of_all(documents: list[JsonObject]) -> str:
    """The one name of the artifacts of several runs; where they have more than one, a word for all of them."""
    names = {shown(ARTIFACT, document) for document in documents}
    return names.pop() if len(names) == 1 else "artifact"
