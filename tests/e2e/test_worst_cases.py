"""The worst that quantization does to a model in silence ends a run with exit 1, and the report says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small import Command, report_of

pytestmark = [pytest.mark.e2e]

BUILDER = """\
import numpy as np
import tf_keras as keras


def build():
    layers = keras.layers
    model = keras.Sequential([
        layers.InputLayer((16, 16, 1)),
        layers.AveragePooling2D((4, 16)),
        layers.Flatten(),
        layers.Dense(8, name="widened"),
        layers.ThresholdedReLU(1e-3, name="island"),
        layers.Dense(4, name="logits"),
    ])
    # The bar of each class, and four values that only widen the range of the tensor: nobody asks for them.
    model.get_layer("widened").kernel.assign(np.hstack([np.eye(4), np.full((4, 4), 1e4)]))
    model.get_layer("logits").kernel.assign(np.vstack([np.eye(4), np.zeros((4, 4))]))
    return model
"""


def test_an_accuracy_that_collapsed_and_a_float_island_fail_the_run(edgesmith: Command, tiny: Path) -> None:
    tiny.with_name("builder.py").write_text(BUILDER)
    text = tiny.read_text()
    recipe = tiny.with_name("worst.yaml")
    model = "model: builder.py:build\nstages: []\nbudgets: {max_accuracy_drop: 0.01}\n"
    recipe.write_text(text[: text.index("model:")] + model + text[text.index("benchmark:") :])
    done = edgesmith("run", recipe, "--out", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    report = report_of(edgesmith.home / "out")
    assert (report["ok"], report["baseline"]["value"], report["artifact"]["value"]) == (False, 1, 0.25)
    failed = {check["name"]: check for check in report["checks"] if check["status"] == "fail"}
    assert failed.keys() == {"int8_only", "max_accuracy_drop"}
    assert "island" in failed["int8_only"]["why"]
    assert failed["max_accuracy_drop"]["value"] == 0.75
