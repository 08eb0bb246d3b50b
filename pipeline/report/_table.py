"""The report in a terminal, 80 columns and up. Draws the same document that `--json` prints."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._advised import render_advice, render_mixed
from pipeline.report._cascade import stage_table
from pipeline.report._devices import energy
from pipeline.report._json import JsonObject
from pipeline.report._models import ARTIFACT, BASELINE, shown
from pipeline.report._npu import memory, npu_rows
from pipeline.report._runs import RunRow, side_by_side

MOST_LAYERS = 24
"""A deep model's layer table would push the result off the screen; the rest of it is in the files."""

MOST_FIGURES = 3
"""Figures of the task beside its headline; the rest is in the files as well."""

_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "not measured": "yellow",
    "better": "green",
    "worse": "yellow",
    "same": "",
    "unknown": "dim",
}
_INDENT = (0, 0, 0, 2)


def render_table(document: JsonObject, console: Console) -> None:
    """Print the summary of a run.

    Args:
        document: what `Report.to_json` gives.
        console: where to; it decides on width and colour.
    """
    _title(document, console)
    section(console, "", _headlines(document))
    section(console, "Steps", _steps(document))
    _checks(document, console)
    _stages(document, console)
    section(console, "Layers", _layers(document))
    _more_layers(document, console)
    render_mixed(document, console)
    render_advice(document, console)
    _measurements(document, console)


def render_runs(documents: list[JsonObject], console: Console) -> None:
    """Print several runs side by side: their headlines, then every device of each.

    Args:
        documents: the reports; their names are apart.
        console: where to.
    """
    sides = side_by_side(documents)
    runs = grid("…run", "<", "<", *(f">{heading.lower()}" for heading in sides.headings))
    for run in sides.runs:
        runs.add_row(*_run_cells(run))
    section(console, "Runs", runs)
    for sentence in sides.caution:
        console.print(Padding(Text(sentence, "yellow"), _INDENT, expand=False))
    devices = grid("…run", "…device", "<", f">{BASELINE}", f">{sides.precision}", "<", ">peak memory")
    for row in sides.devices:
        cells = (row.run, row.setup.target, row.setup.provenance, row.before, row.after, row.change, row.memory)
        devices.add_row(*map(Text, cells))
    section(console, "Devices", devices)


def _run_cells(run: RunRow) -> list[Text]:
    outcome = Text(summary.MARKS[run.verdict.status], _STYLES[run.verdict.status])
    return [
        Text(run.name),
        Text(run.precision),
        outcome,
        *(Text(line.after, _STYLES[line.tone]) for line in run.headlines),
    ]


def _title(document: JsonObject, console: Console) -> None:
    verdict = summary.verdict(document)
    mark = summary.MARKS[verdict.status]
    line = Text.assemble(
        (fmt.printable(document["recipe"]), "bold"),
        "  ",
        (f"{mark} {verdict.text}", _STYLES[verdict.status]),
        (f"  in {fmt.duration(document['seconds'])}", "dim"),
    )
    console.print(line)


def section(console: Console, name: str, table: Table) -> None:
    """Print a table under its heading; nothing where it has no rows."""
    if not table.row_count:
        return
    console.print()
    if name:
        console.print(Text(name, "bold"))
    console.print(Padding(table, _INDENT, expand=False))


def grid(*columns: str) -> Table:
    """A table without lines. A column is `<` or `>` for its side, then its heading; `~` may wrap, `…` may
    be cut: room is taken from these two only."""
    table = Table(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_header=any(c[1:] for c in columns)
    )
    for column in columns:
        side, heading = column[0], column[1:]
        table.add_column(
            heading,
            justify="right" if side == ">" else "left",
            no_wrap=side in "<>",
            overflow="fold" if side == "~" else "ellipsis",
        )
    return table


def _headlines(document: JsonObject) -> Table:
    table = grid("<", f">{BASELINE}", f">{shown(ARTIFACT, document)}", "~")
    for line in (*summary.headlines(document), *summary.more_figures(document, MOST_FIGURES)):
        cells = (line.label, line.before, line.after)
        table.add_row(*map(Text, cells), Text(line.change or line.note, _STYLES[line.tone]))
    return table


def _steps(document: JsonObject) -> Table:
    table = grid(">", "…stage", ">time", "<", "~result")
    for place, step in enumerate(document["steps"], 1):
        table.add_row(
            Text(f"{place}"),
            Text(fmt.printable(step["stage"])),
            Text(fmt.duration(step["seconds"])),
            Text("cached" if step["cached"] else "", "cyan"),
            Text(summary.step_figures(step["metrics"])),
        )
    return table


def _checks(document: JsonObject, console: Console) -> None:
    """One line a check, and its reason right below: in a column of its own it would be a tall, thin ribbon."""
    rows = summary.checks(document)
    if not rows:
        return
    value_width, limit_width = (_widest(cells) for cells in ([row.value for row in rows], [row.limit for row in rows]))
    room = console.width - value_width - limit_width - len("  ✓  ") - 2 * len("  ")
    name_width = min(_widest([row.name for row in rows]), max(room, 8))
    console.print()
    console.print(Text("Checks", "bold"))
    for row in rows:
        name = Text(row.name)
        name.truncate(name_width, overflow="ellipsis", pad=True)
        numbers = f"  {_right(row.value, value_width)}  {_right(row.limit, limit_width)}"
        console.print(Text.assemble("  ", (row.mark, _STYLES[row.status]), "  ", name, numbers))
        if row.why:
            console.print(Padding(Text(row.why, "dim"), (0, 0, 0, len("  ✓  ")), expand=False))


def _widest(cells: list[str]) -> int:
    return max(map(cell_len, cells))


def _right(cell: str, width: int) -> str:
    return " " * (width - cell_len(cell)) + cell


def _stages(document: JsonObject, console: Console) -> None:
    """Both stages of a model with an early exit, and when the second is asked."""
    found = stage_table(document)
    if found is None:
        return
    table = grid("<stage", "…file", ">MACs", ">decides", ">alone", f">{found.target or 'latency'}")
    for row in found.rows:
        table.add_row(*map(Text, (row.stage, row.path, row.macs, row.decides, row.score, row.latency)))
    section(console, "Two stages", table)
    console.print(Padding(Text(found.lead, "dim"), _INDENT, expand=False))


def _layers(document: JsonObject) -> Table:
    table = grid("…layer", "…operator", ">MACs", ">bytes", ">weights", ">zeros", ">values", ">bits", ">SQNR")
    for layer in document["layers"][:MOST_LAYERS]:
        cells = (
            fmt.printable(layer["name"]),
            fmt.printable(layer["kind"]),
            fmt.percent(layer["macs_share"], 0),
            fmt.percent(layer["bytes_share"], 0),
            fmt.number(layer["weights"]),
            fmt.percent(layer["sparsity"], 1),
            fmt.number(layer["distinct"]),
            fmt.number(layer["bits"]),
            fmt.quantity(layer["sqnr_db"], "dB", 2),
        )
        table.add_row(*map(Text, cells))
    return table


def _more_layers(document: JsonObject, console: Console) -> None:
    more = len(document["layers"]) - MOST_LAYERS
    if more > 0:
        console.print(Text(f"  … and {more} more, in report.html and report.json", "dim"))


def _measurements(document: JsonObject, console: Console) -> None:
    for setup in summary.setups(document):
        console.print()
        console.print(_setup_line(setup))
        console.print(Padding(_setup_table(setup, document), _INDENT, expand=False))
        for told in (f"{shown(row.get('model', ''), document)}: {energy(row)}" for row in setup.rows if energy(row)):
            console.print(Padding(Text(fmt.printable(told), "dim"), _INDENT, expand=False))
        render_npu(tuple({**row, "model": shown(row.get("model", ""), document)} for row in setup.rows), console)


def _setup_line(setup: summary.Setup) -> Text:
    style = "green" if setup.timed else "yellow"
    how = f"  {setup.how}" if setup.how else ""
    return Text.assemble((setup.target, "bold"), " (", (setup.provenance, style), ")", (how, "dim"))


def _setup_table(setup: summary.Setup, document: JsonObject) -> Table:
    table = grid("<", ">median", ">95 % interval", ">p90", ">p99", ">load", ">peak memory")
    for row in setup.rows:
        times = (fmt.latency(row.get(name)) for name in ("p90_us", "p99_us", "load_us"))
        cells = (
            shown(row.get("model", ""), document),
            fmt.latency(row.get("median_us")),
            fmt.interval(row.get("median_ci_us")),
            *times,
            memory(row),
        )
        table.add_row(*map(Text, cells))
    return table


def render_npu(measurements: tuple[JsonObject, ...], console: Console) -> None:
    """Print what Vela calculates for each accelerator, and what it leaves to the processor; nothing where not asked."""
    section(console, "Calculated by Vela (simulated)", _npu_table(measurements))
    for kinds in dict.fromkeys(row.kinds for row in npu_rows(measurements) if row.kinds):
        console.print(Padding(Text(f"on the CPU, in none of the times: {kinds}", "dim"), _INDENT, expand=False))


def _npu_table(measurements: tuple[JsonObject, ...]) -> Table:
    table = grid("…", "<accelerator", ">cycles", ">time", ">SRAM", ">flash", ">on CPU")
    for row in npu_rows(measurements):
        cycles, time, _, sram, flash, _ = row.figures
        table.add_row(*map(Text, (row.model, row.accelerator, cycles, time, sram, flash, row.left)))
    return table
