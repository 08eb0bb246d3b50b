"""report.html: one file, nothing loaded, nothing injected, and something said in every place that could be empty."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import TensorSpec
from pipeline.check import Check, Layer
from pipeline.draft import Step
from pipeline.report import ModelFacts, Report, StepRecord, write_report
from pipeline.report._html import _settings

EVIL = "</script></style>\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 913*7 }}&lt;"


class Page(HTMLParser):
    """What a browser makes of the page: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def html_of(report: Report, folder: Path) -> str:
    write_report(report, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def without(report: Report, **changed: Any) -> Report:
    return dataclasses.replace(report, **changed)


def evil_model() -> ModelFacts:
    tensor = TensorSpec(EVIL, (1, 2), EVIL, 0.5, 3)
    return ModelFacts(EVIL, EVIL, 1000, 500, EVIL, EVIL, 0.5, {EVIL: EVIL}, (tensor,), (tensor,))


def evil_report() -> Report:
    """A script in every string there is."""
    step = Step(EVIL, {EVIL: EVIL}, 1.0, {EVIL: 1.0}, {EVIL: [1.0, 2.0], f"val_{EVIL}": [1.0, 2.0]}, {EVIL: 1.0})
    measurement = {
        "target": EVIL,
        "model": "int8",
        "provenance": "host",
        "runtime": EVIL,
        "runtime_version": EVIL,
        "kernels": EVIL,
        "threads": 1,
        "median_us": 1.0,
        "device": {EVIL: EVIL},
    }
    odd_one = {**measurement, "provenance": EVIL, "model": EVIL}
    return Report(
        recipe=EVIL,
        recipe_text=EVIL,
        created=EVIL,
        versions={EVIL: EVIL},
        data={"origin": EVIL, EVIL: {EVIL: [EVIL]}},
        baseline=evil_model(),
        artifact=evil_model(),
        steps=(StepRecord(step, cached=True),),
        checks=(Check(EVIL, 1, 2, EVIL, "pass", EVIL), Check.not_measured(EVIL, 1, EVIL, EVIL)),
        layers=(Layer(EVIL, EVIL, 1, 0.5, 1, 8),),
        measurements=(measurement, odd_one),
        seconds=1.0,
        command=EVIL,
    )


def test_the_page_loads_nothing(report: Report, tmp_path: Path) -> None:
    html = html_of(report, tmp_path)
    page = Page(html)
    loading = {"src", "srcset", "href", "xlink:href", "data", "poster", "action", "background"}
    assert not [(tag, attributes) for tag, attributes in page.tags if loading & attributes.keys()]
    assert not page.all("link")
    assert "@import" not in html
    assert "url(" not in html
    # Only the names of XML vocabularies look like addresses, and nothing loads those.
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_page_forbids_itself_to_load_and_allows_one_script(report: Report, tmp_path: Path) -> None:
    html = html_of(report, tmp_path)
    policy = next(
        meta["content"] for meta in Page(html).all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_no_text_can_become_a_part_of_the_page(report: Report, tmp_path: Path) -> None:
    calm, evil = Page(html_of(report, tmp_path)), Page(html_of(evil_report(), tmp_path))
    for tag in ("script", "style"):
        assert len(evil.all(tag)) == len(calm.all(tag)) == 1
    assert not evil.all("img")
    assert not [attributes for _, attributes in evil.tags if any(name.startswith("on") for name in attributes)]
    assert "6391" not in evil.text
    # It is all still there to be read: recipe, command, layers, checks, charts, ...
    assert evil.text.count("<script>alert(1)</script>") > 30


def test_what_looks_like_markup_in_a_chart_is_text(tmp_path: Path) -> None:
    html = html_of(evil_report(), tmp_path)
    drawings = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", html, re.DOTALL)
    assert drawings
    assert not [drawing for drawing in drawings if "<script" in drawing or "<img" in drawing]


def test_charts_have_words_and_clash_in_nothing(report: Report, tmp_path: Path) -> None:
    html = html_of(report, tmp_path)
    labels = [svg["aria-label"] for svg in Page(html).all("svg") if svg.get("role") == "img"]
    assert labels == [
        "Size. float32: 1.73 MB; float32, over the air: 1.60 MB; int8: 442 kB; int8, over the air: 118 kB",
        "Accuracy. float32: 98.55 %; int8: 98.40 %",
        "Median latency, host. float32: 312 µs; int8: 61.3 µs",
        "Accuracy against size. float32: 1.73 MB, 98.55 %; int8: 442 kB, 98.40 %",
        "Accuracy against latency. host, float32: 312 µs, 98.55 %; host, int8: 61.3 µs, 98.40 %",
        "ROC curve, mean over the classes. float32: AUC 0.9996; int8: AUC 0.9995. "
        "int8 finds 99.2 % at no more than 5 % false positives",
        "Loss. train, training: from 0.412 to 0.02102; train, validation: from 0.2554 to 0.03897; "
        "prune, training: from 0.131 to 0.0154; prune, validation: from 0.08122 to 0.02739; "
        "qat, training: from 0.048 to 0.02279; qat, validation: from 0.02976 to 0.03315",
        "Accuracy. train, training: from 0.871 to 0.9942; train, validation: from 0.908 to 0.9833; "
        "prune, training: from 0.958 to 0.9958; prune, validation: from 0.9695 to 0.985; "
        "qat, training: from 0.986 to 0.9936; qat, validation: from 0.9887 to 0.9849",
        "dense1. Float minus dequantized: mean −0.0125, worst 0.61; "
        "98.0 % of the values err by no more than half of the worst",
    ]
    drawings = re.findall(r"<svg [^>]*role=\"img\".*?</svg>", html, re.DOTALL)
    assert not [drawing for drawing in drawings if re.search(r"\bid=|url\(", drawing)]
    ids = [attributes["id"] for _, attributes in Page(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_charts_follow_the_colours_of_the_page(report: Report, tmp_path: Path) -> None:
    """A fixed colour would be unreadable in the dark or in the light."""
    html = html_of(report, tmp_path)
    drawings = "".join(re.findall(r"<svg [^>]*role=\"img\".*?</svg>", html, re.DOTALL))
    paints = set(re.findall(r'(?:fill|stroke)="([^"]*)"', drawings))
    assert {paint for paint in paints if not paint.startswith("var(--")} <= {"none", "transparent"}
    used = {name for paint in paints for name in re.findall(r"var\((--[\w-]+)\)", paint)}
    light, dark = html.split("@media (prefers-color-scheme: dark)")[:2]
    for name in used:
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_every_label_points_at_something(report: Report, tmp_path: Path) -> None:
    page = Page(html_of(report, tmp_path))
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes} <= ids


def test_a_layer_table_can_be_sorted_by_the_exact_figures(report: Report, tmp_path: Path) -> None:
    page = Page(html_of(report, tmp_path))
    assert len([button for button in page.all("button") if "data-sort" in button]) == 9 + 6 + 4
    values = [cell["data-value"] for cell in page.all("td") if "data-value" in cell]
    # A class goes by its number, which is not its name's place in the alphabet.
    assert values[6:12] == ["1", "200", "1.0", "1.0", "1.0", "0.9995"]
    # conv2's row, then its neighbour without an SQNR: that one has nothing to be sorted by.
    place = values.index("1600000")
    assert values[place : place + 7] == ["1600000", "25600", "25000", "0.85", "168", "8", "31.87"]
    assert values[-1] == ""


def test_before_and_after_stand_at_the_top(report: Report, tmp_path: Path) -> None:
    text = " ".join(Page(html_of(report, tmp_path)).text.split())
    for card in (
        "Size 3.9× smaller 1.73 MB → 442 kB",
        "Over the air 14.6× smaller 1.73 MB → 118 kB compressed with xz, against the raw float32 file",
        "Accuracy −0.15 points 98.55 % → 98.40 % on 2,000 test examples",
        "Median latency 5.1× faster 312 µs → 61.3 µs on host, ai_edge_litert 2.3.0, xnnpack kernels, 1 thread",
    ):
        assert card in text


def test_all_that_is_needed_to_run_it_again_is_there(report: Report, tmp_path: Path) -> None:
    text = Page(html_of(report, tmp_path)).text
    assert report.command in text
    assert report.recipe_text in text
    assert report.artifact.sha256 in text
    assert report.baseline.sha256 in text
    assert report.data["fingerprint"] in text
    for name, version in report.versions.items():
        assert name in text
        assert version in text


def test_a_report_without_measurements_steps_layers_and_checks(report: Report, tmp_path: Path) -> None:
    bare = without(report, measurements=(), steps=(), layers=(), checks=(), versions={}, data={})
    text = " ".join(Page(html_of(bare, tmp_path)).text.split())
    assert "Nothing was checked" in text
    assert "Median latency – – → – no device or host was measured" in text
    assert "The recipe sets no budgets and no stage made a promise." in text
    assert "No target was measured." in text
    assert "Training" not in text
    assert "Layers" not in text


def test_a_stage_without_curves_and_promises_keeps_its_row(report: Report, tmp_path: Path) -> None:
    step = Step("cluster", {"clusters": 16}, 2.0)
    page = Page(html_of(without(report, steps=(StepRecord(step, cached=False),)), tmp_path))
    assert "1 cluster" in page.text
    assert "side by side" not in page.text
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 7


def test_figures_that_are_no_numbers_are_dashes(report: Report, tmp_path: Path) -> None:
    nan = math.nan
    step = Step("train", {}, nan, {"loss": nan}, {"loss": [nan, nan], "accuracy": [0.5, nan, 0.7]})
    changed = without(
        report,
        artifact=dataclasses.replace(report.artifact, value=nan),
        steps=(StepRecord(step, cached=False),),
        checks=(Check("min_accuracy", nan, 0.9, "share", "fail"),),
        layers=(dataclasses.replace(report.layers[0], sparsity=nan, sqnr_db=nan),),
        measurements=({**report.measurements[1], "median_us": nan, "p90_us": None, "median_ci_us": [nan, nan]},),
        seconds=nan,
    )
    html = html_of(changed, tmp_path)
    labels = [svg["aria-label"] for svg in Page(html).all("svg") if svg.get("role") == "img"]
    text = Page(re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)).text
    assert not re.search(r"\b(nan|NaN|None|null|inf)\b", text + " ".join(labels))
    assert "Accuracy – 98.55 % → –" in " ".join(text.split())
    # No loss was a number, so there is no chart of it; two of three accuracies were.
    assert labels[-1] == "Accuracy. train, training: from 0.5 to 0.7"


def test_latency_that_means_nothing_is_not_drawn_and_says_so(report: Report, tmp_path: Path) -> None:
    emulated = tuple({**row, "target": "pi", "provenance": "emulated"} for row in report.measurements)
    html = html_of(without(report, measurements=emulated), tmp_path)
    assert "Median latency, pi" not in html
    assert "outputs mean something, latency does not" in html
    assert '<span class="badge untimed">emulated</span>' in html
    assert '<span class="badge timed">' not in html


def test_a_name_may_break_where_a_reader_would_break_it(report: Report, tmp_path: Path) -> None:
    assert "max_<wbr>median_<wbr>us.<wbr>raspberry_<wbr>pi" in html_of(report, tmp_path)


@pytest.mark.parametrize("epochs", [1, 200])
def test_short_and_long_trainings_are_drawn(report: Report, epochs: int, tmp_path: Path) -> None:
    curve = [1000.0 / (epoch + 1) ** 3 for epoch in range(epochs)]
    step = Step("train", {}, 1.0, {}, {"loss": curve})
    html = html_of(without(report, steps=(StepRecord(step, cached=False),)), tmp_path)
    drawing = next(svg for svg in re.findall(r"<svg [^>]*role=\"img\".*?</svg>", html, re.DOTALL) if "Loss." in svg)
    # One epoch is a point; two hundred are a line without points, which would run into each other.
    assert ("mark-symbol" in drawing) is (epochs == 1)
    assert "mark-line" in drawing


def test_an_endless_training_is_a_whole_curve_and_not_a_page_of_megabytes(report: Report, tmp_path: Path) -> None:
    curve = [1 + 1 / (epoch + 1) for epoch in range(100_000)]
    step = Step("train", {}, 1.0, {}, {"loss": curve})
    html = html_of(without(report, steps=(StepRecord(step, cached=False),)), tmp_path)
    assert len(html) < 200_000
    assert "Loss. train, training: from 2 to 1" in html
    assert ">80000</text>" in html


def test_settings_of_a_stage_that_are_off_are_not_told() -> None:
    schedule = {"warmup_epochs": 2.0, "end_share": None}
    assert _settings({"epochs": 3, "nesterov": False, "schedule": schedule}) == "epochs 3, schedule warmup_epochs 2"
    assert _settings({"epochs": 3, "schedule": dict.fromkeys(schedule), "momentum": None}) == "epochs 3"
