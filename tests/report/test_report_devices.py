"""Devices side by side, and where the time of an inference goes."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

from rich.console import Console

from pipeline.report._devices import conditions, device_rows, energy
from pipeline.report._html import html_page
from pipeline.report._markdown import pull_request
from pipeline.report._profile import FEWEST_ROWS, MOST_ROWS, profiles
from pipeline.report._table import render_table
from tests.report.documents import full, many, profile
from tests.report.test_report_html import Page


def rows_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row.setup.target: {**dataclasses.asdict(row), "origin": row.origin} for row in device_rows(document)}


def test_a_device_says_where_its_figures_come_from() -> None:
    rows = rows_of(full())
    assert rows["pi4"]["change"] == "2.8× faster"
    assert rows["pi4"]["origin"] == "device, unstable: the clock fell from 1.8 to 1.2 GHz"
    # No factor, and no place among the first: its latency means nothing.
    assert (rows["pico"]["change"], rows["pico"]["origin"]) == ("", "emulated: latency means nothing")
    assert list(rows)[-1] == "pico"


def test_what_slows_a_processor_is_told_before_and_after() -> None:
    row = next(row for row in full()["measurements"] if row.get("unstable"))
    assert conditions(row) == "clock 1,800 → 1,200 MHz, 51.2 → 80.2 °C, load 0.4, governor ondemand, throttled 20002"
    assert conditions({"before": None, "after": {"load": 1.0}}) == ""
    assert "before → after: clock 1,800" in " ".join(Page(html_page(full())).text.split())


def test_energy_is_told_where_it_was_read_and_nowhere_else() -> None:
    document = full()
    row = document["measurements"][-1]
    assert "inference (" not in Page(html_page(document)).text
    row |= {"energy_uj": 12.5, "energy_source": "ina219", "idle_mw": 2000.0}
    told = "12.5 µJ an inference (ina219)"
    assert energy(row) == told
    assert told in " ".join(Page(html_page(document)).text.split())
    [int8] = [one for one in document["measurements"] if one["target"] == "pi4" and one["model"] == "int8"]
    int8 |= {"energy_uj": 7.5, "energy_source": "ina226"}
    assert "Energy on `pi4`: 7.5 µJ an inference (ina226)\n" in pull_request([document])
    out = io.StringIO()
    render_table(document, Console(file=out, width=80))
    assert f"{row['model']}: {told}" in out.getvalue()
    assert energy(row | {"energy_uj": None}) == ""


def test_a_roofline_tells_compute_from_memory() -> None:
    [float32, _] = profiles(full())
    assert float32.has_bounds
    # The ridge is at half a multiply-accumulate a byte.
    assert [(row.macs_per_byte or 0) >= 0.5 for row in float32.rows] == [row.bound == "compute" for row in float32.rows]
    assert {row.bound for row in float32.rows} == {"compute", "memory"}
    row = float32.rows[3]
    assert (row.kind, row.us, row.gmacs_per_s) == ("FULLY_CONNECTED", 4.0, 15_000 / 4.0 / 1000)


def test_without_a_roofline_nothing_is_said_of_bounds() -> None:
    document = full()
    for row in document["measurements"]:
        row.pop("roofline", None)
    assert not any(each.has_bounds for each in profiles(document))
    assert "Bound by" not in html_page(document)


def test_of_many_profiles_the_slowest_operators_are_shown_and_the_rest_is_counted() -> None:
    found = profiles(many(50, 200))
    each = max(FEWEST_ROWS, MOST_ROWS // 100)
    assert len(found) == 100
    for one in found:
        assert len(one.rows) == each
        assert one.left_out == 200 - each
        shown = sum(row.share or 0 for row in one.rows)
        assert abs(shown + one.left_out_share - 1) < 1e-9
        # In the order in which they run, and none of those left out is slower.
        assert [row.index for row in one.rows] == sorted(row.index for row in one.rows)
        assert min(row.us or 0 for row in one.rows) >= 6


def test_an_operator_that_nobody_could_time_is_a_dash() -> None:
    document = full()
    unknown = {"us": None, "share": None, "macs": None, "bytes": None}
    document["measurements"] = [{**document["measurements"][0], "profile": [{**profile(1)[0], **unknown}]}]
    [one] = profiles(document)
    assert one.chart is None
    assert (one.rows[0].us, one.rows[0].macs_per_byte, one.rows[0].gmacs_per_s) == (None, None, None)
    assert "None" not in Page(html_page(document)).text
