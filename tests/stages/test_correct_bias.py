"""correct_bias: the mean error of a real int8 model falls; nothing but biases changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks._broken import spread_channels
from pipeline import convert
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.stages.correct_bias import CorrectBias
from tests.stages.edits import broken_digits, draft_of, int8_outputs, noise_data, shaken, zoo_draft
from tests.stages.tiny import apply

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

IMAGE = (8, 8, 3)


def mean_error(reference: Draft, draft: Draft, calibration: NDArray[np.float32], x: NDArray[np.float32]) -> float:
    """How far int8 outputs are off on average, the worst of them, in standard deviations of the float ones."""
    exact = reference.restore()(x).numpy()
    answers = int8_outputs(convert.to_int8(draft, calibration), x)
    return float(np.abs((answers - exact).mean(axis=0)).max() / exact.std())


def test_the_mean_error_of_unseen_digits_falls_in_the_real_int8() -> None:
    broken, digits = broken_digits()
    draft = spread_channels(broken, 1 / 10)  # 1:100 is left
    after = apply(CorrectBias(), draft, digits)
    assert after.traits  # so the report compares with the float model before, not with this one
    # Other examples than those that the stage has seen, as in a recipe.
    calibration, (x, _) = digits.calibration(200, 7), next(digits.test.batches(500))
    assert mean_error(draft, after, calibration, x) < mean_error(draft, draft, calibration, x) / 2
    assert after.steps[-1].metrics["output_mean_error"] < after.steps[-1].metrics["output_mean_error_before"] / 10


@pytest.mark.parametrize("name", ["autoencoder", "resnet8"])
def test_what_is_simulated_is_what_int8_does(name: str) -> None:
    draft = zoo_draft(name)
    data = noise_data(draft.restore().input_shape[1:])
    after = apply(CorrectBias(), draft, data)
    x = data.calibration(32, 0)
    simulated = after.steps[-1].metrics["output_mean_error_before"]
    real = mean_error(draft, draft, x, x)
    assert simulated == pytest.approx(real, rel=0.25)
    assert mean_error(draft, after, x, x) < real / 2


def test_only_biases_change_in_a_graph_with_shared_layers() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input(IMAGE)
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(shared(shared(inputs)))
    y = layers.BatchNormalization(name="bn")(layers.Conv2D(3, 1, activation="relu", name="conv")(x))
    x = layers.ReLU(name="relu")(layers.Add(name="add")([x, y]))
    x = layers.Dense(4, activation="softmax", name="dense")(layers.Flatten(name="flatten")(x))
    draft = replace(Draft.of(shaken(keras.Model(inputs, x))), traits=frozenset({"sparse", "clustered"}))
    after = apply(CorrectBias(), draft, noise_data(IMAGE))
    assert after.traits == draft.traits | {"bias_corrected"}
    assert list(after.steps[-1].notes["shifts"]) == ["depthwise", "conv", "dense"]
    assert after.steps[-1].notes["left"] == ["shared"]
    before, now = _by_name(draft), _by_name(after)
    biases = {"depthwise/bias:0", "conv/bias:0", "dense/bias:0"}
    assert now.keys() - before.keys() == {"depthwise/bias:0"}
    assert {name for name in before if not np.array_equal(before[name], now[name])} == biases & before.keys()


def _by_name(draft: Draft) -> dict[str, NDArray[Any]]:
    return {weight.name: weight.numpy() for weight in draft.restore().weights}


def test_a_model_without_such_layers_is_told_so() -> None:
    from pipeline._tf import keras

    draft = draft_of([keras.layers.InputLayer(IMAGE), keras.layers.Flatten()])
    with pytest.raises(ModelError, match="no layer with a bias"):
        apply(CorrectBias(), draft, noise_data(IMAGE))
