"""A report of a model that is not int8 says so in every form, though measurements call every artifact int8."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from pipeline.comparison import compare_reports
from pipeline.report import _summary as summary
from pipeline.report import render_comparison, render_table
from pipeline.report._html import html_page, html_page_of_several
from pipeline.report._junit import junit
from pipeline.report._markdown import model_card, pull_request
from pipeline.report._table import render_runs
from tests.report.conftest import measurement, sample
from tests.report.documents import full, many, profile
from tests.report.test_report_npu import NPU
from tests.report.test_report_tasks import scored

PRECISIONS = ("int16x8", "float16", "dynamic", "int4")


def of(precision: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document of a model of that precision: only measurements, by which reports know it, still say int8."""
    row = '"model": "int8"'
    parts = json.dumps({**document, "mixed_precision": None}).split(row)
    made: dict[str, Any] = json.loads(row.join(part.replace("int8", precision) for part in parts))
    made["artifact"]["precision"] = precision
    return made


def on_a_chip(model: str) -> dict[str, Any]:
    chip = {"target": "chip", "provenance": "simulated", "arena_bytes": 24_608, "npu": [NPU]}
    return measurement(model, 90.0, **chip, energy_uj=3.5, energy_source="ina219", unstable="it drifted")


def everything() -> dict[str, Any]:
    """All that a page draws of one model: both kinds of charts of a task are in one document here."""
    found = full()
    found["measurements"].append(on_a_chip("int8"))
    for name in ("anomalies", "two numbers"):
        more = scored(sample(), name).to_json()
        for part in ("baseline", "artifact"):
            found[part]["details"] |= more[part]["details"]
    return found


def words_of(page: str) -> str:
    """What a reader sees or is read aloud."""
    seen = re.sub(r"(?s)<(style|script).*?</\1>", "", page)
    aloud = re.findall(r'(?:aria-label|title)="([^"]*)"', seen)
    return " ".join([re.sub(r"(?s)<[^>]*>", " ", seen), *aloud])


def printed(render: Callable[[Any, Console], None], document: Any) -> str:
    stream = io.StringIO()
    render(document, Console(file=stream, width=100))
    return stream.getvalue()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_form_calls_it_int8(precision: str) -> None:
    document, crowd = of(precision, everything()), of(precision, many(8, 3))
    forms = {
        "page": words_of(html_page(document)),
        "page of many devices": words_of(html_page(crowd)),
        "page of several": words_of(html_page_of_several([document, document])),
        "table": printed(render_table, document),
        "table of several": printed(render_runs, [document, document]),
        "card": model_card(document),
        "comment": pull_request([document]),
        "comment on several": pull_request([document, document]),
        "JUnit": junit([document]),
    }
    for name, text in forms.items():
        assert not re.search(r".{0,60}\bint8\b.{0,60}", text), name
    drawn = ("ROC curve", "Reconstruction error", "Predicted against true", "against latency", "Calculated by Vela")
    assert [what for what in drawn if what not in forms["page"]] == []
    # Nor is the word merely gone.
    for name in forms.keys() - {"JUnit"}:
        assert precision in forms[name], name


@pytest.mark.parametrize(("precision", "article"), [("int16x8", "An"), ("float16", "A"), ("dynamic", "A")])
def test_headings_name_it(precision: str, article: str) -> None:
    document = of(precision, full())
    page = html_page(document)
    assert f"{article} {precision} TensorFlow Lite model" in model_card(document)
    assert f"| | float32 | {precision} | |" in pull_request([document])
    assert f"| float32 | {precision} | {precision} is |" in pull_request([document])
    assert f'<h2 id="comparison">float32 and {precision}</h2>' in page
    assert f"Median latency, host. float32: 312 µs; {precision}: 61.3 µs" in page


def test_runs_of_two_precisions_are_told_apart() -> None:
    both = [of("float16", full()), {**full(), "recipe": "other"}]
    text = words_of(html_page_of_several(both))
    for told in ("float32 baseline", "artifact is", "mnist_demo, float16: 442 kB", "other, int8: 442 kB"):
        assert told in text
    assert re.search(r"mnist_demo +float16", printed(render_runs, both))
    assert "`other` | int8 |" in pull_request(both)


def test_kernels_that_the_model_chose_do_not_part_it_from_its_baseline() -> None:
    document = of("int16x8", full())
    rows = [measurement("float32", 6.0), measurement("int8", 120.0, kernels="builtin")]
    document["measurements"] = rows
    [setup] = summary.setups(document)
    assert setup.how == "ai_edge_litert 2.3.0, xnnpack kernels for float32, builtin kernels for int16x8, 1 thread"
    assert summary.headlines(document)[-1].change == "20.0× slower"
    # The same model with two kinds of kernels is two measurements, and neither stands for the other.
    document["measurements"] = [*rows, measurement("int8", 6.5)]
    assert [[row["median_us"] for row in each.rows] for each in summary.setups(document)] == [[6.0, 6.5], [120.0]]


def test_a_comparison_names_both_and_minds_no_kernels_that_the_models_chose() -> None:
    one, other = of("float16", full()), of("int16x8", full())
    for document, kernels in ((one, "xnnpack"), (other, "builtin")):
        document["measurements"] = [measurement("int8", 60.0, kernels=kernels)]
    found = compare_reports([one, other])
    assert (found["reasons"], found["rows"][0]["name"]) == ([], "median host")
    shown = printed(render_comparison, found)
    assert "mnist_demo, float16 (" in shown
    assert "mnist_demo, int16x8 (" in shown
    # Of one precision, other kernels are another setup.
    [reason] = compare_reports([other, {**other, "measurements": [measurement("int8", 6.0)]}])["reasons"]
    assert reason == "host: another kernels (builtin, xnnpack)"


def test_a_profile_names_it() -> None:
    document = of("int4", full())
    document["measurements"] = [measurement("int8", 50.0, profile=profile(4))]
    assert "int4 on host, by operator" in words_of(html_page(document))
