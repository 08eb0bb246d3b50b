"""Each task the whole way to int8 and its report, on tiny data; its figure is what scikit-learn says of the bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from pipeline.cache import Cache
from pipeline.flow import run
from pipeline.progress import Progress
from pipeline.recipe import load_recipe

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

Array = NDArray[Any]

RECIPE = """\
task: {task}
data: {{npz: {{path: data.npz}}}}
model: {model}
stages: [{stages}]
benchmark: {{num_runs: 2, warmup_runs: 0, min_secs: 0, max_secs: 1}}
"""


def windows(count: int, seed: int) -> tuple[Array, Array, Array]:
    """Windows (n, 16, 2) of two waves: their phase is chance; their rates, 1 to 3 turns, are what there is to know."""
    rng = np.random.default_rng(seed)
    turns = rng.uniform(1, 3, (count, 2))
    at = np.linspace(0, 2 * np.pi, 16)[None, :, None]
    x = np.sin(turns[:, None, :] * at) + rng.normal(0, 0.1, (count, 16, 2))
    return x.astype(np.float32), turns.astype(np.float32), np.asarray(turns > 2, np.int64)


def many_classes(count: int, seed: int) -> tuple[Array, Array]:
    x, _, fast = windows(count, seed)
    return x, 2 * fast[:, 0] + fast[:, 1]


def two_classes(count: int, seed: int) -> tuple[Array, Array]:
    x, _, fast = windows(count, seed)
    return x, fast[:, 0]


def labels(count: int, seed: int) -> tuple[Array, Array]:
    x, _, fast = windows(count, seed)
    return x, fast


def rates(count: int, seed: int) -> tuple[Array, Array]:
    x, turns, _ = windows(count, seed)
    return x, turns


def faults(count: int, seed: int) -> tuple[Array, Array]:
    """A quarter of the windows has a channel that is stuck."""
    x, _, _ = windows(count, seed)
    y = np.arange(count) % 4 == 3
    x[y, :, 0] = x[y, :1, 0] + 0.7
    return x, y.astype(np.int64)


@dataclass(frozen=True)
class Case:
    """A task with data, a model that can learn it, and its headline by scikit-learn from labels and raw outputs."""

    task: str
    make: Callable[[int, int], tuple[Array, Array]]
    truth: Callable[[Array, Array, Array], float]
    at_least: float
    model: str = "{cnn1d: {filters: 16}}"
    stages: str = "train: {epochs: 15, batch_size: 32, learning_rate: 0.005}"


CASES = {
    "classification": Case(
        "classification", many_classes, lambda y, x, out: float(metrics.accuracy_score(y, out.argmax(axis=1))), 0.8
    ),
    "single output": Case(
        "{classification: {output: single}}",
        two_classes,
        lambda y, x, out: float(metrics.accuracy_score(y, out[:, 0] > 0)),
        0.85,
    ),
    "multi_label": Case(
        "multi_label", labels, lambda y, x, out: float(metrics.average_precision_score(y, out, average="macro")), 0.9
    ),
    "regression": Case("regression", rates, lambda y, x, out: float(metrics.r2_score(y, out)), 0.6),
    "anomaly": Case(
        "anomaly",
        faults,
        lambda y, x, out: float(metrics.roc_auc_score(y, np.square(x - out).mean(axis=(1, 2)))),
        0.8,
        "{autoencoder: {width: 32, depth: 1, bottleneck: 6}}",
    ),
}


def interpreted(model: Path, x: Array) -> Array:
    """What the int8 model gives, in real numbers, by TensorFlow's own interpreter."""
    from pipeline._tf import tf

    interpreter = tf.lite.Interpreter(model_content=model.read_bytes())
    interpreter.allocate_tensors()
    [given], [made] = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for example in x:
        scale, zero = given["quantization"]
        stored = np.clip(np.rint(example / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], stored[None])
        interpreter.invoke()
        scale, zero = made["quantization"]
        rows.append((interpreter.get_tensor(made["index"])[0].astype(np.float32) - zero) * np.float32(scale))
    return np.stack(rows)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_headline_is_what_scikit_learn_says_of_the_bytes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (x_train, y_train), (x_test, y_test) = case.make(480, 0), case.make(120, 1)
    np.savez(tmp_path / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(task=case.task, model=case.model, stages=case.stages))
    loaded = load_recipe(recipe)
    report = run(loaded, out=tmp_path / "out", cache=Cache(None), progress=Progress())

    document = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    outputs = interpreted(tmp_path / "out" / report.artifact.path, x_test)
    value = case.truth(y_test, x_test, outputs)
    # Kernels of two runtimes may differ by a step of int8.
    assert document["artifact"]["value"] == pytest.approx(value, abs=0.02)
    assert value >= case.at_least
    assert document["baseline"]["value"] >= case.at_least

    if case.task == "anomaly":
        validation = loaded.data.load(loaded.task, seed=loaded.seed, progress=Progress()).validation
        held_out = np.concatenate([x for x, _ in validation.batches(64)])
        errors = np.square(held_out - interpreted(tmp_path / "out" / report.artifact.path, held_out)).mean(axis=(1, 2))
        assert document["artifact"]["details"]["threshold"] == pytest.approx(np.percentile(errors, 99), rel=0.02)

    shuffled = np.random.default_rng(2).permutation(y_test)
    assert case.truth(shuffled, x_test, outputs) < value - 0.2
