"""What `edgesmith compare` shows in a terminal, 80 columns and up. Draws the same document that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import _format as fmt
from pipeline.report._table import grid, section

_STYLES = {
    "faster": "green",
    "smaller": "green",
    "higher": "green",
    "slower": "yellow",
    "larger": "yellow",
    "lower": "yellow",
    "can't tell": "dim",
    "not known": "dim",
}


def render_comparison(document: Mapping[str, Any], console: Console) -> None:
    """Print a comparison.

    Args:
        document: what `pipeline.comparison` gives.
        console: where to; it decides on width and colour.
    """
    first, second = (fmt.printable(_name(document[side])) for side in ("first", "second"))
    console.print(Text.assemble((first, "bold"), ("  against  ", "dim"), (second, "bold")))
    section(console, "", _rows(document["rows"]))
    for reason in document["reasons"]:
        console.print(Text(f"  not comparable: {fmt.printable(reason)}", "yellow"))
    for limit in document.get("broken", []):
        console.print(Text(f"  ✗ {fmt.printable(limit)}", "bold red"))


def _name(side: Mapping[str, Any]) -> str:
    if "recipe" in side:
        return f"{side['recipe']}, {side['precision']} ({side['created']})"
    return f"{side['path']} on {side['target']}"


def _rows(rows: list[dict[str, Any]]) -> Table:
    table = grid("~", ">", ">", ">", "<")
    for row in rows:
        table.add_row(
            Text(fmt.printable(row["name"])),
            Text(fmt.figure(row["first"], row["unit"])),
            Text(fmt.figure(row["second"], row["unit"])),
            Text(fmt.moved(row["change"], row["unit"])),
            Text.assemble((row["verdict"], _STYLES.get(row["verdict"], "")), (_interval(row), "dim")),
        )
    return table


def _interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    return f"  {fmt.signed(row['low'] * 100, 1)} to {fmt.signed(row['high'] * 100, 1)} %"
