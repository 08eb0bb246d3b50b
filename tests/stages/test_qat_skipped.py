"""Quantization-aware training that leaves layers out: they are quantized after training, and nothing stays float."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_targets.tflite_graph import parse_graph
from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.stages.cluster import Cluster
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from tests.stages.test_qat_layers import run
from tests.stages.tiny import apply, checks, int8, kernels, tiny_data, tiny_draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

NAMED = "skip_layers names it"
FUSED = "is one operator with '{}' (skip_layers)"


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny_data()


def skipping(draft: Draft, data: Dataset, *names: str, **settings: Any) -> Draft:
    return apply(Qat.model_validate({"epochs": 1, "batch_size": 32, "skip_layers": names, **settings}), draft, data)


def rounded(draft: Draft) -> set[str]:
    """The layers whose kernels are rounded while the model trains."""
    return {one.layer.name for one in draft.restore().layers if getattr(one, "_weight_vars", ())}


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (("conv",), {"conv": NAMED}),
        (("depth*", "logits"), {"depthwise": NAMED, "logits": NAMED}),
        # Half a chain that becomes one operator would get a range in its middle.
        (("pointwise",), {"pointwise": NAMED, "norm": FUSED, "relu": FUSED}),
        (("relu",), {"pointwise": FUSED, "norm": FUSED, "relu": NAMED}),
    ],
    ids="-".join,
)
def test_layers_that_are_skipped_are_not_trained_and_int8_all_the_same(
    names: tuple[str, ...], left: dict[str, str], data: Dataset
) -> None:
    draft = tiny_draft()
    aware = Draft.from_files(skipping(draft, data, *names).to_files())
    first = next(name for name, why in left.items() if why == NAMED)
    assert aware.steps[-1].notes["post_training"] == {name: why.format(first) for name, why in left.items()}
    assert rounded(aware) == {"conv", "depthwise", "pointwise", "dense", "logits"} - left.keys()
    model = int8(aware, data)
    assert checks(aware, model)["int8_only"].status == "pass"
    assert agreement(aware, model, data) > 0.999


def agreement(draft: Draft, model: bytes, data: Dataset) -> float:
    """The correlation of what the bytes and the Keras model give for the same images."""
    x = next(data.validation.batches(64))[0]
    return float(np.corrcoef(run(model, x)[0].ravel(), np.asarray(draft.restore()(x)).ravel())[0, 1])


def test_layers_that_are_skipped_keep_their_zeros_and_clusters(data: Dataset) -> None:
    pruned = apply(Prune(epochs=1, sparsity=0.6), tiny_draft(), data)
    clustered = apply(Cluster(epochs=1, clusters=4), pruned, data)
    aware = skipping(clustered, data, "dense", "point*", learning_rate=0.01)
    found = checks(aware, int8(aware, data))
    assert {"kept_sparsity", "kept_clusters", "dead_layers"} <= found.keys()
    assert {check.status for check in found.values()} == {"pass"}, found
    before = kernels(clustered)["dense"]
    [after] = [one for one in aware.restore().trainable_weights if one.shape == before.shape]
    assert (after.numpy() != before).any()  # in float it is trained like the others


def test_operators_that_join_tensors_stay_one_with_what_is_around_them(data: Dataset) -> None:
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    layers = keras.layers
    image = layers.Input((16, 16, 1))
    one = layers.Conv2D(4, 3, strides=4, name="one")(image)
    other = layers.Conv2D(4, 3, strides=4, name="other")(image)
    summed = layers.ReLU(name="relu")(layers.Add(name="sum")([one, other]))
    joined = layers.Concatenate(name="joined")([summed, other])
    draft = Draft.of(keras.Model(image, layers.Dense(4, name="logits")(layers.Flatten()(joined))))
    aware = skipping(draft, data, "other", "sum")
    assert aware.steps[-1].notes["post_training"] == {"other": NAMED, "sum": NAMED, "relu": FUSED.format("sum")}
    model = int8(aware, data)
    kinds = [operator.kind for operator in parse_graph(model).operators]
    assert sorted(kinds) == ["ADD", "CONCATENATION", "CONV_2D", "CONV_2D", "FULLY_CONNECTED", "RESHAPE"]
    assert agreement(aware, model, data) > 0.999


@pytest.mark.parametrize(("name", "message"), [("dens", "did you mean 'dense'"), ("block7_*", "block7_")])
def test_a_name_or_pattern_that_no_layer_goes_by_is_refused(name: str, message: str, data: Dataset) -> None:
    with pytest.raises(ModelError, match=message):
        skipping(tiny_draft(), data, "conv", name)


def test_to_skip_every_layer_is_refused(data: Dataset) -> None:
    with pytest.raises(ModelError, match="conv: skip_layers names it"):
        skipping(tiny_draft(), data, "*")
