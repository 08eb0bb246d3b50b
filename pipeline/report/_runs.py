"""Several reports side by side: what they share stands in one row, and what cannot be compared is said."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._devices import DeviceRow, device_rows
from pipeline.report._json import JsonObject
from pipeline.report._models import ARTIFACT, shown, shown_of_all


@dataclass(frozen=True)
class RunRow:
    """One run among others: its name, its precision, its outcome, and its headlines in the order of `headings`."""

    name: str
    precision: str
    verdict: summary.Verdict
    headlines: list[summary.Headline]
    created: str


@dataclass(frozen=True)
class CheckAcross:
    """One check of every run: a cell a run, None where a run has no such check."""

    name: str
    cells: list[summary.CheckRow | None]


@dataclass(frozen=True)
class SideBySide:
    """All that several reports say together.

    Attributes:
        headings: of the headlines.
        precision: what the artifacts of all of them are called.
        runs: a row a run.
        checks: a row a check.
        devices: a row a device of each run.
        caution: what must be known before their figures are compared.
    """

    headings: list[str]
    precision: str
    runs: list[RunRow]
    checks: list[CheckAcross]
    devices: list[DeviceRow]
    caution: list[str]


def named_apart(documents: list[JsonObject], paths: list[Path]) -> list[JsonObject]:
    """The same documents, where two have one recipe's name called by their folders as well, and else by a number."""
    folders = [(path if path.is_dir() else path.absolute().parent).name for path in paths]
    names = [document["recipe"] for document in documents]
    for more in (folders, [str(place + 1) for place in range(len(names))]):
        counted = Counter(names)
        names = [f"{name} ({one})" if counted[name] > 1 else name for name, one in zip(names, more, strict=True)]
    return [{**document, "recipe": name} for document, name in zip(documents, names, strict=True)]


def side_by_side(documents: list[JsonObject]) -> SideBySide:
    """What several reports, whose names are apart, say together."""
    rows = [_run(document) for document in documents]
    return SideBySide(
        # The metric's own name would be wrong above a run that has another.
        headings=["Size", "Over the air", "Quality", "Median latency"],
        precision=shown_of_all(documents),
        runs=rows,
        checks=_checks(documents),
        devices=[row for document in documents for row in device_rows(document)],
        caution=_caution(documents),
    )


def _run(document: JsonObject) -> RunRow:
    created = fmt.printable(document["created"]).replace("T", " ").replace("Z", " UTC")
    return RunRow(
        fmt.printable(document["recipe"]),
        shown(ARTIFACT, document),
        summary.verdict(document),
        summary.headlines(document),
        created,
    )


def _checks(documents: list[JsonObject]) -> list[CheckAcross]:
    tables = [{row.name: row for row in summary.checks(document)} for document in documents]
    names = dict.fromkeys(name for table in tables for name in table)
    return [CheckAcross(name, [table.get(name) for table in tables]) for name in names]


def _caution(documents: list[JsonObject]) -> list[str]:
    metrics = {document["artifact"]["metric"] for document in documents}
    prints = {document["data"].get("fingerprint") for document in documents}
    said = []
    if len(metrics) > 1:
        said.append(f"The runs have different metrics ({', '.join(sorted(map(fmt.printable, metrics)))}).")
    if len(prints) > 1 or None in prints:
        said.append("The runs were not tested on the same data, as far as is known: their quality does not compare.")
    return said
