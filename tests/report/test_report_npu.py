"""Microcontrollers in the report: memory, and a row for each accelerator."""

from __future__ import annotations

import io
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from pipeline.report._devices import device_rows
from pipeline.report._html import html_page
from pipeline.report._npu import memory, npu_rows
from pipeline.report._table import render_table
from tests.report.conftest import measurement, sample
from tests.report.documents import SCHEMA
from tests.report.test_report_html import Page

NPU: dict[str, Any] = {
    "accelerator": "ethos-u55-128",
    "system": "Ethos_U55_High_End_Embedded",
    "memory_mode": "Shared_Sram",
    "clock_hz": 500e6,
    "cycles": 89_884,
    "inference_us": 179.768,
    "inferences_per_s": 5562.7,
    "sram_bytes": 22_208,
    "flash_bytes": 31_248,
    "dram_bytes": 0,
    "on_npu": 14,
    "on_cpu": 2,
    "cpu_kinds": ["DEQUANTIZE", "QUANTIZE"],
}
NOTHING = {**NPU, "accelerator": "ethos-u65-256", "cycles": 0, "inference_us": None, "inferences_per_s": None}


@pytest.fixture
def document() -> dict[str, Any]:
    chip = {"target": "microcontroller", "provenance": "simulated", "runtime": "vela", "peak_rss_bytes": None}
    found = sample().to_json()
    row = measurement("int8", 0.0, **chip, arena_bytes=24_608, npu=[NPU, NOTHING])
    found["measurements"].append({**row, "median_us": None})
    jsonschema.validate(found, SCHEMA)
    return found


def test_each_accelerator_has_a_row(document: dict[str, Any]) -> None:
    first, second = npu_rows(tuple(document["measurements"]))
    assert first.cells == (
        *("int8", "ethos-u55-128 at 500 MHz", "89,884", "180 µs", "5,563", "22.2 kB", "31.2 kB", "0 B"),
        "2: DEQUANTIZE, QUANTIZE",
    )
    # Nothing runs there: no time is told, least of all none.
    assert second.cells[2:5] == ("–", "–", "–")


def test_memory_is_the_arena_where_no_process_was(document: dict[str, Any]) -> None:
    rows = {row.setup.target: row.memory for row in device_rows(document)}
    assert rows["microcontroller"] == "24.6 kB arena"
    assert "arena" not in rows["host"]
    assert memory({"peak_rss_bytes": None}) == "–"


def test_page_and_terminal_show_them(document: dict[str, Any]) -> None:
    text = " ".join(Page(html_page(document)).text.split())
    assert "ethos-u55-128 at 500 MHz" in text
    assert "operators on the CPU are in none of the times" in text
    out = io.StringIO()
    render_table(document, Console(file=out, width=80))
    assert "Calculated by Vela (simulated)" in out.getvalue()
    assert "QUANTIZE" in out.getvalue()
