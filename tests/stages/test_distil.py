"""distil and guidance: a student comes to say what its teacher says, and the teacher stays at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.dataset import ArraySplit, Dataset
from pipeline.draft import Draft
from pipeline.errors import ModelError, RecipeError
from pipeline.recipe import load_recipe
from pipeline.stages.distil import Distil
from pipeline.stages.prune import Prune
from pipeline.stages.train import Train
from pipeline.tasks.classification import Classification
from tests.small import TINY_RECIPE
from tests.stages.tiny import apply, tiny_data, tiny_draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tiny_data()


@pytest.fixture(scope="module")
def teacher(data: Dataset) -> Draft:
    return apply(Train.model_validate({"epochs": 12, "batch_size": 8, "learning_rate": 0.005}), tiny_draft(), data)


def misled(data: Dataset) -> Dataset:
    """The same images with targets that tell nothing: what is learnt comes from the teacher."""
    assert isinstance(data.train, ArraySplit)
    y = np.random.default_rng(5).integers(0, data.num_outputs, data.train.size)
    return replace(data, train=data.train.with_targets(y))


def answers(draft: Draft, data: Dataset) -> NDArray[np.int64]:
    x = np.concatenate([batch for batch, _ in data.test.batches(64)])
    return np.asarray(draft.restore().predict(x, verbose=0).argmax(axis=-1))


def distil(**settings: Any) -> Distil:
    return Distil.model_validate({"epochs": 12, "batch_size": 8, "learning_rate": 0.005, **settings})


def test_a_student_learns_from_its_teacher_alone(teacher: Draft, data: Dataset) -> None:
    apart = misled(data)
    student = {"lenet5": {"variant": "caffe", "filters_1": 4, "filters_2": 6, "units": 12}}
    taught = apply(distil(student=student, guidance={"alpha": 1.0}), teacher, apart)
    alone = apply(distil(student=student, guidance={"alpha": 0.0}), teacher, apart)
    agree, chance = ((answers(each, data) == answers(teacher, data)).mean() for each in (taught, alone))
    assert agree > 0.9
    assert agree > chance + 0.2
    assert taught.traits == {"distilled"}
    assert taught.steps[-1].metrics["parameters"] < sum(weight.size for weight in teacher.weights)


def test_the_teacher_stays_with_the_draft_and_survives_the_cache(teacher: Draft, data: Dataset) -> None:
    born_again = apply(distil(epochs=1), teacher, data)
    assert born_again.teacher is not None
    assert born_again.teacher.sha256 == teacher.bare().sha256
    assert Draft.from_files(born_again.to_files()).sha256 == born_again.sha256
    assert born_again.architecture == teacher.architecture  # the same layers, with weights of their own
    assert born_again.sha256 != teacher.sha256


def test_pruning_asks_the_float_model_behind_it(data: Dataset) -> None:
    from models.lenet5 import build
    from pipeline._tf import fix_seed

    fix_seed(1)
    untrained = Draft.of(build((16, 16, 1), 4, variant="caffe", filters_1=6, filters_2=8, units=24))
    floats = apply(Train.model_validate({"epochs": 12, "batch_size": 8, "learning_rate": 0.005}), untrained, data)
    settings = {"epochs": 8, "batch_size": 8, "sparsity": 0.5, "learning_rate": 0.003}
    guided, alone = (Prune.model_validate({**settings, "guidance": {"alpha": alpha}}) for alpha in (1.0, 0.0))
    pruned, misguided = (apply(each, floats, misled(data)) for each in (guided, alone))
    agree, chance = ((answers(each, data) == answers(floats, data)).mean() for each in (pruned, misguided))
    assert agree > 0.9
    assert agree > chance + 0.2
    assert pruned.teacher is not None
    assert pruned.teacher.sha256 == floats.bare().sha256
    assert "guidance_loss" in pruned.steps[-1].curves
    assert "val_guidance_loss" not in pruned.steps[-1].curves


def test_a_teacher_of_the_zoo_is_trained_first(data: Dataset) -> None:
    settings = distil(epochs=1, teacher_epochs=1, teacher={"lenet5": {"variant": "caffe"}})
    drafted = apply(settings, tiny_draft(), data)
    assert drafted.teacher is not None
    assert "conv2" in drafted.teacher.architecture


def test_features_are_drawn_together(teacher: Draft, data: Dataset) -> None:
    features = {layer: layer for layer in _names(teacher)[:1]}
    drafted = apply(distil(epochs=1, guidance={"features": features}), teacher, data)
    assert drafted.steps[-1].curves["loss"][0] > 0


@pytest.mark.parametrize("features", [{"nowhere": "nowhere"}])
def test_features_that_are_not_there_are_named(features: dict[str, str], teacher: Draft, data: Dataset) -> None:
    with pytest.raises(ModelError, match="names the layer 'nowhere'"):
        apply(distil(guidance={"features": features}), teacher, data)


def test_a_student_must_be_of_the_zoo(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TINY_RECIPE.replace("  - prune:", "  - distil: {student: mine.keras}\n  - prune:"))
    with pytest.raises(RecipeError, match="the student must be a model of the zoo"):
        load_recipe(recipe)


def test_distil_after_prune_is_refused_before_any_work(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TINY_RECIPE.replace("  - qat:", "  - distil\n  - qat:"))
    with pytest.raises(RecipeError, match="'distil' cannot come after 'prune'"):
        load_recipe(recipe)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_targets_are_hintons(temperature: float) -> None:
    from pipeline._tf import keras, tf

    layers = keras.layers
    logits = keras.Sequential([layers.InputLayer((3,)), layers.Dense(3, name="logits")])
    chances = keras.Sequential([layers.InputLayer((3,)), layers.Dense(3, activation="softmax", name="chances")])
    ours, theirs = (np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32) for seed in (0, 1))

    def softmax(x: NDArray[Any]) -> NDArray[Any]:
        grown = np.exp(x)
        return np.asarray(grown / grown.sum(axis=-1, keepdims=True))

    by_hand = (
        -(softmax(theirs / temperature) * np.log(softmax(ours / temperature))).sum(axis=-1).mean() * temperature**2
    )
    plain = Classification().soft_loss(logits, logits, temperature)(tf.constant(ours), tf.constant(theirs))
    assert float(plain) == pytest.approx(by_hand, rel=1e-5)
    # A teacher that ends in probabilities says the same.
    mixed = Classification().soft_loss(logits, chances, temperature)(tf.constant(ours), tf.constant(softmax(theirs)))
    assert float(mixed) == pytest.approx(by_hand, rel=1e-4)


def _names(draft: Draft) -> list[str]:
    return [layer.name for layer in draft.restore().layers if layer.weights]
