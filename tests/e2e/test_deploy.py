"""`edgesmith deploy` with the host as the device: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.edge_targets.stages import run_of_two_files
from tests.small import Command

pytestmark = [pytest.mark.e2e]

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "edge_targets" / "data"
SCHEMA = json.loads(ROOT.joinpath("docs", "schemas", "deploy.schema.json").read_text())


def told(edgesmith: Command, *args: str | Path, code: int = 0) -> dict[str, Any]:
    """The document, valid by its schema."""
    done = edgesmith("deploy", *args, "--target", "host", "--json")
    assert done.returncode == code, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    return document


def test_versions_of_a_model_on_the_host(edgesmith: Command) -> None:
    assert told(edgesmith, "--status", "--name", "net")["devices"][0]["status"] == "none"
    old = told(edgesmith, DATA / "tiny_float32.tflite", "--name", "net")
    new = told(edgesmith, DATA / "tiny_int8.tflite", "--name", "net", "--packed")
    [device] = new["devices"]
    assert device["status"] == "deployed"
    assert device["self_test"]["exact"]
    assert device["previous_sha256"] == old["model"]["sha256"]
    assert new["model"]["packed_bytes"] < new["model"]["size_bytes"]
    assert Path(device["path"]).read_bytes() == DATA.joinpath("tiny_int8.tflite").read_bytes()
    again = told(edgesmith, DATA / "tiny_int8.tflite", "--name", "net", "--packed")
    assert again["devices"][0]["status"] == "unchanged"
    back = edgesmith("deploy", "--rollback", "--name", "net", "--target", "host")
    assert back.returncode == 0
    assert back.stdout.startswith(f"host  rolled back {old['model']['sha256'][:12]} · before it: ")
    assert told(edgesmith, "--status", "--name", "net")["devices"][0]["sha256"] == old["model"]["sha256"]


def test_what_was_deployed_is_measured_where_it_was_taken(edgesmith: Command) -> None:
    document = told(edgesmith, DATA / "digits_int8.tflite", "--benchmark")
    [row] = document["benchmark"]["devices"]
    assert row["measurement"]["median_us"] > 0
    assert document["benchmark"]["model"]["sha256"] == document["devices"][0]["sha256"]


def test_a_model_in_two_files_is_deployed_and_measured(edgesmith: Command, tmp_path: Path) -> None:
    document = told(edgesmith, run_of_two_files(tmp_path / "run"), "--benchmark")
    [device] = document["devices"]
    assert device["self_test"]["why"].endswith("4 of 8 leave early, as they should")
    assert device["sha256"] == document["model"]["sha256"]
    measured = [document[name]["model"]["sha256"] for name in ("benchmark", "benchmark_rest")]
    assert measured == list(document["model"]["files"].values())
    tampered = run_of_two_files(tmp_path / "tampered")
    path = tampered / "cascade.json"
    path.write_text(path.read_text().replace("0.484", "0.3"))
    done = edgesmith("deploy", tampered, "--target", "host")
    assert done.returncode == 3
    assert "is 0.3, and report.json speaks of 0.484" in done.stderr
    assert "Traceback" not in done.stderr
    assert told(edgesmith, "--status", "--name", "net")["devices"][0]["sha256"] == device["sha256"]


def test_a_device_that_fails_is_exit_3_and_a_sentence(edgesmith: Command) -> None:
    document = told(edgesmith, "--rollback", "--name", "net", code=3)
    assert document["devices"][0]["status"] == "failed"
    spoken = edgesmith("deploy", "--rollback", "--name", "net", "--target", "host")
    assert spoken.returncode == 3
    assert "nothing was deployed under this name" in spoken.stdout
    assert "Traceback" not in spoken.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--target", "host"), "Missing argument"),
        (("--target", "host", "--rollback", "--status"), "alone"),
        (("--target", "host", "--rollback", "--packed"), "alone"),
        (("--target", "host", "--status"), "which model is meant"),
        (("--target", "host", "--status", "--name", "a b"), "cannot be the name"),
        (("--target", "host", "nowhere.tflite"), "There is no"),
    ],
)
def test_what_cannot_be_asked_is_exit_2(args: tuple[str, ...], words: str, edgesmith: Command) -> None:
    done = edgesmith("deploy", *args)
    assert done.returncode == 2
    assert words in done.stderr
    assert not done.stdout
