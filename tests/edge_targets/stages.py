"""A run's folder with a small model in two stages, without the run."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from edge_targets._cascade_file import CASCADE, FIRST, REST, RUN_CASCADE, run_cascade_script

DATA = Path(__file__).parent / "data"
STAGES = {FIRST: DATA / "stages_first_int8.tflite", REST: DATA / "stages_rest_int8.tflite"}
# Of the noise that golden vectors are made from, some leave early with it and some do not.
THRESHOLD = 0.484


def run_of_two_files(folder: Path, threshold: float = THRESHOLD) -> Path:
    """A folder as `edgesmith run` leaves it after `early_exit`."""
    folder.mkdir()
    for name, model in STAGES.items():
        shutil.copy(model, folder / name)
    stages = [
        {"path": name, "sha256": hashlib.sha256(model.read_bytes()).hexdigest()} for name, model in STAGES.items()
    ]
    told = {"threshold": threshold, "stages": stages}
    report = {"recipe": "net", "artifact": {"sha256": stages[0]["sha256"]}, "cascade": told}
    folder.joinpath(CASCADE).write_text(json.dumps({"schema": 1, **told}))
    folder.joinpath("report.json").write_text(json.dumps(report))
    folder.joinpath("manifest.json").write_text("{}")
    folder.joinpath(RUN_CASCADE).write_bytes(run_cascade_script())
    return folder
