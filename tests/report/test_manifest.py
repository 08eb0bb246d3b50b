"""manifest.json: enough for a stranger to feed the model, in the form that its schema promises."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from pipeline.report import Report, write_report

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "manifest.schema.json"


def test_the_manifest_is_what_its_schema_says(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    written = json.loads(tmp_path.joinpath("manifest.json").read_text())
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert written["model"]["sha256"] == report.artifact.sha256
    assert written["model"]["over_the_air"]["path"] == f"{report.artifact.path}.{report.artifact.ota_codec}"
    [tensor] = written["inputs"]
    assert (tensor["scale"], tensor["zero_point"]) == (
        report.artifact.inputs[0].scale,
        report.artifact.inputs[0].zero_point,
    )
    assert written["preprocessing"] == report.data.get("preprocessing", {})
