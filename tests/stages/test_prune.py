"""Pruning in every form, from its settings to the int8 bytes, on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.errors import BrokenPromise, ModelError
from pipeline.stages import _shares
from pipeline.stages._kernels import Kernel, kernels_of
from pipeline.stages._masks import Blocks, Single
from pipeline.stages._preserve import keep_clusters, keep_zeros
from pipeline.stages._pruner import CountedMasks, GroupedMasks, Ramp
from pipeline.stages._weight_importance import magnitude
from pipeline.stages.prune import Prune
from tests.stages.tiny import apply, checks, int8, kernels, stored, tiny_data, tiny_draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

FORMS: list[dict[str, Any]] = [
    {"importance": "magnitude_l1", "scope": "sensitivity", "sparsity": 0.6},
    {"importance": "magnitude_l2", "scope": "global", "pattern": "block", "block_size": (4, 2), "sparsity": 0.6},
    {"importance": "gradient", "scope": "global", "sparsity": 0.6},
    {"importance": "taylor", "scope": "layer", "pattern": "block", "block_pooling": "max", "sparsity": 0.6},
    {"importance": "random", "scope": "layer", "pattern": "m_by_n"},
    {"threshold": 0.7, "threshold_unit": "std"},
]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny_data()


@pytest.fixture(scope="module")
def draft() -> Draft:
    return tiny_draft()


def prune(draft: Draft, data: Dataset, **settings: Any) -> Draft:
    return apply(
        Prune.model_validate({"epochs": 1, "batch_size": 64, "importance_batches": 1, **settings}), draft, data
    )


def sparsities(draft: Draft) -> dict[str, float]:
    return {name: float((kernel == 0).mean()) for name, kernel in kernels(draft).items()}


def with_kernel(draft: Draft, layer: str, change: Any) -> Draft:
    """The draft with one layer's kernel changed by hand."""
    model = draft.restore()
    kernel = model.get_layer(layer).kernel
    kernel.assign(change(kernel.numpy()))
    return replace(draft, weights=tuple(model.get_weights()))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(map(str, form.values())))
def test_every_form_is_there_in_the_bytes(form: dict[str, Any], draft: Draft, data: Dataset) -> None:
    after = prune(draft, data, **form)
    step = after.steps[-1]
    model = int8(after, data)
    found = checks(after, model)
    assert {"kept_sparsity", "dead_layers"} <= found.keys()
    assert ("kept_pattern" in found) == (form.get("pattern") is not None)
    assert {check.status for check in found.values()} == {"pass"}, found
    assert sparsities(after)["depthwise"] == 0
    assert step.notes["left_dense"] == ["depthwise"]
    if "sparsity" in form:
        # Blocks at the borders are smaller, so whole blocks are not whole shares.
        assert step.metrics["sparsity"] == pytest.approx(0.6, abs=0.03 if "pattern" in form else 0.002)
    if form.get("pattern") == "m_by_n":
        # The file has the inputs of an output last: (outputs, ..., inputs).
        for tensor in (stored(model)["pointwise"], stored(model)["dense"]):
            assert ((tensor.values().reshape(-1, 4) == 0).sum(axis=1) >= 2).all()


def test_one_ranking_gives_layers_different_shares_and_empties_none(draft: Draft, data: Dataset) -> None:
    large = with_kernel(draft, "logits", lambda kernel: kernel * 100)
    small = with_kernel(large, "pointwise", lambda kernel: kernel / 100)
    after = prune(small, data, scope="global", sparsity=0.85, max_layer_sparsity=0.95)
    found = sparsities(after)
    assert found["logits"] == 0
    assert found["pointwise"] == pytest.approx(0.95, abs=0.01)
    assert after.steps[-1].metrics["sparsity"] == pytest.approx(0.85, abs=0.001)
    assert after.steps[-1].notes["sparsity"]["pointwise"] == pytest.approx(found["pointwise"], abs=1e-6)


def test_a_share_for_each_layer_leaves_the_others_dense(draft: Draft, data: Dataset) -> None:
    found = sparsities(prune(draft, data, sparsity={"dense": 0.75, "depthwise": 0.5}))
    assert found == {"conv": 0, "depthwise": 0.5, "pointwise": 0, "dense": 0.75, "logits": 0}


@pytest.mark.parametrize("settings", [{"sparsity": {"dens": 0.5}}, {"skip_layers": ("dens",)}])
def test_a_layer_that_is_not_there_is_refused_with_the_nearest(
    settings: dict[str, Any], draft: Draft, data: Dataset
) -> None:
    with pytest.raises(ModelError, match="did you mean 'dense'"):
        prune(draft, data, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 0.5, "threshold": 0.1}, "exactly one"),
        ({"sparsity": 0.5, "pattern": "m_by_n"}, "exactly one"),
        ({"pattern": "m_by_n", "m_by_n": (4, 4)}, "m must be less than n"),
        ({"threshold": 0.1, "importance": "taylor"}, "magnitude_l1"),
        ({"scope": "global", "sparsity": {"dense": 0.5}}, "single number"),
        ({"scope": "sensitivity", "sparsity": 0.995}, "max_layer_sparsity"),
        ({"pattern": "block", "depthwise": True}, "depthwise"),
        ({"sparsity": {"dense": 1.5}}, "less than 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Prune.model_validate(settings)


def test_what_was_zero_stays_zero_when_pruned_again(draft: Draft, data: Dataset) -> None:
    once = prune(draft, data, sparsity=0.8)
    twice = prune(once, data, sparsity=0.5)
    for name, kernel in kernels(once).items():
        assert np.array_equal(kernels(twice)[name] == 0, kernel == 0)


def test_early_stopping_does_not_go_back_to_a_denser_epoch(draft: Draft, data: Dataset) -> None:
    stop = {"patience": 1, "min_delta": 10.0}  # no epoch ever counts as better than the first that is looked at
    after = prune(draft, data, epochs=5, sparsity=0.7, ramp_fraction=0.6, early_stopping=stop)
    assert len(after.steps[-1].curves["loss"]) == 4
    assert after.steps[-1].metrics["sparsity"] == pytest.approx(0.7, abs=0.002)


def test_a_run_that_prunes_nothing_is_caught(draft: Draft, data: Dataset) -> None:
    with pytest.raises(BrokenPromise, match="left 0 zeros"):
        prune(draft, data, threshold=1e-9)


def test_a_layer_that_is_all_zeros_is_caught_unless_it_is_allowed(draft: Draft, data: Dataset) -> None:
    dead = with_kernel(draft, "pointwise", np.zeros_like)
    with pytest.raises(BrokenPromise, match="zero in: pointwise"):
        prune(dead, data, sparsity=0.5)
    assert prune(dead, data, sparsity=0.5, max_layer_sparsity=1).steps[-1].promises.keys() == {"min_sparsity"}


def test_a_promise_that_a_later_stage_broke_fails_in_the_bytes(draft: Draft, data: Dataset) -> None:
    pruned = prune(draft, data, pattern="m_by_n")
    dense = with_kernel(pruned, "dense", lambda kernel: kernel + 0.01)
    broken = with_kernel(dense, "pointwise", np.zeros_like)
    found = checks(broken, int8(broken, data))
    assert found["dead_layers"].status == found["kept_sparsity"].status == found["kept_pattern"].status == "fail"
    assert "pointwise" in found["dead_layers"].why


@pytest.mark.parametrize("form", ["polynomial", "block", "m_by_n"])
def test_the_masks_are_those_of_tfmot(form: str) -> None:
    from pipeline._tf import fix_seed, keras, tf, tfmot

    fix_seed(3)
    sparsity = tfmot().sparsity.keras
    ours: dict[str, Any] = {
        "polynomial": CountedMasks(Single(), _shares.by_share([0.8])),
        "block": CountedMasks(Blocks(4, 2, "avg"), _shares.by_share([0.8])),
        "m_by_n": GroupedMasks(2, 4),
    }
    theirs: dict[str, dict[str, Any]] = {
        "polynomial": {},
        "block": {"block_size": (4, 2), "block_pooling_type": "AVG"},
        "m_by_n": {"sparsity_m_by_n": (2, 4)},
    }
    # TFMOT makes its m:n masks at step 1 only.
    step, end = (1, 10) if form == "m_by_n" else (40, 100)
    ramp = sparsity.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=end, frequency=1)
    layer = sparsity.prune_low_magnitude(keras.layers.Dense(12), ramp, **theirs[form])
    layer.build((None, 16))
    kernel = Kernel("dense", "kernel", tf.Variable(layer.layer.kernel), (1, 0))
    layer.pruning_step.assign(step - 1)  # the call adds one
    layer(tf.ones((1, 16)), training=True)
    [mask] = ours[form]([kernel], magnitude(1)([kernel]), Ramp(end).height(step))
    assert np.array_equal(mask, layer.pruning_vars[0][1].numpy() != 0)


def test_every_kind_of_kernel_is_found_and_no_bias() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    keras.backend.clear_session()
    words = layers.Input((6,), dtype="int32")
    table = layers.Embedding(9, 4, name="table")(words)
    rows = layers.SeparableConv1D(4, 3, padding="same", name="separable")(table)
    seen = layers.MultiHeadAttention(2, 3, name="attention")(rows, rows)
    one = layers.Bidirectional(layers.GRU(5), name="both")(layers.LayerNormalization()(seen))
    image = layers.Conv2DTranspose(3, 2, name="up")(layers.Reshape((5, 2, 1))(one))
    found = kernels_of(keras.Model(words, layers.Dense(2, name="dense")(layers.Flatten()(image))))
    assert [(kernel.layer, kernel.name, kernel.stored_axes) for kernel in found] == [
        ("table", "embeddings", None),
        ("separable", "depthwise_kernel", None),
        ("separable", "pointwise_kernel", (2, 0, 1)),
        *[("attention", "kernel", None)] * 4,
        *[("both", name, (1, 0)) for name in ("kernel", "recurrent_kernel") * 2],
        ("up", "kernel", (2, 0, 1, 3)),
        ("dense", "kernel", (1, 0)),
    ]


def test_zeros_and_equal_weights_outlast_training_with_momentum() -> None:
    from pipeline._tf import fix_seed, keras, tf

    fix_seed(2)
    keras.backend.clear_session()
    model = keras.Sequential([keras.layers.InputLayer((4, 6)), keras.layers.GRU(8), keras.layers.Dense(3)])
    sharing, sparse = [
        weight for weight in model.trainable_weights if weight.shape.rank > 1 and "bias" not in weight.name
    ][:2]
    rng = np.random.default_rng(0)
    sharing.assign(rng.choice([-0.3, 0.0, 0.1, 0.4], sharing.shape))
    sparse.assign(sparse.numpy() * (rng.random(sparse.shape) < 0.3))
    before = [weight.numpy() for weight in (sharing, sparse)]
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    x, y = tf.random.normal((32, 4, 6)), tf.random.normal((32, 3))
    model.fit(x, y, 8, epochs=2, verbose=0, callbacks=[keep_zeros(model), keep_clusters(model)])
    for old, weight in zip(before, (sharing, sparse), strict=True):
        assert np.array_equal(weight.numpy() == 0, old == 0)
        assert (weight.numpy() != old).any()
    assert len(np.unique(sharing.numpy())) == 4
    assert all(len(np.unique(sharing.numpy()[before[0] == value])) == 1 for value in np.unique(before[0]))
    [bias] = [weight.numpy() for weight in model.trainable_weights if weight.shape == (2, 24)]
    assert (bias != 0).all()  # it began as zeros, and is no kernel
