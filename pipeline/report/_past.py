"""What `edgesmith history` shows: runs and their figures in a terminal, 80 columns and up, and a drawing of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import _format as fmt
from pipeline.report._table import grid, section

MOST_RUNS = 20
"""Rows of runs on a screen; the figures below them are over all that were asked for."""

MOST_POINTS = 24
"""Of a line of blocks, which stands for the last runs."""

_BLOCKS = "▁▂▃▄▅▆▇█"


def render_history(document: Mapping[str, Any], console: Console, nothing: str) -> None:
    """Print what `history --json` prints.

    Args:
        document: runs and series.
        console: where to; it decides on width and colour.
        nothing: what to say where there are neither.
    """
    if not document["runs"] and not document["series"]:
        console.print(Text(f"Nothing to show: {fmt.printable(nothing)}.", "dim"))
        return
    if document["runs"]:
        section(console, "Runs", _runs(document["runs"][-MOST_RUNS:]))
    section(console, "Figures, the last run against the usual", _series(document["series"]))


def series_svg(series: Sequence[Mapping[str, Any]]) -> str:
    """The figures over the runs as one SVG, a small chart each.

    Args:
        series: as in `history --json`.
    """
    import vl_convert

    rows = [
        {"figure": f"{each['name']}: {each['figure']}", "run": run, "value": value}
        for each in series
        for run, value in zip(each["runs"], each["values"], strict=True)
    ]
    chart = {
        "mark": {"type": "line", "point": True},
        "width": 420,
        "height": 120,
        "encoding": {
            "x": {"field": "run", "type": "quantitative", "axis": {"tickMinStep": 1, "format": "d"}, "title": "run"},
            "y": {"field": "value", "type": "quantitative", "scale": {"zero": False}, "title": None},
        },
    }
    spec = {
        "data": {"values": rows},
        "facet": {"row": {"field": "figure", "type": "nominal", "title": None, "header": {"labelAngle": 0}}},
        "resolve": {"scale": {"y": "independent"}},
        "spec": chart,
    }
    return str(vl_convert.vegalite_to_svg(spec))


def _runs(runs: Sequence[Mapping[str, Any]]) -> Table:
    table = grid(">", "<ended (UTC)", "…run", "<", ">metric", ">size", ">over the air")
    for run in runs:
        metric = fmt.score(run["metric"], run["value"]) if run["metric"] else ""
        table.add_row(
            Text(str(run["id"]), "dim"),
            Text(fmt.printable(run["created"][:16].replace("T", " ")), "dim"),
            Text(fmt.printable(run["name"])),
            Text("✓", "green") if run["ok"] else Text("✗", "bold red"),
            Text(metric),
            Text(fmt.size(run["size_bytes"]) if run["size_bytes"] else ""),
            Text(fmt.size(run["ota_bytes"]) if run["ota_bytes"] else ""),
        )
    return table


def _series(series: Sequence[Mapping[str, Any]]) -> Table:
    table = grid("…", "…", ">", ">", "<", "<")
    for each in series:
        table.add_row(
            Text(fmt.printable(each["name"])),
            Text(fmt.printable(each["figure"])),
            Text(_value(each)),
            Text(_moved(each)),
            Text("worse", "bold red") if each["worse"] else Text(""),
            Text(sparkline(each["values"][-MOST_POINTS:]), "dim"),
        )
    return table


def _value(series: Mapping[str, Any]) -> str:
    """The last value: a metric, which has no unit, as the table of runs has it."""
    value, unit = series["values"][-1], series["unit"]
    return fmt.figure(value, unit) if unit else fmt.score(series["figure"], value)


def _moved(series: Mapping[str, Any]) -> str:
    change, unit = series["change"], series["unit"]
    if unit or change is None:
        return fmt.moved(change, unit)
    return fmt.score_change(series["figure"], series["values"][-1] - change, series["values"][-1])


def sparkline(values: Sequence[float]) -> str:
    """The values as blocks of eight heights, the lowest for the least of them."""
    low, high = min(values), max(values)
    if low == high:
        return _BLOCKS[3] * len(values)
    return "".join(_BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))] for value in values)
