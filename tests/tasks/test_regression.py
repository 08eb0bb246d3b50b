"""Regression: figures by hand and by scikit-learn, and what R² is not defined for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from pipeline.errors import DataError, ModelError
from pipeline.tasks.regression import Regression


def guesses(outputs: int = 2, count: int = 400) -> tuple[Any, Any]:
    """Targets, and answers that are near them."""
    rng = np.random.default_rng(2)
    y = rng.normal(5, 2, (count, outputs)).astype(np.float32)
    return y, (y + rng.normal(0, 0.5, y.shape)).astype(np.float32)


def test_figures_are_what_scikit_learn_says() -> None:
    y, said = guesses()
    details = Regression().details(y, said)
    assert Regression().score(y, said) == pytest.approx(metrics.r2_score(y, said))
    assert details["mae"] == pytest.approx(metrics.mean_absolute_error(y, said))
    assert details["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, said))
    assert details["max_error"] == pytest.approx(np.abs(y - said).max())
    assert details["per_output"][1]["r2"] == pytest.approx(metrics.r2_score(y[:, 1], said[:, 1]))


def test_always_the_mean_is_nothing_and_worse_is_less() -> None:
    y, _ = guesses(1)
    assert Regression().score(y, np.full_like(y, y.mean())) == pytest.approx(0, abs=1e-6)
    assert Regression().score(y, np.full_like(y, 100)) < 0


def test_targets_that_never_vary_leave_r2_undefined() -> None:
    y, said = guesses()
    y[:, 0] = 3
    details = Regression().details(y, said)
    assert details["per_output"][0]["r2"] is None
    assert details["notes"] == ["R² is not defined where the targets are all the same: output 0."]
    assert Regression().score(y, said) == pytest.approx(metrics.r2_score(y[:, 1], said[:, 1]))
    assert np.isnan(Regression().score(y[:, :1], said[:, :1]))
    assert np.isnan(Regression().score(y[:1], said[:1]))


def test_the_plot_shows_the_same_examples_of_every_model() -> None:
    y, said = guesses(6, 1000)
    before, after = (Regression().details(y, one)["scatter"] for one in (said, said + 1))
    assert [plot["output"] for plot in before] == [0, 1, 2, 3]
    assert before[0]["true"] == after[0]["true"]
    assert len(before[0]["predicted"]) == 300
    assert before[0]["true"][-1] == pytest.approx(y[-1, 0], rel=1e-4)


def test_agreement_is_within_a_share_of_the_spread() -> None:
    reference = np.array([[0.0], [10.0]], np.float32)  # a standard deviation of 5
    task = Regression(tolerance=0.1)
    assert task.agreement(reference, reference + np.array([[0.49], [0.51]], np.float32)) == 0.5
    assert task.output_error(reference, reference + 1) == pytest.approx(0.2)


def test_a_model_that_always_says_the_same_agrees_with_itself_only() -> None:
    constant = np.ones((3, 1), np.float32)
    assert Regression().agreement(constant, constant) == 1.0
    assert Regression().agreement(constant, constant + 1) == 0.0
    assert Regression().output_error(constant, constant) == 0.0
    assert Regression().output_error(constant, constant + 2) == 2.0


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([1.0, np.nan, 2.0]), "1 targets of the training split are NaN"),
        (np.array([1.0, 1e39, 2.0]), "NaN or infinite"),
        (np.array([4, 4, 4]), "is always 4"),
        (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
        (np.array(["1", "2"]), "have shape"),
    ],
)
def test_targets_that_are_none_are_refused(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Regression().check_targets(y, "training")


def test_targets_become_a_table() -> None:
    task = Regression()
    y = task.check_targets(np.array([1, 2, 3]), "training")
    assert (y.shape, y.dtype.name, task.num_outputs(y)) == ((3, 1), "float32", 1)
    with pytest.raises(DataError, match="2 targets an example"):
        task.check_targets(np.ones((3, 2)), "test", 1)
    task.check_targets(np.ones(3), "test", 1)


def test_outputs_that_are_no_numbers_are_a_message() -> None:
    y, said = guesses()
    with pytest.raises(ModelError, match="NaN or infinite"):
        Regression().score(y, said * np.inf)


@pytest.mark.tf
@pytest.mark.parametrize("name", ["mse", "mae", "huber"])
def test_every_loss_is_there(name: Any) -> None:
    assert float(Regression(loss_function=name).loss(None)([[1.0]], [[1.5]])) > 0
