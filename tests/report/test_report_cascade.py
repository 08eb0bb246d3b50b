"""A model in two stages: what every form of a report says of it, and what travels with the files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from pipeline.report import render_table
from pipeline.report._cascade import cascade_manifest, stage_table
from pipeline.report._html import html_page
from pipeline.report._markdown import model_card, pull_request
from pipeline.report._summary import headlines
from tests.report.documents import SCHEMA, full, in_two_stages

CASCADE = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "cascade.schema.json").read_text("utf-8"))


@pytest.fixture
def document() -> dict[str, Any]:
    found = in_two_stages()
    jsonschema.validate(found, SCHEMA)
    return found


def test_the_table_has_both_stages_and_their_average(document: dict[str, Any]) -> None:
    found = stage_table(document)
    assert found is not None
    assert [row.stage for row in found.rows] == ["early head", "the rest", "both, on average"]
    assert [row.macs for row in found.rows] == ["15.5 %", "87.4 %", "17.7 %"]
    assert [row.decides for row in found.rows] == ["97.5 %", "2.5 %", ""]
    assert [row.score for row in found.rows] == ["98.59 %", "99.25 %", "99.12 %"]
    assert [row.latency for row in found.rows] == ["21.6 µs", "19.5 µs", "22.1 µs"]
    assert "at least 77.16 % sure" in found.lead
    assert found.metric == "Accuracy"
    assert stage_table(full()) is None


def test_every_form_shows_it_and_none_where_there_is_one_file(document: dict[str, Any]) -> None:
    for shown in (terminal, lambda one: html_page(one).replace("<wbr>", ""), lambda one: pull_request([one])):
        assert all(word in shown(document) for word in ("Two stages", "model.rest.tflite", "22.1 µs"))
        assert "Two stages" not in shown(full())


def test_either_stage_is_called_by_the_precision_of_both(document: dict[str, Any]) -> None:
    document["artifact"]["precision"] = "int16x8"
    stages = [{**document["measurements"][0], "model": f"int8 {name}"} for name in ("early", "rest")]
    document["measurements"] = [document["measurements"][0], *stages]
    for shown in (terminal, lambda one: html_page(one).replace("<wbr>", "")):
        assert all(word in shown(document) for word in ("int16x8 early", "int16x8 rest"))
        assert not any(word in shown(document) for word in ("int8 early", "int8 rest"))


def test_it_fits_a_terminal_of_eighty_columns(document: dict[str, Any]) -> None:
    assert max(map(len, terminal(document).splitlines())) <= 80


def terminal(document: dict[str, Any]) -> str:
    text = io.StringIO()
    render_table(document, Console(file=text, width=80))
    return text.getvalue()


def test_the_headline_is_the_average_latency(document: dict[str, Any]) -> None:
    line = headlines(document)[-1]
    assert (line.label, line.after) == ("Average latency", "22.1 µs")
    assert "97.5 % of the test examples leave early" in line.note
    document["cascade"]["average_us"] = {}
    assert headlines(document)[-1].note == "no device or host was measured"


def test_what_travels_follows_its_schema(document: dict[str, Any]) -> None:
    told = cascade_manifest(document)
    jsonschema.validate(told, CASCADE)
    assert [stage["path"] for stage in told["stages"]] == ["model.tflite", "model.rest.tflite"]
    assert told["expect"]["exits"] == 0.9724


def test_the_same_files_run_again_are_the_same_version(document: dict[str, Any]) -> None:
    """A version is named by this file: with a date in it, a rerun would push the version before off the device."""
    again = {**document, "created": "2031-01-01T00:00:00Z", "seconds": 1.0}
    assert cascade_manifest(again) == cascade_manifest(document)


def test_the_card_says_how_to_run_two_files(document: dict[str, Any]) -> None:
    assert "run_cascade.py" in model_card(document)
    assert "Interpreter" not in model_card(document)


def test_stages_that_nobody_measured_are_dashes(document: dict[str, Any]) -> None:
    for stage in document["cascade"]["stages"]:
        stage["median_us"] = {}
    document["cascade"]["average_us"] = {}
    found = stage_table(document)
    assert found is not None
    assert {row.latency for row in found.rows} == {"–"}
    assert "Two stages" in html_page(document)
