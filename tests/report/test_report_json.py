"""report.json: the public contract, to the letter."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pipeline.check import Check
from pipeline.draft import Step
from pipeline.errors import StorageError
from pipeline.report import Report, StepRecord, write_report

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "report.schema.json"

# What DESIGN.md promised to the world; these keys can never go.
CONTRACT = {
    "": {
        "schema",
        "recipe",
        "ok",
        "created",
        "versions",
        "baseline",
        "artifact",
        "steps",
        "checks",
        "layers",
        "measurements",
    },
    "baseline": {"size_bytes", "ota_bytes", "metric", "value"},
    "artifact": {"path", "sha256", "size_bytes", "ota_bytes", "metric", "value", "inputs", "outputs"},
    "steps": {"stage", "settings", "seconds", "cached", "metrics"},
    "checks": {"name", "value", "limit", "unit", "status", "why"},
    "layers": {"name", "kind", "weights", "sparsity", "distinct", "bits", "sqnr_db"},
}


def valid(document: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


def written(report: Report, folder: Path) -> dict[str, Any]:
    """The report as a strict JSON reader finds it on the disk."""
    write_report(report, folder)

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    document: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"), parse_constant=refuse)
    return document


def test_the_file_is_what_it_was(report: Report, golden: Callable[[str, str], None], tmp_path: Path) -> None:
    write_report(report, tmp_path)
    golden("report.json", (tmp_path / "report.json").read_text(encoding="utf-8"))


def test_the_sample_follows_the_published_schema(report: Report, tmp_path: Path) -> None:
    valid(written(report, tmp_path))


def test_the_file_is_what_the_json_option_prints(report: Report, tmp_path: Path) -> None:
    assert written(report, tmp_path) == report.to_json()


def test_every_key_of_the_contract_is_there(report: Report) -> None:
    document = report.to_json()
    for place, keys in CONTRACT.items():
        part = document[place] if place else document
        for thing in part if isinstance(part, list) else [part]:
            assert keys <= thing.keys(), place


def test_factors_compare_with_the_raw_float_file(report: Report) -> None:
    document = report.to_json()
    assert document["size_factor"] == 1_729_344 / 441_872
    # Never with the compressed float file.
    assert document["ota_factor"] == 1_729_344 / 118_304


@pytest.mark.parametrize(("status", "ok"), [("pass", True), ("not measured", True), ("fail", False)])
def test_only_a_failed_check_makes_a_report_not_ok(report: Report, status: Any, ok: bool) -> None:
    checks = (*report.checks, Check("one_more", 1, 1, "", status))
    changed = dataclasses.replace(report, checks=checks)
    assert changed.ok is ok
    assert changed.to_json()["ok"] is ok


def test_a_report_with_a_failed_check_follows_the_schema(report: Report, tmp_path: Path) -> None:
    valid(written(dataclasses.replace(report, checks=(Check.at_most("max_size_bytes", 2, 1, "bytes"),)), tmp_path))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_number_that_is_none_becomes_null(report: Report, odd: float, tmp_path: Path) -> None:
    step = Step("train", {}, 1.0, {"loss": odd}, {"loss": [1.0, odd]})
    changed = dataclasses.replace(
        report,
        artifact=dataclasses.replace(report.artifact, value=odd),
        steps=(StepRecord(step, cached=False),),
        layers=(dataclasses.replace(report.layers[0], sqnr_db=odd),),
        measurements=({**report.measurements[0], "p99_us": odd},),
    )
    document = written(changed, tmp_path)
    valid(document)
    assert document["artifact"]["value"] is None
    assert document["steps"][0]["metrics"] == {"loss": None}
    assert document["steps"][0]["curves"] == {"loss": [1.0, None]}
    assert document["layers"][0]["sqnr_db"] is None
    assert document["measurements"][0]["p99_us"] is None


def test_numbers_of_numpy_become_plain_ones(report: Report) -> None:
    details = {"count": np.int64(7), "share": np.float32(0.5), "sure": True, "rows": (np.int8(1), 2)}
    changed = dataclasses.replace(report, artifact=dataclasses.replace(report.artifact, details=details))
    document = changed.to_json()["artifact"]["details"]
    assert json.dumps(document) == '{"count": 7, "share": 0.5, "sure": true, "rows": [1, 2]}'


def test_a_row_of_numbers_is_one_line_and_text_is_left_alone(report: Report, tmp_path: Path) -> None:
    odd = {"rows": [[1, -2.5e-9, None], [1e300, 0, 3]], "text": "[\n 1,\n 2\n]", "names": ["a"], "none": []}
    document = written(dataclasses.replace(report, data=odd), tmp_path)
    assert document["data"] == odd
    text = (tmp_path / "report.json").read_text("utf-8")
    assert "      [1, -2.5e-09, null],\n      [1e+300, 0, 3]\n" in text


def test_what_has_no_json_form_is_refused_by_name(report: Report) -> None:
    changed = dataclasses.replace(report, data={"origin": object()})
    with pytest.raises(TypeError, match="object has no JSON form"):
        changed.to_json()


def test_a_file_name_in_an_odd_encoding_does_not_stop_the_report(report: Report, tmp_path: Path) -> None:
    odd = b"data-\xff.npz".decode("utf-8", "surrogateescape")
    document = written(dataclasses.replace(report, data={"origin": odd}), tmp_path)
    assert document["data"]["origin"] == "data-?.npz"


def test_an_older_report_stays_whole_when_the_new_one_cannot_be_written(report: Report, tmp_path: Path) -> None:
    before = written(report, tmp_path)
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()  # no file can take the place of a folder
    with pytest.raises(StorageError, match=r"report\.html"):
        write_report(dataclasses.replace(report, recipe="another"), tmp_path)
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["manifest.json", "report.html", "report.json"]


def test_the_json_comes_last(report: Report, tmp_path: Path) -> None:
    """Whoever sees the JSON may rely on the page: where the JSON cannot be written, the page was there before."""
    (tmp_path / "report.json").mkdir()
    with pytest.raises(StorageError, match=r"report\.json"):
        write_report(report, tmp_path)
    assert (tmp_path / "report.html").is_file()
