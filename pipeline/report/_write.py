"""The files of a report."""

from __future__ import annotations

from pathlib import Path

from pipeline.report._cascade import cascade_manifest
from pipeline.report._html import html_page
from pipeline.report._json import write_json
from pipeline.report._manifest import manifest
from pipeline.report._model import Report
from pipeline.storage import atomic_write_text


def write_report(report: Report, folder: Path) -> None:
    """Write `report.html`, `manifest.json`, of a model in two stages `cascade.json`, and then `report.json`: where that
    lies, the report is complete.

    Args:
        report: the run.
        folder: where to; made if it is missing. Older reports in it are replaced.

    Raises:
        StorageError: the disk does not take them.
    """
    document = report.to_json()
    # The page is drawn before anything is written: a fault while drawing leaves the folder as it was.
    page = html_page(document)
    atomic_write_text(folder / "report.html", page)
    write_json(manifest(document), folder / "manifest.json")
    if report.cascade is not None:
        write_json(cascade_manifest(document), folder / "cascade.json")
    write_json(document, folder / "report.json")
