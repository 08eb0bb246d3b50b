"""What `edgesmith inspect` shows in a terminal, 80 columns and up. Draws the same document that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._advised import render_advice
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
    heading = "Operators" if "ota_bytes" in model else "Layers"
    section(console, heading, _operators(document["operators"], placed="target" in document))
    render_advice(document, console)
    if "target" in document:
        section(console, f"On {fmt.printable(document['target']['name'])}", _target(document["target"]))
        section(console, "Not on the accelerator", _left(document["operators"]))


def _target(target: Mapping[str, Any]) -> Table:
    """Where how many operators run, what holds for the whole model, and the target's own figures."""
    table = grid("<", "~")
    for name, value in target["runs_on"].items():
        count = f"{fmt.number(value)} operator{'' if value == 1 else 's'}"
        table.add_row(Text(f"on {fmt.printable(name)}", "dim"), Text(count))
    # A calculated figure says so in its own line: lines are quoted without their neighbours.
    calculated = " (simulated)" if target["facts"].get("provenance") == "simulated" else ""
    for name, value in target["facts"].items():
        told = _fact(name, value) + (calculated if name.endswith("_us") or name in _CALCULATED else "")
        table.add_row(Text(fmt.printable(_LABELS.get(name, _unitless(name))), "dim"), Text(fmt.printable(told)))
    for note in target["notes"]:
        table.add_row(Text("note", "yellow"), Text(fmt.printable(note)))
    return table


def _fact(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_unitless(inner).lower()} {_fact(inner, one)}" for inner, one in value.items() if one)
    if name.endswith("_us"):
        return fmt.latency(value)
    return fmt.size(value) if name.endswith("_bytes") else fmt.number(value)


def _unitless(name: str) -> str:
    return summary.title(name.removesuffix("_us").removesuffix("_bytes"))


def _left(operators: list[dict[str, Any]]) -> Table:
    """Why operators stay on the processor, and what would mend it: those that one thing mends together."""
    table = grid(">", "~operator", "~why, and how to mend it")
    mended: dict[str, list[dict[str, Any]]] = {}
    for row in operators:
        if row["remedy"]:
            mended.setdefault(row["remedy"], []).append(row)
    for remedy, rows in mended.items():
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        others = "; others for other reasons (--json)" if len({row["why"] for row in rows}) > 1 else ""
        table.add_row(
            Text(str(rows[0]["index"])),
            Text(fmt.printable(rows[0]["kind"]) + more),
            Text.assemble(fmt.printable(rows[0]["why"]) + others, "\n", (fmt.printable(remedy), "green")),
        )
    return table


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
        ("Tensors", f"{fmt.size(model['arena_bytes'])} at the same time" if "arena_bytes" in model else ""),
        ("Weights", f"{fmt.number(model['weights'])}, {zeros} zeros"),
        ("Float tensors", fmt.number(floats) if floats else ""),
        ("In float", _few(model.get("float_layers", []))),
        ("In int16", _few(model.get("int16_layers", []))),
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


def _operators(operators: list[dict[str, Any]], *, placed: bool) -> Table:
    """A row an operator; columns of figures that no operator here has are left out.

    Args:
        operators: the rows.
        placed: a target was asked where they run. Then the figures of compression make room for the names.
    """
    wanted = [column for column in _COLUMNS if not placed or column[1] in _COSTS]
    columns = [column for column in wanted if any(row.get(column[1]) is not None for row in operators)]
    places = ["<on"] if placed else []
    table = grid(">", "…operator", "~name", *places, *(f">{heading}" for heading, _, _ in columns))
    for row in operators:
        names = [str(row["index"]), fmt.printable(row["kind"]), fmt.printable(row["name"])]
        names += [fmt.printable(row["runs_on"])] if placed else []
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

_COSTS = ("macs_share", "bytes_share", "parameters", "weights")

_LABELS = {
    "estimate_us": "One call",
    "first_us": "First call",
    "parts": "Of one call",
    "arena_least_bytes": "Arena, least",
    "arena_bytes": "Arena, no NPU",
    "sram_bytes": "SRAM there is",
    "flash_bytes": "Flash there is",
    "npu_sram_bytes": "SRAM by Vela",
    "npu_flash_bytes": "Flash by Vela",
}
"""Facts of targets whose names in the JSON are no words."""

_CALCULATED = ("parts", "cycles", "npu_sram_bytes", "npu_flash_bytes")
"""Beside the times."""
