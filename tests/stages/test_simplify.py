"""simplify: fewer layers, the same outputs; what would not be the same stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline import plugins
from pipeline.draft import Draft
from pipeline.errors import BrokenPromise
from pipeline.stages._same_outputs import largest_difference
from pipeline.stages.simplify import Simplify
from tests.stages.edits import draft_of, kinds, noise_data, shaken, zoo_draft
from tests.stages.tiny import apply

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

IMAGE = (8, 8, 3)
Layers = Callable[[Any], list[Any]]


@pytest.mark.parametrize("name", plugins.names("models"))
def test_a_model_of_the_zoo_says_the_same_with_fewer_layers(name: str) -> None:
    draft = zoo_draft(name)
    after = apply(Simplify(), draft, noise_data(draft.restore().input_shape[1:]))
    assert after.steps[-1].metrics["largest_difference"] < 1e-5
    before, found = kinds(draft), kinds(after)
    assert not {"BatchNormalization", "Dropout"} & set(found)
    assert len(found) < len(before) or not {"BatchNormalization", "Dropout"} & set(before)


CASES: list[tuple[str, Layers, list[str]]] = [
    (
        "into_each_kind_before_it",
        lambda k: [
            *(k.SeparableConv2D(4, 3, padding="same", use_bias=False), k.BatchNormalization()),
            *(k.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), k.BatchNormalization(scale=False)),
            *(k.Conv2DTranspose(6, 3, strides=2, padding="same"), k.BatchNormalization(center=False), k.ReLU()),
            *(k.Conv2D(4, 3, groups=2, strides=2), k.BatchNormalization(), k.ReLU(), k.Flatten()),
            *(k.Dense(4), k.BatchNormalization(epsilon=0.1)),
        ],
        ["SeparableConv2D", "DepthwiseConv2D", "Conv2DTranspose", "ReLU", "Conv2D", "ReLU", "Flatten", "Dense"],
    ),
    (
        "into_what_is_behind_it",
        lambda k: [
            *(k.BatchNormalization(), k.Conv2D(4, 3, activation="relu"), k.BatchNormalization()),
            *(k.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, activation="relu"), k.Flatten()),
            *(k.BatchNormalization(), k.Dense(4)),
        ],
        ["Conv2D", "DepthwiseConv2D", "Flatten", "Dense"],
    ),
    (
        "not_past_padding_or_an_activation",
        lambda k: [k.BatchNormalization(), k.Conv2D(4, 3, padding="same", activation="relu"), k.BatchNormalization()],
        ["BatchNormalization", "Conv2D", "BatchNormalization"],
    ),
    (
        "what_does_nothing",
        lambda k: [
            *(k.Dropout(0.5), k.GaussianNoise(1.0), k.ZeroPadding2D(0), k.Cropping2D(0), k.Conv2D(2, 3)),
            *(k.Activation("linear"), k.SpatialDropout2D(0.5), k.Reshape((6, 6, 2)), k.Permute((1, 2, 3))),
            *(k.UpSampling2D(1), k.MaxPooling2D(1), k.Rescaling(1.0), k.ReLU(), k.Dropout(0.5)),
        ],
        ["Conv2D", "ReLU"],
    ),
    (
        "what_does_something",
        lambda k: [k.ZeroPadding2D(1), k.Reshape((3, 10, 10)), k.Permute((2, 3, 1)), k.Rescaling(2.0)],
        ["ZeroPadding2D", "Reshape", "Permute", "Rescaling"],
    ),
    (
        "dense_layers",
        lambda k: [k.Flatten(), k.Dense(64), k.Dropout(0.5), k.Dense(8, use_bias=False), k.Dense(4), k.Softmax()],
        ["Flatten", "Dense", "Softmax"],
    ),
    ("a_bottleneck_stays", lambda k: [k.Flatten(), k.Dense(2), k.Dense(64)], ["Flatten", "Dense", "Dense"]),
    (
        "convolutions",
        lambda k: [
            k.Conv2D(16, 1),
            k.Conv2D(4, 3, strides=2),
            k.ReLU(),
            k.Conv2D(16, 3, padding="same"),
            k.Conv2D(2, 1),
        ],
        ["Conv2D", "ReLU", "Conv2D"],
    ),
    ("windows", lambda k: [k.Conv2D(24, 2), k.Conv2D(2, (2, 1))], ["Conv2D"]),
    (
        "a_bias_under_padding_stays",
        lambda k: [k.Conv2D(16, 1), k.Conv2D(4, 3, padding="same")],
        ["Conv2D", "Conv2D"],
    ),
    (
        "no_bias_under_padding",
        lambda k: [k.Conv2D(16, 1, use_bias=False), k.Conv2D(4, 3, padding="same", strides=2)],
        ["Conv2D"],
    ),
    ("strides_between_stay", lambda k: [k.Conv2D(16, 3, strides=2), k.Conv2D(2, 2)], ["Conv2D", "Conv2D"]),
    (
        "a_step_in_the_second_stays",
        lambda k: [k.Conv2D(3, 3, padding="same"), k.Conv2D(64, 1, strides=2)],
        ["Conv2D"] * 2,
    ),
]


@pytest.mark.parametrize(("layers", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_layers_go_where_that_is_exact(layers: Layers, expected: list[str]) -> None:
    from pipeline._tf import keras

    draft = draft_of([keras.layers.InputLayer(IMAGE), *layers(keras.layers)])
    after = apply(Simplify(), draft, noise_data(IMAGE))
    assert kinds(after) == expected
    x = np.random.default_rng(3).normal(size=(8, *IMAGE)).astype(np.float32)
    assert largest_difference(draft.restore(), after.restore(), x) < 1e-5


def branched() -> Draft:
    """Two residual blocks, one of whose branches is zeros, a shared layer and a normalization that two layers read."""
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input(IMAGE)
    shared = layers.Conv2D(3, 1, name="shared")
    x = layers.BatchNormalization(name="shared_bn")(shared(shared(inputs)))
    y = layers.BatchNormalization(name="bn")(layers.Conv2D(3, 3, padding="same", name="zero")(x))
    x = layers.Add(name="zero_add")([x, layers.ReLU(name="zero_relu")(y)])
    y = layers.Dropout(0.5, name="dropout")(layers.Conv2D(3, 3, padding="same", name="conv")(x))
    model = shaken(keras.Model(inputs, [layers.Add(name="add")([x, y]), layers.ReLU(name="relu")(y)]))
    model.get_layer("zero").set_weights([weight * 0 for weight in model.get_layer("zero").get_weights()])
    gamma, _, _, variance = model.get_layer("bn").get_weights()
    model.get_layer("bn").set_weights([gamma, gamma * 0, gamma * 0, variance])
    return Draft.of(model)


def test_a_graph_with_branches_and_shared_layers() -> None:
    draft = branched()
    after = apply(Simplify(), draft, noise_data(IMAGE))
    assert after.steps[-1].notes == {
        "folded": {"bn": "zero"},
        "dropped": ["dropout"],
        "merged": {},
        "zero_branches": ["zero_add"],
        "unused": ["zero", "zero_relu"],
        "left": ["shared_bn"],
    }
    assert [layer.name for layer in after.restore().layers][1:] == ["shared", "shared_bn", "conv", "add", "relu"]


def test_a_sparse_draft_keeps_its_zeros_and_its_layers() -> None:
    draft = replace(branched(), traits=frozenset({"sparse"}))
    after = apply(Simplify(), draft, noise_data(IMAGE))
    assert after.traits == {"sparse"}
    assert after.steps[-1].notes["zero_branches"] == []
    zeros = [int((weight == 0).sum()) for weight in after.weights if weight.ndim > 1]
    assert zeros == [int((weight == 0).sum()) for weight in draft.weights if weight.ndim > 1]


def test_what_cannot_be_the_same_is_refused_and_changes_nothing() -> None:
    from pipeline._tf import keras

    draft = draft_of([keras.layers.InputLayer(IMAGE), keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization()])
    *others, _ = draft.weights
    before = replace(draft, weights=(*others, np.full(2, np.nan, np.float32)))
    with pytest.raises(BrokenPromise, match="the model is left as it was"):
        apply(Simplify(), before, noise_data(IMAGE))


def test_each_kind_of_edit_has_a_switch() -> None:
    draft = branched()
    off = Simplify(
        fold_batchnorm=False, drop_identities=False, merge_linear=False, drop_zero_branches=False, drop_unused=False
    )
    assert kinds(apply(off, draft, noise_data(IMAGE))) == kinds(draft)
