"""`edgesmith compare` and `edgesmith history`, as a shell sees them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pipeline.history import History
from pipeline.report import write_report
from tests.report.conftest import sample
from tests.small import Command

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
INT8 = ROOT / "tests" / "edge_targets" / "data" / "tiny_int8.tflite"


def valid(text: str, schema: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    jsonschema.validate(document, json.loads((ROOT / "docs" / "schemas" / f"{schema}.schema.json").read_text("utf-8")))
    return document


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two finished runs; the second is 50 bytes larger."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write_report(sample(), folder)
    report = folders[1] / "report.json"
    document = json.loads(report.read_text("utf-8"))
    document["artifact"]["size_bytes"] += 50
    report.write_text(json.dumps(document), "utf-8")
    return str(folders[0]), str(folders[1])


def test_a_limit_decides_the_exit_code(runs: tuple[str, str], edgesmith: Command) -> None:
    done = edgesmith("compare", *runs, "--fail-if", "size > 0%", "--json")
    document = valid(done.stdout, "compare")
    assert (done.returncode, document["broken"]) == (1, ["size > 0%"])
    assert edgesmith("compare", *runs, "--fail-if", "size > 1%").returncode == 0


def test_two_models_are_measured_and_shown(tmp_path: Path, edgesmith: Command) -> None:
    twin = tmp_path / "twin.tflite"
    shutil.copy(INT8, twin)
    options = ("--launches", "8", "--num-runs", "5", "--min-secs", "0", "--max-secs", "0.05")
    done = edgesmith("compare", str(INT8), str(twin), *options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tiny_int8.tflite on host  against  twin.tflite on host"
    assert max(map(len, lines)) <= 80
    assert "same" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((str(INT8),), "make no comparison"),
        (("nowhere",), "make no comparison"),
        (("nowhere", "elsewhere"), "There is no report"),
        ((str(INT8), str(INT8), "--fail-if", "speed > 1"), "is no limit"),
        ((str(INT8), str(INT8), "--target", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_be_compared_is_told(arguments: tuple[str, ...], said: str, edgesmith: Command) -> None:
    done = edgesmith("compare", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_history_of_a_machine(tmp_path: Path, edgesmith: Command) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    document = sample().to_json()
    with History(url) as history:
        for _ in range(4):
            history.add(document, tmp_path)
        history.add({**document, "artifact": {**document["artifact"], "value": 0.9}}, tmp_path)
        history.add({**document, "recipe": "a_recipe_of_an_endless_name" * 4}, tmp_path)
    listed = valid(edgesmith("history", "--history", url, "--json").stdout, "history")
    assert [run["id"] for run in listed["runs"]] == [1, 2, 3, 4, 5, 6]
    shown = edgesmith("history", "--history", url).stdout
    assert re.search(r"^  6  2026-\S+ \d\d:\d\d  a_recipe_of_\S*…  ✓  \S+ %  \d+ kB  +\d+ kB$", shown, re.MULTILINE), (
        shown
    )
    assert max(map(len, shown.splitlines())) <= 80
    drawing = tmp_path / "figures.svg"
    done = edgesmith("history", "--history", url, "--regressions", "--plot", str(drawing))
    assert done.returncode == 1
    assert "worse" in done.stdout
    assert "accuracy" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert drawing.read_text("utf-8").startswith("<svg")


def test_an_empty_history_is_no_error(edgesmith: Command) -> None:
    done = edgesmith("history")
    assert done.returncode == 0
    assert "no run was kept yet" in done.stdout
    assert "no run of 'mnist' was kept" in edgesmith("history", "mnist").stdout
