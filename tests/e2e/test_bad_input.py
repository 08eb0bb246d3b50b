"""What quantization after training cannot work with: a sentence, the right exit code, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.small import Command, digits, report_of

pytestmark = [pytest.mark.e2e]

ROOT = Path(__file__).resolve().parents[2]

# What decides lies far below one step of an input that a few values stretch to a million, as layers in float know too.
BUILDER = """\
import numpy as np
import tf_keras as keras


def build():
    layers = keras.layers
    model = keras.Sequential([layers.InputLayer((16, 16, 2)), layers.Flatten(), layers.Dense(4, name="logits")])
    kernel = np.zeros((16, 16, 2, 4))
    for label in range(4):
        kernel[4 * label, 5, 0, label] = 1
    model.get_layer("logits").kernel.assign(kernel.reshape(-1, 4))
    return model
"""


def shortened(recipe: Path, stages: str) -> str:
    """The recipe with other stages and without a device."""
    text = recipe.read_text("utf-8")
    head, rest = text[: text.index("stages:")], text[text.index("benchmark:") :]
    return f"{head}stages: {stages}\ntargets: []\n{rest}"


def test_a_package_that_is_missing_is_told_before_any_training(tiny: Path) -> None:
    packages = tiny.with_name("packages")
    packages.mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not path.name.startswith("ai_edge_quantizer"):
            packages.joinpath(path.name).symlink_to(path)
    tiny.write_text(shortened(tiny, "[train: {epochs: 1}]"), encoding="utf-8")
    choice = ["--set", "convert.backend=ai_edge_quantizer"]
    done = subprocess.run(
        # Without `site`, Python has the packages of the path alone.
        [sys.executable, "-S", Path(sys.executable).with_name("edgesmith"), "run", tiny, "--out", "out", *choice],
        capture_output=True,
        text=True,
        cwd=tiny.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(tiny.parent), "PYTHONPATH": f"{packages}:{ROOT}"},
        timeout=300,
        check=False,
    )
    assert (done.returncode, "train" in done.stderr, "Traceback" in done.stderr) == (2, False, False), done.stderr
    assert "takes the package ai-edge-quantizer, which is not installed" in done.stderr
    assert "to mend it: pip install 'edgesmith[aeq]'" in done.stderr


def test_an_operator_without_an_int16_kernel_costs_no_training(edgesmith: Command, tiny: Path) -> None:
    text = shortened(tiny, "[train: {epochs: 1, batch_size: 64}]").replace("model: lenet5", "model: kws_transformer")
    tiny.write_text(text, encoding="utf-8")
    done = edgesmith("run", tiny, "--out", "out", "--cache", "cache", "--set", "convert.precision=int16x8")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
    assert "no int16 kernel to rely on for the operator RSQRT of " in done.stderr
    assert "`convert.precision` to int8 or float16" in done.stderr
    assert not edgesmith.home.joinpath("out", "report.json").exists()
    # What was trained is there for the next run.
    assert [path for path in edgesmith.home.joinpath("cache").rglob("*") if path.is_file()]


def test_a_budget_that_no_choice_of_layers_meets_is_the_nearest_miss(edgesmith: Command, tiny: Path) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    for name, count, seed in (("train", 320, 0), ("test", 80, 1)):
        x, y = digits(count, seed)
        x = np.stack([x.astype(np.float32), np.full(x.shape, 7, np.float32)], -1)
        x[::2, 15, 15, 0] = 1e6
        arrays |= {f"x_{name}": x, f"y_{name}": y}
    np.savez(tiny.with_name("tiny.npz"), **arrays)
    tiny.with_name("builder.py").write_text(BUILDER)
    text = shortened(tiny, "[]").replace("model: lenet5", "model: builder.py:build").replace(", divide_by: 255", "")
    convert = "convert: {mixed_precision: {max_accuracy_drop: 0.01}, calibration_samples: 1}\n"
    tiny.write_text(text.replace(", add_channel: true", "") + convert, encoding="utf-8")
    done = edgesmith("run", tiny, "--out", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    for told in ("a single example gives every range", "1 of 2 input channel never changes: 1 (always 7)"):
        assert told in done.stderr
    report = report_of(edgesmith.home / "out")
    [miss] = [check for check in report["checks"] if check["status"] == "fail"]
    assert (miss["name"], miss["value"] > 0.5) == ("mixed_precision_drop", True)
    assert "no choice of layers is good enough, this one comes nearest" in miss["why"]
    mixed = report["mixed_precision"]
    assert mixed["evaluations"] <= mixed["most_evaluations"]
    assert mixed["size_bytes"] >= mixed["int8_size_bytes"] > 0
