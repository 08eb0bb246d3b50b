"""The threshold of an early exit, from confidences and right answers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_targets._on_device_cascade import confidence
from pipeline.cascade import Stages, best_threshold
from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe

RIGHT, WRONG = True, False


def test_the_least_threshold_that_loses_nothing() -> None:
    sure = np.array([0.5, 0.99, 0.9, 0.8])
    early = np.array([WRONG, RIGHT, RIGHT, RIGHT])
    threshold = best_threshold(sure, early, np.ones(4, bool), 0.0)
    # Half way between the last that may leave and the first that may not.
    assert threshold == pytest.approx(0.65)


def test_examples_that_are_equally_sure_leave_together_or_not_at_all() -> None:
    sure = np.array([0.9, 0.7, 0.7, 0.7])
    early = np.array([RIGHT, RIGHT, RIGHT, WRONG])
    assert best_threshold(sure, early, np.ones(4, bool), 0.0) == pytest.approx(0.8)


def test_neighbours_among_floats_are_told_apart() -> None:
    high = 1.0
    low = float(np.nextafter(high, 0))
    threshold = best_threshold(np.array([high, low]), np.array([RIGHT, WRONG]), np.ones(2, bool), 0.0)
    assert threshold == high
    lower = float(np.nextafter(low, 0))
    threshold = best_threshold(np.array([low, lower]), np.array([RIGHT, WRONG]), np.ones(2, bool), 0.0)
    assert threshold == low


def test_none_where_even_the_surest_is_wrong() -> None:
    sure, early = np.array([0.9, 0.5]), np.array([WRONG, RIGHT])
    assert best_threshold(sure, early, np.ones(2, bool), 0.0) is None


def test_what_both_get_wrong_costs_nothing() -> None:
    sure, early = np.array([0.9, 0.5]), np.array([WRONG, WRONG])
    assert best_threshold(sure, early, np.zeros(2, bool), 0.0) == pytest.approx(0.5)


def test_a_loss_counts_with_its_uncertainty() -> None:
    """3 of 1,000 lost are exactly the limit, and could be more among others."""
    sure = np.linspace(1, 0.5, 1000)
    early = np.ones(1000, bool)
    early[[300, 600, 900]] = WRONG
    threshold = best_threshold(sure, early, np.ones(1000, bool), 0.003)
    assert threshold is not None
    # One lost: 0.001 + 1.645 * 0.001 = 0.0026; two: 0.002 + 1.645 * 0.0014 = 0.0043.
    assert sure[600] < threshold < sure[599]


@given(st.lists(st.tuples(st.floats(0.1, 1), st.booleans(), st.booleans()), min_size=1, max_size=60), st.floats(0, 0.2))
def test_the_chosen_threshold_keeps_within_the_limit(answers: list[tuple[float, bool, bool]], limit: float) -> None:
    sure, early, final = (np.array(column) for column in zip(*answers, strict=True))
    threshold = best_threshold(sure, early, final, limit)
    if threshold is not None:
        left = sure >= threshold
        assert left.any()
        lost = np.where(left, final.astype(float) - early, 0.0)
        assert lost.mean() <= limit + 1e-9


def test_confidence_is_softmax_of_what_is_stored() -> None:
    scores = np.array([[10, 20, -128], [127, 127, 127]], np.int8)
    logits = (scores.astype(float) - 5) * 0.1
    expected = np.exp(logits).max(axis=-1) / np.exp(logits).sum(axis=-1)
    assert confidence(scores, 0.1, 5) == pytest.approx(expected)
    assert confidence(logits, 0.0, 0) == pytest.approx(expected)
    # Far logits are no overflow.
    assert confidence(np.array([1e4, 0.0]), 0.0, 0) == 1.0


def test_the_average_is_of_both_stages() -> None:
    stages = Stages(0.75, 0.9, 0.99, 0.985, 0, early_macs=300, rest_macs=800, full_macs=1000)
    assert stages.average_macs == pytest.approx(0.3 + 0.25 * 0.8)
    assert stages.drop == 0.005


REFUSED = {
    "- early_exit\n  - train": "'train' cannot come after 'early_exit' (stages[1]): it works on models of one output",
    "- early_exit\n  - qat": "'qat' cannot come after 'early_exit'",
    "- early_exit\n  - early_exit": "the model has an early exit already",
    "- qat\n  - early_exit": "its head would be quantized otherwise than the rest",
    "- correct_bias\n  - early_exit: {train_trunk: true}": "training its model on would undo it; drop train_trunk",
    "- early_exit: {train_trunk: true, guidance: {}}": "a teacher guides the head alone",
    "- early_exit\nconvert: {mixed_precision: {}}": "mixed_precision judges a model by one output",
}


@pytest.mark.parametrize("stages", REFUSED)
def test_what_cannot_go_with_an_early_exit_is_refused_before_any_work(stages: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as told:
        load_recipe(recipe(tmp_path, "classification", stages))
    assert REFUSED[stages] in str(told.value)


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ("regression", "an early exit needs classes to be sure of, and 'regression' has none"),
        ("{classification: {output: single}}", "an early exit needs a score for each class"),
    ],
)
def test_a_task_without_a_score_for_each_class_is_refused(task: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=why):
        load_recipe(recipe(tmp_path, task, "- early_exit"))


def recipe(folder: Path, task: str, stages: str) -> Path:
    path = folder / "recipe.yaml"
    data = "data:\n  npz: {path: tiny.npz}\nmodel: lenet5\n"
    path.write_text(f"task: {task}\n{data}stages:\n  - train\n  {stages}\n")
    return path
