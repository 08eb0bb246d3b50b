"""Clustering, from its settings to the int8 bytes, on a tiny model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.errors import BrokenPromise, ModelError
from pipeline.stages.cluster import Cluster
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from tests.stages.tiny import apply, checks, int8, kernels, tiny_data, tiny_draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny_data()


@pytest.fixture(scope="module")
def draft() -> Draft:
    return tiny_draft()


@pytest.fixture(scope="module")
def sparse(draft: Draft, data: Dataset) -> Draft:
    return apply(Prune(epochs=1, sparsity=0.5, depthwise=True), draft, data)


def cluster(draft: Draft, data: Dataset, **settings: Any) -> Draft:
    return apply(Cluster.model_validate({"epochs": 1, **settings}), draft, data)


def distinct(draft: Draft) -> dict[str, int]:
    return {name: len(np.unique(kernel)) for name, kernel in kernels(draft).items()}


def test_a_layer_s_weights_share_k_values_and_lose_them_only_by_force(draft: Draft, data: Dataset) -> None:
    after = cluster(draft, data, clusters=5)
    assert after.traits == {"clustered"}
    found = distinct(after)
    assert found.pop("depthwise") == 72  # TFMOT leaves these alone
    assert set(found.values()) == {5}
    [check] = [one for name, one in checks(after, int8(after, data)).items() if name == "kept_clusters"]
    assert (check.value, check.limit, check.status) == (5, 5, "pass")
    # As a training that does not know of the clusters would leave it.
    rng = np.random.default_rng(0)
    shaken = replace(after, weights=tuple(w + rng.normal(0, 0.01, w.shape).astype(w.dtype) for w in after.weights))
    assert checks(shaken, int8(shaken, data))["kept_clusters"].status == "fail"


def test_a_sparse_draft_stays_sparse_and_each_layer_has_its_own_k(sparse: Draft, data: Dataset) -> None:
    after = cluster(sparse, data, clusters={"pointwise": 4, "dense": 7}, centroids="density")
    assert after.traits == {"sparse", "clustered"}
    for name, kernel in kernels(sparse).items():
        assert (kernels(after)[name][kernel == 0] == 0).all()
    found = distinct(after)
    assert (found["pointwise"], found["dense"]) == (4, 7)
    assert found["conv"] > 7
    shown = checks(after, int8(after, data))
    assert {"kept_clusters.4", "kept_clusters.7", "kept_sparsity"} <= shown.keys()
    assert {check.status for check in shown.values()} == {"pass"}


def test_every_channel_may_have_values_of_its_own(draft: Draft, data: Dataset) -> None:
    # `pointwise` has no bias: TFMOT's own function leaves such a layer out and only warns.
    after = cluster(draft, data, clusters=4, per_channel=True, centroids="linear")
    pointwise = kernels(after)["pointwise"]
    assert max(len(np.unique(channel)) for channel in np.moveaxis(pointwise, -1, 0)) == 4
    assert len(np.unique(pointwise)) > 4
    assert checks(after, int8(after, data))["kept_clusters"].status == "pass"


def test_fewer_weights_than_clusters_is_no_trouble(sparse: Draft, data: Dataset) -> None:
    bare = apply(Prune(epochs=1, sparsity=0.97), sparse, data)
    after = cluster(bare, data, clusters=64)
    assert after.steps[-1].notes["clusters"]["conv"] <= 4
    assert after.steps[-1].promises["min_sparsity"] >= bare.steps[-1].promises["min_sparsity"]


def test_a_layer_that_is_all_zeros_is_caught(draft: Draft, data: Dataset) -> None:
    model = draft.restore()
    kernel = model.get_layer("pointwise").kernel
    kernel.assign(kernel * 0)
    dead = replace(draft, weights=tuple(model.get_weights()), traits=frozenset({"sparse"}))
    with pytest.raises(BrokenPromise, match="zero in: pointwise"):
        cluster(dead, data)


@pytest.mark.parametrize("settings", [{"clusters": {"dens": 4}}, {"skip_layers": ("dens",)}])
def test_a_layer_that_is_not_there_is_refused_with_the_nearest(
    settings: dict[str, Any], draft: Draft, data: Dataset
) -> None:
    with pytest.raises(ModelError, match="did you mean 'dense'"):
        cluster(draft, data, **settings)


def test_layers_that_tfmot_cannot_cluster_are_left_and_others_are_found(data: Dataset) -> None:
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    layers = keras.layers
    image = layers.Input((16, 16, 1))
    rows = layers.SeparableConv1D(6, 3, padding="same", name="separable")(layers.Reshape((16, 16))(image))
    seen = layers.MultiHeadAttention(2, 3, name="attention")(rows, rows)
    mixed = layers.EinsumDense("abc,cd->abd", (16, 5), name="einsum")(seen)
    last = layers.Dense(4, name="logits")(layers.Bidirectional(layers.GRU(5), name="both")(mixed))
    after = cluster(Draft.of(keras.Model(image, last)), data, clusters=4)
    assert after.steps[-1].notes["distinct"] == dict.fromkeys(("separable", "both", "logits"), 4)


def test_layers_that_the_bytes_do_not_name_are_never_a_pass(draft: Draft, data: Dataset) -> None:
    after = cluster(draft, data, clusters=4)
    step = after.steps[-1]
    model = int8(after, data)

    def check_with(clusters: dict[str, int]) -> str:
        told = replace(step, notes={**step.notes, "clusters": clusters})
        return checks(replace(after, steps=(told,)), model)["kept_clusters"].status

    assert check_with({"dense": 4}) == "pass"
    assert check_with({"dense": 4, "renamed": 4}) == "not measured"
    assert check_with({"dense": 3, "renamed": 3}) == "fail"


def test_clusters_and_zeros_that_qat_lost_fail_in_the_bytes(sparse: Draft, data: Dataset) -> None:
    # QAT that does not know of them, as TFMOT's own is unless it is told.
    clustered = cluster(sparse, data, clusters=4)
    careless = apply(Qat(epochs=1, learning_rate=0.01), replace(clustered, traits=frozenset()), data)
    lost = replace(careless, traits=careless.traits | clustered.traits)
    found = checks(lost, int8(lost, data))
    assert found["kept_clusters"].status == found["kept_sparsity"].status == "fail"
