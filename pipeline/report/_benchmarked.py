"""What `edgesmith benchmark` and `edgesmith evaluate` found, in a terminal: drawn from the documents of `--json`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report import _format as fmt
from pipeline.report import _profile as _operators
from pipeline.report._devices import energy
from pipeline.report._json import JsonObject
from pipeline.report._npu import memory
from pipeline.report._table import grid, render_npu, section

MOST_TUNED = 8
MOST_OPERATORS = 10
# What fits into 80 columns beside the figures.
_SHORT = {"ai_edge_litert": "LiteRT", "tflite_runtime": "tflite"}
_WAITS = {"compute": "arithmetic", "memory": "memory"}
_MARKS = {"measured": "✓", "broken": "✗", "failed": "✗"}


def render_benchmark(document: JsonObject, console: Console) -> None:
    """Print the devices of a benchmark, a line each with what ran below it, then what went wrong."""
    _title(document, console)
    section(console, "", _devices(document["devices"]))
    found = (row["measurement"] for row in document["devices"] if row["measurement"])
    render_npu(tuple(found), console)
    _complaints(document["devices"], console)
    for row in document["devices"]:
        _profile(row, console)
    section(console, "Tried on this machine", _tuning(document["tuning"]))


def render_evaluation(document: JsonObject, console: Console) -> None:
    """Print the score on each device, then what went wrong."""
    _title(document, console)
    table = grid("<", "…device", f">{document['metric']}", ">time")
    for row in document["devices"]:
        failed = row["error"] is not None
        score = "failed" if failed else fmt.score(document["metric"], row["value"])
        style = "bold red" if failed else ""
        cells = (_mark(failed), fmt.printable(row["label"]), score, fmt.duration(row["seconds"]))
        table.add_row(*(Text(cell, style) for cell in cells))
    section(console, f"{document['data']['examples']:,} examples", table)
    _complaints(document["devices"], console)


def _title(document: JsonObject, console: Console) -> None:
    model = document["model"]
    console.print(Text.assemble((fmt.printable(model["path"]), "bold"), f"  {fmt.size(model['size_bytes'])}"))


def _devices(rows: list[JsonObject]) -> Table:
    table = grid("<", "…device", "<", ">median", ">p90", ">memory", "<outputs")
    for row in rows:
        found, failed = row["measurement"] or {}, row["error"] is not None
        style = "bold red" if failed else ""
        cells = (
            _mark(failed),
            fmt.printable(row["label"]),
            fmt.printable(found.get("provenance", row["status"])),
            fmt.latency(found.get("median_us")) if found else "",
            fmt.latency(found.get("p90_us")) if found else "",
            memory(found) if found else "",
            _parity(row),
        )
        table.add_row(*(Text(cell, style) for cell in cells))
        if found:
            table.add_row("", Text(_how(found), "dim"))
        if told := energy(found):
            table.add_row("", Text(told, "dim"))
    return table


def _mark(failed: bool) -> str:
    return _MARKS["failed" if failed else "measured"]


def _parity(row: JsonObject) -> str:
    """How the outputs stand to the golden ones, in a word or two."""
    parity = row["parity"]
    if parity is None:
        return "" if row["error"] else "not checked"
    if not parity["ok"]:
        return "wrong"
    return "exact" if parity["exact"] else f"≤ {fmt.number(parity['max_steps'])} steps"


def _how(found: JsonObject) -> str:
    runtime = _SHORT.get(found["runtime"], found["runtime"])
    return fmt.printable(f"{runtime} {found['runtime_version']} {found['kernels']} ×{found['threads']}")


def _complaints(rows: list[JsonObject], console: Console) -> None:
    for row in rows:
        error = row["error"]
        notes = [note for note in (row.get("not_checked"), (row.get("measurement") or {}).get("no_profile")) if note]
        if error is not None:
            notes = [error["what"], *(f"to mend it: {error['mend']}" for _ in [0] if error["mend"])]
        if not notes:
            continue
        console.print()
        console.print(Text(fmt.printable(row["label"]), "bold"))
        for note in notes:
            console.print(Text("  " + "\n  ".join(map(fmt.printable, note.split("\n")))))


def _profile(row: JsonObject, console: Console) -> None:
    """The slowest operators on one device, and what each waits for."""
    found = row["measurement"] or {}
    if not found.get("profile"):
        return
    operators = _operators.operators_of(found)
    slowest = sorted(operators, key=lambda one: -(one.us or 0))[:MOST_OPERATORS]
    table = grid("<operator", "…layer", ">time", ">share", ">GMAC/s", ">MACs/byte", "<waits for")
    for one in slowest:
        # Nothing takes no time: it is less than what the profiler counts in.
        time = fmt.latency(one.us) if one.us else "< 1 µs"
        figures = (time, fmt.percent(one.share, 1), _rate(one.gmacs_per_s), _rate(one.macs_per_byte))
        table.add_row(*map(Text, (one.kind, one.name, *figures, _WAITS.get(one.bound, ""))))
    most = f"the slowest {len(slowest)} of {len(operators)} operators" if len(operators) > len(slowest) else "operators"
    section(console, f"{fmt.printable(row['label'])}: {most}", table)
    console.print(Text(f"  {_operators.method(found)}", "dim"))


def _rate(value: float | None) -> str:
    return "" if not value else fmt.number(round(value, 1 if value < 100 else 0))


def _tuning(tried: list[JsonObject]) -> Table:
    table = grid(">median", "<kernels", "…target")
    for each in tried[:MOST_TUNED]:
        table.add_row(*map(Text, (fmt.latency(each["median_us"]), each["kernels"], each["target"])))
    return table
