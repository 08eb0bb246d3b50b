"""What the intake of a MobileNetV2 costs beyond loading it: both in fresh processes, in one run.

    python benchmarks/intake.py [--runs 3]

Loading alone is Keras 3's load_model in a process of its own, the import of Keras included: what anybody pays. The
intake is `take_in`: its child loads the file too, makes it flat and proves it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.intake import Fit, ModelSource, take_in
from pipeline.progress import Progress

SAVE = """
import sys, keras
keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), classes=10).save(sys.argv[1])
"""
LOAD = "import sys, keras; print(len(keras.saving.load_model(sys.argv[1], compile=False).layers))"


def main() -> None:
    """Measure, and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mobilenet_v2.keras")
        _python(SAVE, path)
        # One after the other, so that a noisy moment hits both.
        seconds = [(_loading_s(path), _intake_s(path)) for _ in range(runs)]
    loading, intake = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"loading alone   {loading:6.2f} s")
    print(f"whole intake    {intake:6.2f} s")
    print(f"beyond loading  {intake - loading:6.2f} s, {intake / loading:.2f} times as long (median of {runs})")


def _loading_s(path: Path) -> float:
    started = time.perf_counter()
    _python(LOAD, path)
    return time.perf_counter() - started


def _intake_s(path: Path) -> float:
    started = time.perf_counter()
    draft = take_in(ModelSource(path), Fit((96, 96, 3), 10, (10,)), seed=0, progress=Progress())
    seconds = time.perf_counter() - started
    notes = draft.steps[0].notes
    print(f"{notes['layers']} layers; {notes['proven']}")
    return seconds


def _python(code: str, path: Path) -> None:
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, env=environment)


if __name__ == "__main__":
    main()
