"""What `edgesmith inspect` shows in a terminal, 80 columns and up. Draws the same document that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._table import grid, section

MOST_NAMED = 4
"""The names of 150 layers would push all else off the screen."""


def render_inspection(document: Mapping[str, Any], console: Console) -> None:
    """Print the facts of a model file.

    Args:
        document: what `pipeline.inspection.inspect` gives.
        console: where to; it decides on width and colour.
    """
    model = document["model"]
    console.print(Text.assemble((fmt.printable(model["path"]), "bold"), "  ", (fmt.printable(model["format"]), "dim")))
    section(console, "", _facts(model))
    section(console, "Intake", _intake(model.get("intake", {})))
    section(console, "Operators" if "ota_bytes" in model else "Layers", _operators(document["operators"]))


def _facts(model: Mapping[str, Any]) -> Table:
    table = grid("<", "~")
    for name, value in _lines(model):
        if value:
            table.add_row(Text(name, "dim"), Text(fmt.printable(value)))
    return table


def _lines(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    size_bytes = model.get("size_bytes")
    zeros = fmt.percent(model["sparsity"], 1)
    floats = model.get("float_tensors")
    return [
        ("Size", f"{fmt.size(size_bytes)} ({fmt.number(size_bytes)} bytes)" if size_bytes is not None else ""),
        ("Over the air", _travelling(model)),
        *(("Input", _border(tensor)) for tensor in model["inputs"]),
        *(("Output", _border(tensor)) for tensor in model["outputs"]),
        ("Operators" if "ota_bytes" in model else "Layers", fmt.number(model["operators"])),
        ("MACs", fmt.number(model["macs"])),
        ("Parameters", fmt.number(model["parameters"]) if "parameters" in model else ""),
        ("Weights", f"{fmt.number(model['weights'])}, {zeros} zeros"),
        ("Float tensors", fmt.number(floats) if floats else ""),
    ]


def _travelling(model: Mapping[str, Any]) -> str:
    if "ota_bytes" not in model:
        return ""
    if model["ota_bytes"] is None:
        return "not packed: --pack takes some seconds"
    return f"{fmt.size(model['ota_bytes'])} ({fmt.number(model['ota_bytes'])} bytes, {model['ota_codec']})"


def _border(tensor: Mapping[str, Any]) -> str:
    shape = " × ".join("?" if size is None else str(size) for size in tensor["shape"])
    scale = f", scale {fmt.number(tensor['scale'])}, zero point {fmt.number(tensor['zero_point'])}"
    return f"{tensor['name']}  {shape}  {tensor['dtype']}{scale if tensor['scale'] else ''}"


def _intake(facts: Mapping[str, Any]) -> Table:
    table = grid("<", "~")
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            table.add_row(Text(fmt.printable(summary.title(name)), "dim"), Text(fmt.printable(_words(value))))
    return table


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return _few([f"{name} → {_words(inner)}" for name, inner in value.items()])
    if isinstance(value, list):
        return _few(list(map(_words, value)))
    return fmt.number(value)


def _few(parts: list[str]) -> str:
    more = [f"and {len(parts) - MOST_NAMED} more (--json)"] if len(parts) > MOST_NAMED else []
    return ", ".join([*parts[:MOST_NAMED], *more])


def _operators(operators: list[dict[str, Any]]) -> Table:
    """A row an operator; columns of figures that no operator here has are left out."""
    columns = [column for column in _COLUMNS if any(row.get(column[1]) is not None for row in operators)]
    table = grid(">", "…operator", "~name", *(f">{heading}" for heading, _, _ in columns))
    for row in operators:
        names = (str(row["index"]), fmt.printable(row["kind"]), fmt.printable(row["name"]))
        table.add_row(*map(Text, (*names, *(_cell(row, name, shown) for _, name, shown in columns))))
    return table


def _cell(row: Mapping[str, Any], name: str, shown: Any) -> str:
    """A figure, or nothing where there is none: dashes all over would hide those that there are."""
    value = row.get(name)
    says_something = value is not None and (value or name == "sparsity")
    return shown(value) if says_something else ""


def _share(value: float) -> str:
    return "<1 %" if 0 < value < 0.005 else fmt.percent(value, 0)


_COLUMNS = (
    ("MACs", "macs_share", _share),
    ("bytes", "bytes_share", _share),
    ("params", "parameters", fmt.number),
    ("weights", "weights", fmt.number),
    ("zeros", "sparsity", _share),
    ("values", "distinct", fmt.number),
    ("bits", "bits", fmt.number),
    ("SQNR", "sqnr_db", lambda value: fmt.quantity(value, "dB", 2)),
)
"""Heading, key, and how the figure is written."""
