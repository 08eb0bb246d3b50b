"""A model in two stages: its table for every form of a report, and `cascade.json` for the program that runs it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject

SCHEMA = 1


@dataclass(frozen=True)
class StageRow:
    """A stage in words: its file, its cost, the share of examples it decides, the metric of its scores, its latency."""

    stage: str
    path: str
    size: str
    macs: str
    decides: str
    score: str
    latency: str


@dataclass(frozen=True)
class StageTable:
    """Both stages and their average; `lead` says in sentences when the second is asked."""

    lead: str
    metric: str
    target: str
    rows: tuple[StageRow, ...]


def stage_table(document: JsonObject) -> StageTable | None:
    """Both stages side by side; None where the model is one file."""
    told = document.get("cascade")
    if not told:
        return None
    target = next(iter(told["average_us"]), "")
    lead = (
        f"Where the early scores are at least {fmt.percent(told['threshold'])} sure, the second stage is not asked. "
        f"Of the validation examples {fmt.percent(told['expected_exits'], 1)} left early, of the test examples "
        f"{fmt.percent(told['exits'], 1)}."
    )
    values = (told["early_value"], told["full_value"])
    names = ("early head", "the rest")
    rows = [_row(document, *one, target) for one in zip(names, told["stages"], values, strict=True)]
    metric = fmt.printable(summary.title(document["artifact"]["metric"]))
    return StageTable(lead, metric, fmt.printable(target), (*rows, _average(document, target)))


def cascade_manifest(document: JsonObject) -> JsonObject:
    """What a program on the device must know to run both stages (`docs/schemas/cascade.schema.json`).

    It holds no date: a version is named by this file, and a run that the cache answers must be the version that it was.
    """
    told, artifact = document["cascade"], document["artifact"]
    return {
        "schema": SCHEMA,
        "recipe": document["recipe"],
        "threshold": told["threshold"],
        "stages": [_travels(stage) for stage in told["stages"]],
        "features": told["features"],
        "class_names": document["data"].get("class_names", []),
        "expect": {
            "exits": told["expected_exits"],
            "average_macs": told["average_macs"],
            "metric": artifact["metric"],
            "value": artifact["value"],
        },
    }


def _row(document: JsonObject, name: str, stage: JsonObject, value: float | None, target: str) -> StageRow:
    return StageRow(
        name,
        fmt.printable(stage["path"]),
        fmt.size(stage["size_bytes"]),
        fmt.percent(stage["macs"] / document["cascade"]["full_macs"], 1),
        fmt.percent(stage["decides"], 1),
        fmt.score(document["artifact"]["metric"], value),
        fmt.latency(stage["median_us"].get(target)),
    )


def _average(document: JsonObject, target: str) -> StageRow:
    told, artifact = document["cascade"], document["artifact"]
    return StageRow(
        "both, on average",
        "",
        fmt.size(artifact["size_bytes"]),
        fmt.percent(told["average_macs"], 1),
        "",
        fmt.score(artifact["metric"], told["value"]),
        fmt.latency(told["average_us"].get(target)),
    )


def _travels(stage: JsonObject) -> JsonObject:
    kept = {name: stage[name] for name in ("path", "sha256", "size_bytes", "macs", "inputs", "outputs")}
    packed = {"path": f"{stage['path']}.{stage['ota_codec']}", "codec": stage["ota_codec"]}
    return {**kept, "over_the_air": {**packed, "size_bytes": stage["ota_bytes"]}}
