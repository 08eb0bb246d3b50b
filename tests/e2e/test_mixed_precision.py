"""Layers kept in int16, through the installed command: where that is enough, and where nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_targets.tflite_graph import read_graph
from tests.small import Command, report_of

pytestmark = [pytest.mark.e2e]

BUILDER = """\
import numpy as np
import tf_keras as keras


def build(logits=np.eye(4)):
    layers = keras.layers
    model = keras.Sequential([
        layers.InputLayer((16, 16, 1)),
        layers.AveragePooling2D((4, 16)),
        layers.Flatten(),
        layers.Dense(8, name="widened"),
        layers.ReLU(),
        layers.Dense(4, name="logits"),
    ])
    # The bar of each class, and four values that only widen the range of the tensor: nobody asks for them.
    model.get_layer("widened").kernel.assign(np.hstack([np.eye(4), np.full((4, 4), 1e3)]))
    model.get_layer("logits").kernel.assign(np.vstack([logits, np.zeros((4, 4))]))
    return model


def hopeless():
    # Two classes of each pair differ by less than a step of the int8 output, whatever the layers are kept in.
    return build(np.eye(4) + 1e3 * np.kron(np.eye(2), np.ones((2, 2))))
"""


def recipe_of(tiny: Path, function: str) -> Path:
    tiny.with_name("builder.py").write_text(BUILDER)
    text = tiny.read_text()
    recipe = tiny.with_name(f"{function}.yaml")
    settings = "stages: []\nconvert: {mixed_precision: {keep_in: int16}}\nbudgets: {max_accuracy_drop: 0.01}\n"
    model = f"model: builder.py:{function}\n"
    recipe.write_text(text[: text.index("model:")] + model + settings + text[text.index("benchmark:") :])
    return recipe


def test_layers_in_int16_bring_back_what_int8_loses(edgesmith: Command, tiny: Path) -> None:
    done = edgesmith("run", recipe_of(tiny, "build"), "--out", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "Kept in int16: widened, logits." in done.stdout
    report = report_of(edgesmith.home / "out")
    found = report["mixed_precision"]
    assert (found["kept_in"], found["kept"]) == ("int16", ["widened", "logits"])
    assert (found["float_value"], found["value"]) == (1, 1)
    assert found["int8_value"] < 0.5
    assert found["evaluations"] <= found["most_evaluations"] == 12
    [int8_only] = [check for check in report["checks"] if check["name"] == "int8_only"]
    # Eight bits are enough for these weights: nothing says that they have sixteen.
    assert int8_only["why"].startswith("'widened', 'logits' in int16, chosen by mixed precision: +")
    types = {tensor.dtype for tensor in read_graph(edgesmith.home / "out" / "model.tflite").tensors}
    assert types == {"int8", "int16", "int32"}  # the last is a shape


def test_a_budget_that_no_layer_meets_ends_with_the_nearest_miss(edgesmith: Command, tiny: Path) -> None:
    done = edgesmith("run", recipe_of(tiny, "hopeless"), "--out", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "this one comes nearest" in done.stdout
    report = report_of(edgesmith.home / "out")
    found = report["mixed_precision"]
    assert found["kept"] == ["widened", "logits"]
    assert found["int8_value"] < found["value"] < found["float_value"] - 0.4
    assert found["size_bytes"] > found["int8_size_bytes"]
    failed = {check["name"]: check for check in report["checks"] if check["status"] == "fail"}
    assert failed.keys() == {"mixed_precision_drop", "max_accuracy_drop"}
    assert "comes nearest" in failed["mixed_precision_drop"]["why"]
    assert failed["max_accuracy_drop"]["value"] == 0.5
