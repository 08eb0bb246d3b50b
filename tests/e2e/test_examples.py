"""The examples over real data: each recipe runs by one command and keeps its budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small import Command, report_of

pytestmark = [pytest.mark.e2e]

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
FSDD = EXAMPLES.parent.parent / "shared" / "data" / "fsdd_recordings.zip"


@pytest.mark.parametrize("name", ["wrist_gestures", "anomaly"])
def test_wrist_recordings(name: str, edgesmith: Command) -> None:
    done = edgesmith("run", EXAMPLES / f"{name}.yaml", "--out", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    report = report_of(edgesmith.home / "out")
    checks = {check["name"]: check["status"] for check in report["checks"]}
    assert checks["max_accuracy_drop"] == checks["min_accuracy"] == "pass"
    # The device scales each channel as training did.
    scale = report["data"]["preprocessing"]["normalise"]
    assert len(scale["mean"]) == len(scale["deviation"]) == len(report["data"]["preprocessing"]["channels"]) == 6


def test_without_the_extra_the_message_says_how_to_get_it(edgesmith: Command, tmp_path: Path) -> None:
    """Somebody's module of that name, without the recordings, is as good as none."""
    for name in ("wrist.py", "wrist_gestures.yaml"):
        (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    (tmp_path / "seglearn.py").write_text("")
    done = edgesmith("run", tmp_path / "wrist_gestures.yaml", "--out", "out")
    assert done.returncode == 2
    assert 'pip install "edgesmith[examples]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_keras_3_file_with_a_model_nested_in_it(edgesmith: Command) -> None:
    """The way of the transfer example, with an epoch a stage: what it then knows is not the question here."""
    shorter = [f"--set=stages.{stage}.epochs=1" for stage in ("train", "prune", "qat")]
    done = edgesmith("run", EXAMPLES / "transfer.yaml", "--out", "out", *shorter, "--set=budgets.max_accuracy_drop=1")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    report = report_of(edgesmith.home / "out")
    checks = {check["name"]: check["status"] for check in report["checks"]}
    assert checks["intake_difference"] == checks["int8_only"] == checks["kept_sparsity"] == "pass"
    taken_in = report["steps"][0]
    assert (taken_in["stage"], taken_in["notes"]["format"]) == ("intake", "Keras 3 .keras")
    assert taken_in["metrics"]["largest_difference"] <= 1e-5
    assert not report["steps"][-1]["notes"].get("post_training")


@pytest.mark.skipif(not FSDD.exists(), reason="the spoken digits (shared/data/fsdd_recordings.zip) are not here")
def test_spoken_digits(edgesmith: Command) -> None:
    """The way of the keyword example, from the sounds to the manifest, with few epochs."""
    shorter = ["--set=stages.train.epochs=4", "--set=stages.qat.epochs=1"]
    limits = ["--set=budgets.min_accuracy=0.2", "--set=budgets.max_accuracy_drop=1"]
    done = edgesmith("run", EXAMPLES / "keyword_spotting.yaml", "--out", "out", *shorter, *limits)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    report = report_of(edgesmith.home / "out")
    assert report["data"]["splits"]["test"] == 300  # the official split: five of each digit by each of six speakers
    manifest = json.loads((edgesmith.home / "out" / "manifest.json").read_text())
    assert manifest["preprocessing"] == report["data"]["preprocessing"]
    assert manifest["preprocessing"]["sample_rate_hz"] == 8000
    assert manifest["class_names"] == list("0123456789")
