"""The profile of a measurement: where the time of an inference goes, operator by operator."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import _charts, _summary
from pipeline.report import _format as fmt
from pipeline.report._drawing import FLOAT, INT8, Chart
from pipeline.report._json import JsonObject
from pipeline.report._models import BASELINE, shown

MOST_ROWS = 1_500
"""Rows of all profiles of a page together: fifty devices with two hundred operators would be a page of 10 MB."""

FEWEST_ROWS = 12
"""Rows that each profile has all the same."""

MOST_CHARTS = 4
"""Charts take time to draw; the tables tell the same."""

MOST_KINDS = 8

METHODS = {
    "litert": "Measured by LiteRT's own profiler",
    "benchmark_model": "Measured by benchmark_model",
    "cut": "Each operator measured as a model of its own",
}


@dataclass(frozen=True)
class Operator:
    """A row of a profile; figures are None where nobody could know them.

    Attributes:
        index, kind, name: the operator, as it stands in the file.
        us, share: its time, and its share of the inference.
        macs, bytes: multiply-accumulates, and what it reads and writes.
        gmacs_per_s: how fast it computes.
        macs_per_byte: arithmetic intensity: a low one waits for memory, a high one for arithmetic.
        bound: `compute` or `memory`, by the roofline of the machine, where that was measured.
    """

    index: int
    kind: str
    name: str
    us: float | None
    share: float | None
    macs: int | None
    bytes: int | None
    gmacs_per_s: float | None
    macs_per_byte: float | None
    bound: str


@dataclass(frozen=True)
class Profile:
    """One model's profile on one target.

    Attributes:
        setup: where.
        model: what people call it.
        rows: the operators, in the order of execution; where they are too many, the slowest.
        left_out: how many are not in `rows`.
        left_out_share: what share of the time those take.
        chart: the time by kind of operator.
        has_bounds: whether a roofline tells what bounds them.
        method: how it was measured, in a sentence; "" where the report does not tell.
    """

    setup: _summary.Setup
    model: str
    rows: list[Operator]
    left_out: int
    left_out_share: float
    chart: Chart | None
    has_bounds: bool
    method: str


def profiles(document: JsonObject) -> list[Profile]:
    """Every profile of a report."""
    found = [(setup, row) for setup in _summary.setups(document) for row in setup.rows if row.get("profile")]
    most = max(FEWEST_ROWS, MOST_ROWS // max(len(found), 1))
    return [
        _profile(setup, row, shown(row.get("model", ""), document), most, drawn=place < MOST_CHARTS)
        for place, (setup, row) in enumerate(found)
    ]


def _profile(setup: _summary.Setup, row: JsonObject, model: str, most: int, *, drawn: bool) -> Profile:
    operators = operators_of(row)
    slowest = sorted(operators, key=lambda one: -(one.us or 0))
    kept = {id(one) for one in slowest[:most]}
    return Profile(
        setup=setup,
        model=model,
        rows=[one for one in operators if id(one) in kept],
        left_out=len(slowest[most:]),
        left_out_share=sum(one.share or 0 for one in slowest[most:]),
        chart=_chart(f"{model} on {setup.name}, by operator", operators, model) if drawn else None,
        has_bounds=any(one.bound for one in operators),
        method=method(row),
    )


def operators_of(row: JsonObject) -> list[Operator]:
    """The operators of a measurement that has a profile, in the order of execution."""
    return [_operator(one, row.get("roofline") or {}) for one in row["profile"]]


def method(row: JsonObject) -> str:
    """How a measurement's profile came about, and how much of the inference it explains."""
    told = METHODS.get(row.get("profile_method") or "", "")
    covered = row.get("profile_covered")
    if not told or covered is None:
        return told
    return f"{told}; together {fmt.percent(covered, 0)} of the median."


def _operator(one: JsonObject, roofline: JsonObject) -> Operator:
    us, macs, moved = one["us"], one["macs"], one["bytes"]
    intensity = macs / moved if macs is not None and moved else None
    return Operator(
        one["index"],
        fmt.printable(one["kind"]),
        fmt.printable(one["name"]),
        us,
        one["share"],
        macs,
        moved,
        macs / us / 1000 if macs and us else None,
        intensity,
        _bound(intensity, roofline),
    )


def _bound(intensity: float | None, roofline: JsonObject) -> str:
    """Left of the roofline's ridge the memory is the limit, right of it the arithmetic (Williams et al., 2009)."""
    macs_per_us, bytes_per_us = (roofline.get(name) for name in ("macs_per_us", "bytes_per_us"))
    if intensity is None or not macs_per_us or not bytes_per_us:
        return ""
    return "compute" if intensity >= macs_per_us / bytes_per_us else "memory"


def _chart(title: str, operators: list[Operator], model: str) -> Chart | None:
    times: dict[str, float] = {}
    for one in operators:
        times[one.kind] = times.get(one.kind, 0.0) + (one.us or 0.0)
    ranked = sorted(times.items(), key=lambda pair: -pair[1])
    rest = sum(us for _, us in ranked[MOST_KINDS:])
    shown = [*ranked[:MOST_KINDS], *([("all others", rest)] if rest else [])]
    total = sum(times.values())
    if not total:
        return None
    colour = FLOAT if model == BASELINE else INT8
    words = [(kind, us, f"{fmt.latency(us)}, {fmt.percent(us / total, 0)}") for kind, us in shown]
    return _charts.bar_chart(title, [_charts.Bar(kind, us, text, colour) for kind, us, text in words])
