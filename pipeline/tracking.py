"""A run in MLflow: its settings as parameters, its figures as metrics, its files as artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import EdgesmithError, UsageError

EXPERIMENT = "edgesmith"

_INSTALL = "pip install 'edgesmith[mlflow]'"

MOST_PARAMETER = 500
"""Characters that every MLflow server takes of a parameter."""


def log_to_mlflow(report: Mapping[str, Any], folder: Path) -> str:
    """Log a finished run to the server that `MLFLOW_TRACKING_URI` names, or as MLflow's own settings say.

    Args:
        report: the document of report.json.
        folder: the run's folder; all files in it become artifacts.

    Returns:
        MLflow's id of the run.

    Raises:
        UsageError: MLflow is not installed.
        EdgesmithError: MLflow could not take it.
    """
    try:
        import mlflow
    except ImportError as error:
        raise UsageError("To log a run to MLflow takes MLflow.", mend=f"install it: {_INSTALL}") from error
    try:
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(run_name=report["recipe"]) as run:
            mlflow.log_params(dict(_parameters(report)))
            mlflow.log_metrics(dict(_metrics(report)))
            mlflow.set_tags({"ok": str(report["ok"]).lower(), "sha256": report["artifact"]["sha256"]})
            mlflow.log_artifacts(str(folder))
        return str(run.info.run_id)
    # A tracking server can fail in any way that networks, disks and other people's code can.
    except Exception as error:
        # Its stores import their own parts, when they are used.
        incomplete = isinstance(error, ImportError)
        reason = " ".join(str(error).split())[:300]
        raise EdgesmithError(
            f"MLflow did not take the run: {reason}.",
            expected="a tracking server that answers",
            mend=f"{_INSTALL if incomplete else 'look at MLFLOW_TRACKING_URI'}; the run itself is whole in its folder",
        ) from error


def _parameters(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "recipe", report["recipe"]
    for place, step in enumerate(report["steps"], start=1):
        for name, value in step["settings"].items():
            yield f"{place}.{step['stage']}.{name}", str(value)[:MOST_PARAMETER]


def _metrics(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for side in ("baseline", "artifact"):
        facts = report[side]
        figures = {"size_bytes": facts["size_bytes"], "ota_bytes": facts["ota_bytes"], facts["metric"]: facts["value"]}
        yield from ((f"{side}.{name}", float(value)) for name, value in figures.items() if value is not None)
    for row in report["measurements"]:
        if row["median_us"] is not None:
            # MLflow's names know letters, digits, and few signs.
            target = "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in str(row["target"]))
            yield f"median_us.{target}.{row['model']}", float(row["median_us"])
