"""What the page shows of each task: real figures of the tasks themselves, and nothing that stumbles over a gap."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pipeline.draft import Step
from pipeline.report import Report, StepRecord, write_report
from pipeline.task import Task
from pipeline.tasks.anomaly import Anomaly
from pipeline.tasks.classification import Classification
from pipeline.tasks.multi_label import MultiLabel
from pipeline.tasks.regression import Regression
from tests.report.test_report_html import Page
from tests.report.test_report_json import SCHEMA
from tests.report.test_report_table import drawn

RNG = np.random.default_rng(4)
FAULTY = np.arange(80) % 4 == 3
HELD_OUT = RNG.gamma(2, 0.01, 50).astype(np.float32)


def logits(classes: int, count: int = 200) -> tuple[Any, Any]:
    y = np.arange(count) % classes
    said = RNG.normal(0, 1, (count, classes)).astype(np.float32)
    said[np.arange(count), y] += 2
    return y, said


CASES: dict[str, tuple[Task, Any, Any]] = {
    "two classes": (Classification(), *logits(2)),
    "one class in the test split": (Classification(), np.zeros(20, int), RNG.normal(size=(20, 3)).astype(np.float32)),
    "twenty classes": (Classification(), *logits(20)),
    "forty classes": (Classification(), *logits(40)),
    "too many classes": (Classification(), *logits(101)),
    "labels": (MultiLabel(), np.eye(4, dtype=np.float32)[np.arange(40) % 4], RNG.normal(size=(40, 4)).astype("f")),
    "no label": (MultiLabel(), np.zeros((9, 2), np.float32), RNG.normal(size=(9, 2)).astype(np.float32)),
    "two numbers": (Regression(), RNG.normal(size=(50, 2)).astype(np.float32), RNG.normal(size=(50, 2)).astype("f")),
    "constant targets": (Regression(), np.ones((5, 1), np.float32), np.ones((5, 1), np.float32)),
    "anomalies": (Anomaly(), FAULTY.astype(int), RNG.gamma(2, 0.01 + 0.05 * FAULTY).astype(np.float32)),
    "no anomaly": (Anomaly(), np.zeros(80, int), np.full(80, 0.5, np.float32)),
}
CHARTS = {
    "two classes": 1, "twenty classes": 1, "forty classes": 1, "too many classes": 1, "labels": 1,
    "two numbers": 2, "constant targets": 1, "anomalies": 2, "no anomaly": 1,
}  # fmt: skip


def scored(report: Report, name: str) -> Report:
    """The sample with a task's own figures; int8 is a little off."""
    task, y, outputs = CASES[name]

    def facts(model: Any, said: Any) -> Any:
        more = task.operating_point(lambda: HELD_OUT, y, said)
        details = {**more, **task.details(y, said)}
        return dataclasses.replace(model, metric=task.metric, value=task.score(y, said), details=details)

    before, after = facts(report.baseline, outputs), facts(report.artifact, outputs * np.float32(0.97))
    return dataclasses.replace(report, baseline=before, artifact=after, data={"origin": "made up"})


def task_section(html: str) -> str:
    return html[html.index('<section aria-labelledby="task">') : html.index('<section aria-labelledby="training">')]


@pytest.mark.parametrize("name", CASES)
def test_every_task_is_drawn_and_follows_the_schema(report: Report, name: str, tmp_path: Path) -> None:
    changed = scored(report, name)
    write_report(changed, tmp_path)
    document = json.loads((tmp_path / "report.json").read_text("utf-8"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text("utf-8")), cls=jsonschema.Draft202012Validator)
    section = task_section((tmp_path / "report.html").read_text("utf-8"))
    page = Page(section)
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawings) == CHARTS.get(name, 0)
    assert all(len(svg["aria-label"]) > 30 for svg in drawings)
    assert not re.search(r"\b(nan|NaN|None|null|inf)\b", page.text + str([svg["aria-label"] for svg in drawings]))
    assert not re.search(r"\bid=\"(?!task|confusion)|url\(", section)
    assert max(map(len, drawn(changed).splitlines())) <= 80
    for note in changed.artifact.details.get("notes", []):
        assert note in page.text


def test_the_matrix_says_what_changed_and_colours_by_row(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    section = task_section((tmp_path / "report.html").read_text("utf-8"))
    matrix = re.findall(r'<table class="confusion.*?</table>', section, re.DOTALL)[0]
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', matrix, re.DOTALL)
    assert [name for name, _ in rows] == report.data["class_names"]
    three = re.findall(r'<td class="([^"]*)" style="--share: ([\d.]+)">(.*?)</td>', rows[3][1])
    assert three[3] == ("right", "0.97", "194 <small>−2</small>")
    assert three[5] == ("wrong", "0.03", "6 <small>+2</small>")
    assert three[0] == ("wrong none", "0.0", "0")


@pytest.mark.parametrize(("name", "matrix", "pairs"), [("twenty classes", 1, 0), ("forty classes", 0, 1)])
def test_of_many_classes_the_pairs_stand_in_the_matrix_place(
    report: Report, name: str, matrix: int, pairs: int, tmp_path: Path
) -> None:
    write_report(scored(report, name), tmp_path)
    section = task_section((tmp_path / "report.html").read_text("utf-8"))
    assert (section.count('<table class="confusion'), section.count("Confused most often</h3>")) == (matrix, pairs)


def test_a_row_shows_int8_and_what_changed(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    section = task_section((tmp_path / "report.html").read_text("utf-8"))
    cells = " ".join(Page(section.replace("</td>", " </td>")).text.split())
    assert "three 200 97.98 % −0.02 97.00 % −1.00 97.49 % −0.51 0.9995" in cells
    assert "F1 macro 98.55 % 98.40 %" in cells


def test_the_terminal_adds_the_three_most_telling_figures(report: Report) -> None:
    text = drawn(scored(report, "anomalies"))
    lines = text.split("\n\n")[1].splitlines()
    assert [line.split("  ")[1] for line in lines[-3:]] == [
        "Threshold",
        "Recall at threshold",
        "False positive rate at threshold",
    ]


def test_the_device_is_told_the_threshold(report: Report, tmp_path: Path) -> None:
    changed = scored(report, "anomalies")
    write_report(changed, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    jsonschema.validate(manifest, json.loads(SCHEMA.with_name("manifest.schema.json").read_text("utf-8")))
    assert manifest["threshold"] == changed.artifact.details["threshold"] > 0


def test_facts_of_any_depth_are_lists_of_terms(report: Report, tmp_path: Path) -> None:
    notes = {
        "trained": [f"conv_{k}" for k in range(150)],
        "post_training": {"batch_norm_7": "TFMOT has no configuration for it"},
        "folded": [{"layer": "rescaling", "into": "input"}],
        "empty": [],
    }
    step = Step("qat", {}, 1.0, notes=notes)
    data = {
        "origin": "made up",
        "preprocessing": {"log_mel": {"frame_ms": 30, "bands": [20, 4000]}},
        "notes": ["4 files are no recordings, and the recipe lets them be skipped: a.wav", "short"],
    }
    write_report(dataclasses.replace(report, steps=(StepRecord(step, cached=False),), data=data), tmp_path)
    html = (tmp_path / "report.html").read_text("utf-8").replace("<wbr>", "")
    assert "<summary>150: conv_0, conv_1, conv_2, conv_3 …</summary>" in html
    # Our own words are reworded, names of layers and settings are not.
    for term in ("post training", "batch_norm_7", "layer", "log_mel", "frame_ms"):
        assert f"<dt>{term}</dt>" in html
    assert "<dd>20, 4,000</dd>" in html
    assert "<li>4 files are no recordings, and the recipe lets them be skipped: a.wav</li>" in html
    assert "<dt>empty</dt>" not in html
