"""The report of one run: `report.json` (a public contract), and all that is drawn from it.

A terminal table, one self-contained HTML file, Markdown for a pull request, a model card, JUnit XML for CI.
"""

from __future__ import annotations

from pipeline.report._benchmarked import render_benchmark, render_evaluation
from pipeline.report._compared import render_comparison
from pipeline.report._findings import render_findings
from pipeline.report._formats import format_for, page_beside, read_reports, report_text, show_reports
from pipeline.report._inspected import render_inspection
from pipeline.report._json import json_object, json_text
from pipeline.report._model import ModelFacts, Report, StepRecord
from pipeline.report._past import render_history, series_svg
from pipeline.report._read import read_report
from pipeline.report._table import render_table
from pipeline.report._write import write_report

__all__ = [
    "ModelFacts",
    "Report",
    "StepRecord",
    "format_for",
    "json_object",
    "json_text",
    "page_beside",
    "read_report",
    "read_reports",
    "render_benchmark",
    "render_comparison",
    "render_evaluation",
    "render_findings",
    "render_history",
    "render_inspection",
    "render_table",
    "report_text",
    "series_svg",
    "show_reports",
    "write_report",
]
