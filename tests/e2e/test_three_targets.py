"""Microcontrollers through the installed command: beside other targets in one report, and before anything is tried."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.small import Command, report_of

pytestmark = pytest.mark.e2e

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
DATA = Path(__file__).resolve().parents[1] / "edge_targets" / "data"
TARGETS = "targets=[host, coral, microcontroller, {microcontroller: {label: bare, vela: no_such_vela}}]"


def test_a_run_on_three_targets_ends_in_one_report_and_a_missing_compiler_hurts_its_own(
    edgesmith: Command, tiny: Path
) -> None:
    recipe = tiny.with_name("plain.yaml")
    text = tiny.read_text()
    recipe.write_text(text[: text.index("  - prune")] + text[text.index("benchmark:") :])
    done = edgesmith("run", recipe, "--out", "out", "--set", TARGETS)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    report = report_of(edgesmith.home / "out")
    jsonschema.validate(report, json.loads((SCHEMAS / "report.schema.json").read_text("utf-8")))
    assert {row["target"] for row in report["measurements"]} == {"host", "coral", "microcontroller"}
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["parity.microcontroller"]["status"] == "pass"
    assert "no_such_vela" in checks["parity.bare"]["why"]
    failed = [name for name, check in checks.items() if check["status"] == "fail"]
    assert failed == ["parity.bare"]
    [int8] = [row for row in report["measurements"] if (row["target"], row["model"]) == ("microcontroller", "int8")]
    assert int8["provenance"] == "simulated"
    assert int8["arena_bytes"] > 1000
    assert {one["accelerator"] for one in int8["npu"]} >= {"ethos-u55-32", "ethos-u55-256", "ethos-u65-256"}
    page = (edgesmith.home / "out" / "report.html").read_text("utf-8")
    assert "ethos-u65-512 at 500 MHz" in page
    assert "ethos-u55-32 at 500 MHz" in done.stdout


def test_inspect_names_what_does_not_run(edgesmith: Command) -> None:
    done = edgesmith("inspect", DATA / "tiny_float32.tflite", "--target", "microcontroller", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((SCHEMAS / "inspect.schema.json").read_text("utf-8")))
    assert document["target"]["runs_on"] == {"cpu": 3}
    assert document["target"]["facts"]["arena_bytes"] > 0
    assert "works in floats" in document["target"]["notes"][0]
    assert all(row["remedy"] for row in document["operators"])
