"""An early head: where it may branch off, that the full path stays as it was, and the two files that come of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets._base import Target
from edge_targets._cascade import NEVER
from edge_targets._on_device_cascade import confidence
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import Graph, parse_graph
from pipeline import advice, cascade, convert, verify
from pipeline._evidence import gathered
from pipeline._uncut import uncut_rows
from pipeline.artifact import Artifact, Cascade, TensorSpec, dequantize, quantize, sha256_of
from pipeline.dataset import Dataset
from pipeline.draft import Draft, Step
from pipeline.errors import BrokenPromise, ModelError
from pipeline.progress import Progress
from pipeline.stages._exit_places import chosen_place, place_after, places_of
from pipeline.stages._joint import joined
from pipeline.stages.early_exit import EarlyExit, Head
from pipeline.stages.train import Train
from pipeline.tasks.classification import Classification
from tests.stages.tiny import apply, int8, tiny_data, tiny_draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@dataclass(frozen=True)
class Cut:
    """A model with an early exit, as a draft, as one file, and as two."""

    data: Dataset
    before: Draft
    draft: Draft
    whole: bytes
    artifact: Artifact

    @property
    def step(self) -> Step:
        return self.draft.steps[-1]

    @property
    def graphs(self) -> tuple[Graph, Graph]:
        first, rest = (parse_graph(part.path.read_bytes()) for part in self.artifact.parts)
        return first, rest


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    data = tiny_data(256)
    before = apply(Train(epochs=6, batch_size=32, learning_rate=0.01), tiny_draft(), data)
    stage = EarlyExit(epochs=1, batch_size=32, learning_rate=0.01, share=0.5, head=Head(filters=2))
    draft = apply(stage, before, data)
    whole = int8(draft, data)
    folder = tmp_path_factory.mktemp("stages")
    first, rest = (laid_down(part, folder / f"{place}.tflite") for place, part in enumerate(convert.cut(whole)))
    return Cut(data, before, draft, whole, replace(first, cascade=Cascade(rest, 0.9, 0.5, whole)))


def laid_down(model: bytes, path: Path) -> Artifact:
    path.write_bytes(model)
    graph = parse_graph(model)
    inputs, outputs = (
        tuple(TensorSpec.of(graph.tensors[index]) for index in border) for border in (graph.inputs, graph.outputs)
    )
    return Artifact(path, sha256_of(model), len(model), len(model), "gz", inputs, outputs)


def with_threshold(artifact: Artifact, threshold: float) -> Artifact:
    assert artifact.cascade is not None
    return replace(artifact, cascade=replace(artifact.cascade, threshold=threshold))


def stored(cut: Cut) -> NDArray[Any]:
    """The test images as the first stage takes them, (64, 16, 16, 1) int8."""
    return quantize(next(iter(cut.data.test.batches(64)))[0], cut.artifact.inputs[0])


def test_the_full_path_gives_what_it_gave_before(cut: Cut) -> None:
    x = next(iter(cut.data.test.batches(64)))[0]
    before = cut.before.restore().predict(x, verbose=0)
    early, final = cut.draft.restore().predict(x, verbose=0)
    assert (final == before).all()
    assert early.shape == final.shape
    assert all(layer.trainable for layer in cut.draft.restore().layers)


def test_the_head_learned_something(cut: Cut) -> None:
    assert cut.step.metrics["val_accuracy"] > 0.4


def test_no_operator_is_in_both_files_and_none_is_lost(cut: Cut) -> None:
    first, rest = cut.graphs
    kinds = [operator.kind for graph in (first, rest) for operator in graph.operators]
    assert sorted(kinds) == sorted(operator.kind for operator in parse_graph(cut.whole).operators)
    names = [{operator.name for operator in graph.operators} for graph in (first, rest)]
    assert names[0] == {"conv", *cut.step.notes["head"]}
    assert names[1] == {"depthwise", "pointwise", "pool", "flatten", "dense", "logits"}


def test_the_layers_of_both_files_are_held_against_float(cut: Cut) -> None:
    """The last layer's figure is the one that follows from what both files give, and from the Keras model."""
    table = verify.layer_rows(cascade.graph_of(cut.artifact))
    reference = convert.to_float_reference(cut.draft)
    rows = verify.measured_layers(table, cut.artifact, reference, cut.data.validation)
    assert [row.name for row in rows if row.sqnr_db is None] == []
    assert cut.data.validation.size <= 64, "all of them are measured"
    [x] = (x for x, _ in val(cut))
    _, wanted = cut.draft.restore().predict(x, verbose=0)
    first, rest = cut.artifact.parts
    stages, given = (first.path, rest.path), quantize(x, first.inputs[0])
    found = dequantize(HostTarget(xnnpack=False).cascade(stages, [given], NEVER).final, rest.outputs[0])
    last = next(row for row in rows if row.name == "logits")
    assert last.sqnr_db == pytest.approx(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()), abs=0.01)


def test_layers_of_the_second_file_are_advised_on(cut: Cut) -> None:
    """Where those of the first are left out; and it is known whose outputs they read, across the border, too."""
    table = verify.layer_rows(cascade.graph_of(cut.artifact))
    reference = convert.to_float_reference(cut.draft)
    rows = verify.measured_layers(table, cut.artifact, reference, cut.data.validation)
    first = {operator.name for operator in cut.graphs[0].operators}
    rest = [replace(row, sqnr_db=None, error=None) if row.name in first else row for row in rows]
    whole = parse_graph(cut.whole)
    ordered = uncut_rows(rest, cut.artifact, whole)
    found = advice.advise(ordered, whole, parse_graph(reference))
    assert len(found) == 3
    assert {one.layer for one in found} <= {"depthwise", "pointwise", "dense", "logits"}
    [depthwise] = (one for one in gathered(ordered, whole, parse_graph(reference)) if one.layer.name == "depthwise")
    assert depthwise.sources == ("conv",)


def test_the_rows_of_both_files_come_in_the_order_of_the_uncut_one(cut: Cut) -> None:
    whole = parse_graph(cut.whole)
    rows = uncut_rows(verify.layer_rows(cascade.graph_of(cut.artifact)), cut.artifact, whole)
    facts = [(row.name, row.kind, row.weights, row.distinct, row.macs) for row in rows]
    assert facts == [(row.name, row.kind, row.weights, row.distinct, row.macs) for row in verify.layer_rows(whole)]
    # In the files the head comes before the rest; here it need not.
    assert sorted(facts) != facts


def test_the_features_have_one_scale_in_both_files(cut: Cut) -> None:
    first, rest = cut.graphs
    given, taken = first.tensors[first.outputs[1]], rest.tensors[rest.inputs[0]]
    assert len(rest.inputs) == 1
    assert len(given.scales) == 1
    assert (given.scales, given.zero_points) == (taken.scales, taken.zero_points)
    assert (given.dtype, given.shape) == (taken.dtype, taken.shape) == ("int8", (1, 7, 7, 8))


def test_two_files_give_what_one_gave(cut: Cut, tmp_path: Path) -> None:
    found = cascade.run(cut.artifact, [stored(cut)], NEVER)
    assert not found.left.any()
    whole = tmp_path / "whole.tflite"
    whole.write_bytes(cut.whole)
    assert (HostTarget().evaluate(whole, [stored(cut)]) == found.early).all()
    assert (final_alone(cut.before, cut) == found.final).all()


def final_alone(draft: Draft, cut: Cut) -> NDArray[Any]:
    """What the model without an early head gives in int8: the same ranges give the same numbers."""
    path = cut.artifact.path.with_name("alone.tflite")
    path.write_bytes(int8(draft, cut.data))
    return HostTarget().evaluate(path, [stored(cut)])


def test_the_device_decides_who_leaves(cut: Cut) -> None:
    everyone = cascade.run(cut.artifact, [stored(cut)], NEVER)
    sure = np.sort(confidence(everyone.early, cut.artifact.outputs[0].scale, cut.artifact.outputs[0].zero_point))
    threshold = float(sure[32])
    # In two batches: what is asked once must not be kept for the next.
    found = cascade.run(cut.artifact, np.split(stored(cut), 2), threshold)
    assert found.left.sum() == (sure >= threshold).sum()
    assert 0 < found.left.sum() < 64
    assert (found.early == everyone.early).all()
    assert (found.final[~found.left] == everyone.final[~found.left]).all()
    assert not found.final[found.left].any()


def test_what_is_told_of_the_test_split_adds_up(cut: Cut) -> None:
    artifact, draft = with_threshold(cut.artifact, 0.6), cut.draft
    x, y = stored(cut), cut.data.test.targets()
    outputs = cascade.decided(artifact, cascade.run(artifact, [x], 0.6))
    found = cascade.measured(artifact, cut.data, outputs, Progress())
    assert found is not None
    assert found.odd == 0
    assert found.value == np.mean(outputs.argmax(axis=-1) == y)
    assert found.full_value == np.mean(final_alone(cut.before, cut).argmax(axis=-1) == y)
    # conv is 8 filters of 3x3 at 7x7 places; the head has 2 of 3x3x8 at 4x4, and 4 scores of 4x4x2.
    conv, head = 8 * 9 * 49, 2 * 72 * 16 + 4 * 32
    rest = 8 * 9 * 25 + 8 * 12 * 25 + 48 * 26 + 26 * 4
    assert (found.early_macs, found.rest_macs, found.full_macs) == (conv + head, rest, conv + rest)
    assert found.average_macs == (conv + head + (1 - found.exits) * rest) / (conv + rest)
    checks = {check.name: check for check in cascade.stage_checks(found, draft)}
    assert checks["average_macs"].limit == 1.0
    assert checks["cascade_accuracy_drop"].value == pytest.approx(found.full_value - found.value)
    assert cascade.stage_checks(replace(found, odd=1), draft)[-1].status == "fail"


class Untouchable:
    """A split that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"somebody looked at {name} of the test split")


def test_the_threshold_is_chosen_without_the_test_split(cut: Cut) -> None:
    blind = replace(cut.data, test=Untouchable())
    threshold, exits = cascade.choose(cut.artifact, blind, cut.step, Progress())
    assert 0 < threshold < 1
    assert 0 < exits <= 1
    fixed = replace(cut.step, settings={**cut.step.settings, "threshold": 0.25})
    assert cascade.choose(cut.artifact, blind, fixed, Progress()) == (0.25, 1.0)


def test_a_threshold_that_cannot_be_met_is_told(cut: Cut) -> None:
    found = cascade.run(cut.artifact, [quantize(x, cut.artifact.inputs[0]) for x, _ in val(cut)], NEVER)
    early, final = (scores.argmax(axis=-1) for scores in cascade.scores_of(cut.artifact, found))
    apart = np.flatnonzero(early != final)
    assert len(apart)
    # Examples of which the full path is right about all, and the early head about none.
    hard = cut.data.validation.with_targets(final).take(apart)
    with pytest.raises(BrokenPromise, match=r"early head alone reaches 0\.0000, the full path 1\.0000") as told:
        cascade.choose(cut.artifact, replace(cut.data, validation=hard), cut.step, Progress())
    assert "stages.early_exit.share" in told.value.mend


def val(cut: Cut) -> Iterator[Any]:
    return cut.data.validation.batches(64)


def test_a_stage_that_reads_features_of_another_scale_is_refused(cut: Cut, tmp_path: Path) -> None:
    first, rest = cut.artifact.parts
    with pytest.raises(Exception, match="another scale"):
        HostTarget().cascade((first.path, first.path), [stored(cut)], 0.5)
    assert issubclass(HostTarget, Target)
    with pytest.raises(Exception, match="There is no model file"):
        HostTarget().cascade((tmp_path / "none.tflite", rest.path), [stored(cut)], 0.5)


def residual() -> Any:
    """conv → norm → relu → [conv → conv] + shortcut → dense."""
    from pipeline._tf import keras

    keras.backend.clear_session()
    layers = keras.layers
    entry = layers.Input((16, 16, 1), name="input")
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(entry)))
    y = layers.Conv2D(4, 3, padding="same", name="inside_1")(x)
    y = layers.Conv2D(4, 3, padding="same", name="inside_2")(y)
    y = layers.Flatten(name="flatten")(layers.Add(name="add")([x, y]))
    return keras.Model(entry, layers.Dense(4, name="logits")(layers.Dropout(0.5, name="dropout")(y)))


def test_places_are_those_that_everything_passes_through() -> None:
    model = residual()
    places = places_of(model)
    assert [place.layer for place in places] == ["conv", "norm", "relu", "add", "flatten", "dropout"]
    assert [place.share for place in places] == sorted(place.share for place in places)
    # A head between a convolution and what is fused into it would keep them apart.
    assert place_after(places, "conv", model).layer == "relu"
    assert place_after(places, "flatten", model).layer == "dropout"
    assert chosen_place(places, 0.01, model).layer == "relu"
    assert chosen_place(places, 0.99, model).layer == "add"


@pytest.mark.parametrize(
    ("after", "what"),
    [
        ("inside_1", "other tensors lead past it"),
        ("logits", "other tensors lead past it, or nothing follows it"),
        ("convv", "names the layer 'convv', which the model does not have"),
    ],
)
def test_a_place_that_is_none_is_refused_with_those_that_are(after: str, what: str, cut: Cut) -> None:
    with pytest.raises(ModelError, match=what) as told:
        apply(EarlyExit(epochs=1, after=after), Draft.of(residual()), cut.data)
    assert "auto, or one of: conv, norm, relu, add" in told.value.expected


def test_a_model_of_one_layer_has_no_place() -> None:
    from pipeline._tf import keras

    keras.backend.clear_session()
    model = keras.Sequential([keras.layers.InputLayer((8,)), keras.layers.Dense(4, name="only")])
    with pytest.raises(ModelError, match="There is no place in this model"):
        chosen_place(places_of(model), 0.5, model)


def test_a_place_behind_nearly_all_of_the_model_is_refused() -> None:
    from pipeline._tf import keras

    keras.backend.clear_session()
    stack = [keras.layers.InputLayer((64,)), keras.layers.Dense(200, name="large"), keras.layers.Dense(4)]
    model = keras.Sequential(stack)
    with pytest.raises(ModelError, match=r"behind 'large', where 94\.1 % of"):
        chosen_place(places_of(model), 0.35, model)


def test_a_file_that_cannot_be_cut_is_refused(cut: Cut) -> None:
    from pipeline._tf import keras

    model = residual()
    inside = model.get_layer("inside_1").output
    early = keras.layers.Dense(4, name="early")(keras.layers.Flatten(name="inside_flat")(inside))
    both = Draft.of(keras.Model(model.inputs, [early, *model.outputs]))
    with pytest.raises(ModelError, match="cannot be cut behind its early head"):
        convert.cut(int8(both, cut.data))


def test_it_learns_from_the_full_path_where_asked(cut: Cut) -> None:
    stage = EarlyExit.model_validate({"epochs": 1, "after": "pool", "guidance": {"teacher": "before"}})
    draft = apply(stage, cut.before, cut.data)
    assert "guidance_loss" in draft.steps[-1].metrics
    assert draft.steps[-1].notes["after"] == "pool"


def test_both_losses_are_weighed() -> None:
    """One step of plain gradient descent, against the gradient of the weighted sum by hand."""
    from pipeline._tf import keras, tf

    keras.backend.clear_session()
    entry = keras.layers.Input((6,))
    features = keras.layers.Dense(5, activation="relu", kernel_regularizer="l2")(entry)
    final = keras.layers.Dense(3, activation="softmax")(features)
    both = keras.Model(entry, [final, keras.layers.Dense(3)(features)])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 6)).astype(np.float32), rng.integers(0, 3, 16)
    cross_entropy = keras.losses.sparse_categorical_crossentropy
    with tf.GradientTape() as tape:
        scores, early = both(x)
        rest = tf.reduce_mean(cross_entropy(y, scores)) + both.losses[0]
        total = 0.3 * tf.reduce_mean(cross_entropy(y, early, from_logits=True)) + 0.7 * rest
    gradients = tape.gradient(total, both.trainable_variables)
    wanted = [(weight - 0.1 * gradient).numpy() for weight, gradient in zip(both.weights, gradients, strict=True)]
    learner = joined(both, Classification(), 0.3)
    learner.compile(keras.optimizers.SGD(0.1), None, ["accuracy"])
    told = learner.train_on_batch(x, y, return_dict=True)
    assert told["loss"] == pytest.approx(float(total), rel=1e-5)
    assert set(told) == {"loss", "accuracy", "early_loss", "early_accuracy"}
    for found, expected in zip(both.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_with_its_head_the_model_is_trained_on_and_what_was_promised_of_it_stays(cut: Cut) -> None:
    model = cut.before.restore()
    kernel = model.get_layer("dense").kernel
    kernel.assign(np.where(np.arange(kernel.shape[0])[:, None] % 2, 0.0, kernel.numpy()))
    step = Step("prune", {}, 0.0, {}, {})
    sparse = cut.before.then(model, step, frozenset({"sparse"}))
    settings = {"epochs": 1, "train_trunk": True, "early_weight": 0.4, "learning_rate": 0.01, "head": {"filters": 2}}
    draft = apply(EarlyExit.model_validate(settings), sparse, cut.data)
    trained = draft.restore()
    found = trained.get_layer("dense").kernel.numpy()
    assert (found[1::2] == 0).all()
    assert (found[::2] != kernel.numpy()[::2]).any()
    assert (trained.get_layer("conv").kernel.numpy() != model.get_layer("conv").kernel.numpy()).any()
    assert [output.shape for output in trained.outputs] == [output.shape for output in cut.draft.restore().outputs]
    assert trained.outputs[0].name.startswith("early_exit_scores")
    assert {"val_accuracy", "val_early_accuracy", "early_loss"} <= draft.steps[-1].metrics.keys()
    assert draft.traits == {"sparse", "early_exit"}


def test_features_without_places_get_a_dense_head(cut: Cut) -> None:
    stage = EarlyExit.model_validate({"epochs": 1, "after": "dense", "head": {"units": 5}})
    draft = apply(stage, cut.before, cut.data)
    assert draft.steps[-1].notes["head"] == ["early_exit_dense", "early_exit_scores"]
