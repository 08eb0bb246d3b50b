"""equalize: the same outputs from channels of like ranges, and the accuracy of int8 that comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks._broken import BROKEN_LAYER
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.stages._same_outputs import largest_difference
from pipeline.stages.equalize import Equalize
from tests.stages.edits import broken_digits, draft_of, int8_outputs, noise_data, zoo_draft
from tests.stages.tiny import apply, int8

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

IMAGE = (8, 8, 3)


def accuracy(answers: NDArray[Any], y: NDArray[Any]) -> float:
    return float((answers.argmax(axis=1) == y).mean())


@pytest.mark.parametrize("balance", ["activations", "weights"])
def test_a_model_that_int8_breaks_is_within_a_point_of_float(balance: Any) -> None:
    broken, digits = broken_digits()
    x, y = next(digits.test.batches(1000))
    floats = accuracy(broken.restore()(x).numpy(), y)
    assert accuracy(int8_outputs(int8(broken, digits), x), y) < floats - 0.3
    after = apply(Equalize(balance=balance), broken, digits)
    assert accuracy(int8_outputs(int8(after, digits), x), y) > floats - 0.01
    assert after.traits == {"equalized"}  # so the report compares with the float model before
    step = after.steps[-1]
    assert step.metrics["largest_difference"] < 1e-4
    before, now = step.notes["spreads"][f"{BROKEN_LAYER} → pointwise"]
    assert before > 500 > 10 > now


@pytest.mark.parametrize(("name", "clipped"), [("mobilenet_v2", True), ("ds_cnn", False), ("autoencoder", False)])
def test_a_model_of_the_zoo_says_the_same(name: str, clipped: bool) -> None:
    draft = zoo_draft(name)
    data = noise_data(draft.restore().input_shape[1:])
    step = apply(Equalize(balance="weights", replace_relu6=clipped), draft, data).steps[-1]
    assert step.metrics["largest_difference"] < 1e-4
    assert bool(step.notes["relu6_replaced"]) == clipped
    assert step.metrics["pairs"] > 6


def test_relu6_is_left_alone_unless_it_may_go() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    rows = [layers.InputLayer(IMAGE), layers.Conv2D(4, 3), layers.ReLU(6.0, name="six"), layers.Conv2D(4, 3)]
    draft = draft_of([*rows, layers.ReLU(), layers.Conv2D(2, 3, name="last")])
    draft = replace(draft, weights=(draft.weights[0] * 50, *draft.weights[1:]))
    step = apply(Equalize(), draft, noise_data(IMAGE)).steps[-1]
    assert step.metrics["relu6_difference"] < 1e-5
    assert (step.metrics["pairs"], step.notes["relu6_left"], step.notes["relu6_replaced"]) == (1, ["six"], [])
    step = apply(Equalize(replace_relu6=True), draft, noise_data(IMAGE)).steps[-1]
    assert (step.metrics["pairs"], step.notes["relu6_left"], step.notes["relu6_replaced"]) == (2, [], ["six"])
    assert step.metrics["relu6_difference"] > 0.01  # it says how far the model changed


def test_channels_are_followed_past_what_minds_no_scale() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    draft = draft_of(
        [
            *(layers.InputLayer(IMAGE), layers.Conv2D(4, 3, padding="same", name="conv"), layers.LeakyReLU()),
            *(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu", name="depthwise"),),
            *(layers.MaxPooling2D(), layers.Conv2DTranspose(6, 2, name="transposed"), layers.PReLU(shared_axes=[1, 2])),
            *(layers.ZeroPadding2D(), layers.Conv2D(4, 3, name="padded"), layers.ReLU(), layers.Flatten()),
            *(layers.Dense(8, activation="tanh", name="dense"), layers.Dense(4, name="logits")),
        ]
    )
    after = apply(Equalize(balance="weights"), draft, noise_data(IMAGE))
    assert list(after.steps[-1].notes["spreads"]) == [
        *("conv → depthwise", "depthwise → transposed", "transposed → padded", "padded → dense")
    ]
    x = np.random.default_rng(3).normal(size=(8, *IMAGE)).astype(np.float32)
    assert largest_difference(draft.restore(), after.restore(), x) < 1e-4


def test_what_a_channel_never_falls_below_goes_into_the_next_bias() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    stack = [layers.InputLayer(IMAGE), layers.Conv2D(4, 1, use_bias=False, name="conv"), layers.BatchNormalization()]
    model = keras.Sequential([*stack, layers.ReLU(), layers.Conv2D(4, 1, name="next")])
    model.layers[1].set_weights([np.full(4, 0.1), np.array([0.0, 0.0, 5.0, 9.0]), np.zeros(4), np.ones(4)])
    draft, data = Draft.of(model), noise_data(IMAGE)
    after = apply(Equalize(), draft, data)
    assert after.steps[-1].notes["absorbed"] == {"conv": 2}
    assert after.steps[-1].metrics["largest_difference"] < 1e-4
    kept = apply(Equalize(absorb_biases=False), draft, data)
    assert kept.steps[-1].notes["absorbed"] == {}
    bias = {name: one.restore().get_layer("conv").get_weights()[1] for name, one in (("a", after), ("k", kept))}
    assert (bias["a"][2:] < bias["k"][2:] / 2).all()


def test_a_model_without_pairs_is_told_so() -> None:
    from pipeline._tf import keras

    draft = draft_of([keras.layers.InputLayer((4,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(4)])
    with pytest.raises(ModelError, match="No two layers"):
        apply(Equalize(), draft, noise_data((4,)))
