"""The report of one run: `report.json` (a public contract), a terminal table and one self-contained HTML file."""

from __future__ import annotations

from pipeline.report._inspected import render_inspection
from pipeline.report._json import json_object
from pipeline.report._model import ModelFacts, Report, StepRecord
from pipeline.report._table import render_table
from pipeline.report._write import write_report

__all__ = ["ModelFacts", "Report", "StepRecord", "json_object", "render_inspection", "render_table", "write_report"]
