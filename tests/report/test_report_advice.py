"""How advice, the layers kept in float and each layer's error are shown; whatever stands in a stranger's report."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.report._advised import render_advice, render_mixed, sentences
from pipeline.report._error_charts import MOST_DRAWN, error_views
from pipeline.report._html import html_page
from pipeline.report._markdown import pull_request
from pipeline.report._read import completed
from tests.report.documents import full


def told(document: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=200)
    render_mixed(document, console)
    render_advice(document, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO, as given
    assert isinstance(text, str)
    return text


def test_every_form_of_the_report_gives_the_advice() -> None:
    document = full()
    for text in (told(document), html_page(document)):
        assert "choose the range without the few values far out" in text
        assert "convert: {calibration: percentile}" in text
        assert "Kept in float32: conv2." in text
    assert "| `dense1` | 29.4 dB |" in pull_request([document])


def test_nothing_is_said_where_nobody_asked() -> None:
    document = full() | {"advice": [], "mixed_precision": None}
    assert told(document) == ""
    assert "What int8 harms" not in html_page(document)
    assert "### Advice" not in pull_request([document])


def test_a_report_from_before_has_none_of_it() -> None:
    document = full()
    del document["advice"], document["mixed_precision"]
    for layer in document["layers"]:
        del layer["error"]
    page = html_page(completed(document))
    assert "Quantization error" not in page
    assert "What int8 harms" not in page


def test_layers_kept_in_int16_are_told_as_such() -> None:
    document = full()
    document["mixed_precision"] |= {"kept_in": "int16", "weight_bits": 16}
    for text in (told(document), html_page(document)):
        assert "Kept in int16: conv2." in text
        assert "two halves of int8" in text
        assert "points in int16" in text
    document["mixed_precision"] |= {"weight_bits": 8}
    assert "two halves" not in html_page(document)


def test_a_search_that_kept_nothing_says_so() -> None:
    found = sentences({**full()["mixed_precision"], "kept": []})
    assert found[0] == "Nothing had to be kept out of int8."
    assert "with these" not in found[1]
    assert not [sentence for sentence in found if "Against" in sentence]


def test_a_search_that_found_nothing_better_does_not_say_that_nothing_was_needed() -> None:
    mixed = {**full()["mixed_precision"], "kept": [], "float_value": 0.9, "max_accuracy_drop": 0.01}
    assert sentences({**mixed, "value": 0.3})[0].startswith("Nothing is kept out of int8: no choice of layers")
    assert sentences({**mixed, "value": 0.9 - 0.01})[0] == "Nothing had to be kept out of int8."
    assert sentences({**mixed, "value": None})[0] == "Nothing had to be kept out of int8."


def test_the_noisiest_layers_are_drawn_first_and_only_so_many() -> None:
    document = full()
    layer = document["layers"][2]
    document["layers"] = [{**layer, "name": f"layer{k}", "sqnr_db": float(100 - k)} for k in range(MOST_DRAWN + 6)]
    views = error_views(document)
    assert [view.chart.title for view in views[:2]] == [f"layer{MOST_DRAWN + 5}", f"layer{MOST_DRAWN + 4}"]
    assert len(views) == MOST_DRAWN
    assert "mean −0.0125, worst 0.61" in views[0].figures


@pytest.mark.parametrize(
    "odd",
    [
        {"bins": []},
        {"bins": [7]},
        {"bins": [0, 0]},
        {"bin_width": None},
        {"bin_width": 0},
        {"worst": None},
        {"mean": 9e9},
    ],
)
def test_an_error_that_makes_no_sense_breaks_no_page(odd: dict[str, Any]) -> None:
    document = full()
    document["layers"][2]["error"] |= odd
    assert "Layers" in html_page(document)
