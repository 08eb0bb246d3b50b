"""`edgesmith report`: which reports, in which form, to where."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from pipeline.errors import ReportError, UsageError
from pipeline.report import _format as fmt
from pipeline.report import _html, _junit, _markdown
from pipeline.report._json import SCHEMA, JsonObject, json_text
from pipeline.report._read import completed, read_report
from pipeline.report._runs import named_apart
from pipeline.report._table import render_runs, render_table

T = TypeVar("T")

WIDTH = 100
"""Columns of a table that goes to a file."""

_SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".xml": "junit", ".json": "json"}


@dataclass(frozen=True)
class Reports:
    """What was read: `documents` as they stand in the files, and `shown` as they are drawn."""

    documents: list[JsonObject]
    shown: list[JsonObject]


def read_reports(paths: tuple[Path, ...]) -> Reports:
    """Several reports, in their order; where two have one name, they are shown under their folders' names as well.

    Raises:
        ReportError, StorageError: as `read_report`.
    """
    documents = [read_report(path) for path in paths]
    return Reports(documents, named_apart([completed(document) for document in documents], list(paths)))


def format_for(out: Path | None, opened: bool) -> str:
    """The form that is meant where none was named: the file's suffix tells, and a browser wants a page."""
    if out is not None and out.suffix in _SUFFIXES:
        return _SUFFIXES[out.suffix]
    return "html" if opened else "table"


def page_beside(paths: tuple[Path, ...]) -> Path:
    """Where a page goes that was not told where to: of one run into its folder, of several into the working folder."""
    if len(paths) > 1:
        return Path("report-side-by-side.html")
    return (paths[0] if paths[0].is_dir() else paths[0].parent) / "report.html"


def report_text(reports: Reports, form: str) -> str:
    """Reports in one of the forms that the command offers.

    Raises:
        UsageError: that form has room for one report only.
        ReportError: the report follows the schema, and yet its parts contradict each other.
    """
    if form == "json":
        documents = reports.documents
        return json_text(documents[0] if len(documents) == 1 else {"schema": SCHEMA, "reports": documents})
    if form == "card" and len(reports.shown) > 1:
        raise UsageError(
            f"A model card is of one model, and {len(reports.shown)} reports were given.",
            expected="one report",
            mend="make a card of each, or put the runs side by side with --format md",
        )
    return _drawn(lambda: _RENDERERS[form](reports.shown))


def show_reports(reports: Reports, console: Console) -> None:
    """Print one report's table, or several side by side.

    Raises:
        ReportError: as `report_text`.
    """
    _drawn(lambda: _print_tables(reports.shown, console))


def _print_tables(documents: list[JsonObject], console: Console) -> None:
    if len(documents) > 1:
        render_runs(documents, console)
    else:
        render_table(documents[0], console)


def _drawn(draw: Callable[[], T]) -> T:
    """A schema cannot say all: a matrix may be ragged, a curve may have an end less than the other."""
    try:
        return draw()
    except Exception as error:
        # The error may quote what stands in the report, of any length.
        reason = fmt.printable(f"{type(error).__name__}: {error}")[:160]
        raise ReportError(
            f"The report cannot be shown: its parts contradict each other ({reason}).",
            expected="a report as `edgesmith run` wrote it",
            mend="run the recipe again",
        ) from error


def _page(documents: list[JsonObject]) -> str:
    return _html.html_page(documents[0]) if len(documents) == 1 else _html.html_page_of_several(documents)


def _table(documents: list[JsonObject]) -> str:
    stream = io.StringIO()
    _print_tables(documents, Console(file=stream, width=WIDTH, color_system=None))
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


_RENDERERS: dict[str, Callable[[list[JsonObject]], str]] = {
    "table": _table,
    "html": _page,
    "md": _markdown.pull_request,
    "card": lambda documents: _markdown.model_card(documents[0]),
    "junit": _junit.junit,
}
