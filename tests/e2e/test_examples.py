"""The examples over real data: each recipe runs by one command and keeps its budgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small import Command, report_of

pytestmark = [pytest.mark.e2e]

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


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
