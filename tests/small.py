"""Small real things that the rings of tests share: a recipe, its data, the installed command."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.ota import Parcel, unpack

TINY_RECIPE = """\
name: tiny
seed: 3
task: classification
data:
  npz: {path: tiny.npz, divide_by: 255, add_channel: true}
model: lenet5
stages:
  - train: {epochs: 2, batch_size: 32}
  - prune: {epochs: 2, batch_size: 32, sparsity: 0.5}
  - qat: {epochs: 1, batch_size: 32}
benchmark: {num_runs: 20, warmup_runs: 2, min_secs: 0, max_secs: 1}
"""


# A hang must end some time; how long a command takes is not the tests' question, and machines are busy.
MOST_S = 900


@dataclass(frozen=True)
class Command:
    """The installed command `edgesmith`, in a home of its own."""

    home: Path

    def start(self, *args: str | Path) -> subprocess.Popen[str]:
        """Start it; stderr is a pipe."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("edgesmith"), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )

    def __call__(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        process = self.start(*args)
        try:
            stdout, stderr = process.communicate(timeout=MOST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def digits(count: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Four classes of 16x16 images that a small model can tell apart: a bright bar in one of four places, and noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 4
    x = rng.integers(0, 80, (count, 16, 16))
    for index, label in enumerate(y):
        x[index, 4 * label : 4 * label + 3] += 150
    return x.astype(np.uint8), y.astype(np.uint8)


def write_tiny(folder: Path) -> Path:
    """A tiny data set and its recipe; returns the recipe."""
    (x_train, y_train), (x_test, y_test) = digits(320, 0), digits(80, 1)
    np.savez(folder / "tiny.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    recipe = folder / "tiny.yaml"
    recipe.write_text(TINY_RECIPE)
    return recipe


def report_of(out: Path) -> dict[str, Any]:
    """The report, once everything that it names is there and whole."""
    report: dict[str, Any] = json.loads(out.joinpath("report.json").read_text())
    model = out.joinpath(report["artifact"]["path"]).read_bytes()
    assert hashlib.sha256(model).hexdigest() == report["artifact"]["sha256"]
    assert len(model) == report["artifact"]["size_bytes"]
    codec = report["artifact"]["ota_codec"]
    assert unpack(Parcel(codec, out.joinpath(f"model.tflite.{codec}").read_bytes())) == model
    assert b"</html>" in out.joinpath("report.html").read_bytes()
    return report
