"""A run in MLflow: the real client, and a store of its own in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.report import Report, write_report
from tests.report.conftest import sample

ROOT = Path(__file__).resolve().parent.parent

# MLflow warns of its own parts, and keeps global state: a process of its own has both to itself.
SCRIPT = """
import json, sys
from pathlib import Path
from pipeline.tracking import log_to_mlflow
folder = Path(sys.argv[1])
run = log_to_mlflow(json.loads((folder / "report.json").read_text()), folder)
import mlflow
found = mlflow.get_run(run)
files = [each.path for each in mlflow.artifacts.list_artifacts(run_id=run)]
print(json.dumps({"params": found.data.params, "metrics": found.data.metrics, "tags": found.data.tags, "files": files}))
"""


def logged(folder: Path, uri: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_ALLOW_FILE_STORE": "true"}
    env["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    argv = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_settings_figures_and_files_arrive(tmp_path: Path) -> None:
    report: Report = sample()
    folder = tmp_path / "run"
    folder.mkdir()
    write_report(report, folder)
    done = logged(folder, (tmp_path / "store").as_uri())
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["metrics"]["artifact.size_bytes"] == report.artifact.size_bytes
    assert found["metrics"]["baseline.accuracy"] == report.baseline.value
    assert found["params"]["recipe"] == report.recipe
    assert any(name.startswith("2.prune.") for name in found["params"])
    assert found["tags"]["sha256"] == report.artifact.sha256
    assert "report.json" in found["files"]


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    write_report(sample(), tmp_path)
    done = logged(tmp_path, "http://127.0.0.1:9")
    assert done.returncode != 0
    assert "MLflow did not take the run" in done.stderr.splitlines()[-3]
