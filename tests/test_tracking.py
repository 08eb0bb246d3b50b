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


def logged(folder: Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "PYTHONPATH": str(ROOT), **variables}
    argv = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_settings_figures_and_files_arrive(tmp_path: Path) -> None:
    report: Report = sample()
    folder = tmp_path / "run"
    folder.mkdir()
    write_report(report, folder)
    # Without a server it is MLflow's own database, in the folder that one works in.
    done = logged(folder, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["metrics"]["artifact.size_bytes"] == report.artifact.size_bytes
    assert found["metrics"]["baseline.accuracy"] == report.baseline.value
    assert found["params"]["recipe"] == report.recipe
    assert any(name.startswith("2.prune.") for name in found["params"])
    assert found["tags"]["sha256"] == report.artifact.sha256
    assert "report.json" in found["files"]
    assert (tmp_path / "mlflow.db").is_file()


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    write_report(sample(), tmp_path)
    done = logged(tmp_path, tmp_path, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode != 0
    assert "MLflow did not take the run" in done.stderr.splitlines()[-3]


def test_a_part_that_mlflow_misses_names_what_brings_it(tmp_path: Path) -> None:
    write_report(sample(), tmp_path)
    (tmp_path / "alembic.py").write_text("raise ModuleNotFoundError(\"No module named 'alembic'\")")
    done = logged(tmp_path, tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert done.returncode != 0
    assert "No module named 'alembic'" in done.stderr
    assert "pip install 'edgesmith[mlflow]'" in done.stderr
