"""Multi-label: figures by scikit-learn, labels that do not occur, and targets that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from pipeline.errors import DataError, ModelError
from pipeline.tasks.multi_label import MultiLabel


def guesses(labels: int = 4, count: int = 200) -> tuple[Any, Any]:
    """Targets, and logits that know something of them."""
    rng = np.random.default_rng(1)
    y = (rng.random((count, labels)) < 0.3).astype(np.float32)
    return y, (2 * y - 1 + rng.normal(0, 1.2, y.shape)).astype(np.float32)


def test_figures_are_what_scikit_learn_says() -> None:
    y, logits = guesses()
    task = MultiLabel()
    assert task.score(y, logits) == pytest.approx(metrics.average_precision_score(y, logits, average="macro"))
    details = task.details(y, logits)
    decided = logits > 0
    assert details["f1_macro"] == pytest.approx(metrics.f1_score(y, decided, average="macro"))
    assert details["f1_micro"] == pytest.approx(metrics.f1_score(y, decided, average="micro"))
    assert details["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, logits, average="macro"))
    assert details["subset_accuracy"] == pytest.approx((decided == y).all(axis=1).mean())
    assert details["hamming_loss"] == pytest.approx((decided != y).mean())
    assert [row["examples"] for row in details["per_label"]] == y.sum(axis=0).tolist()


def test_logits_and_probabilities_are_told_apart() -> None:
    y, logits = guesses()
    shares = (1 / (1 + np.exp(-logits))).astype(np.float32)
    task = MultiLabel()
    assert task.details(y, logits)["f1_micro"] == task.details(y, shares)["f1_micro"]
    assert task.agreement(logits, shares) == 1.0
    assert task.output_error(logits, shares) == pytest.approx(0, abs=1e-6)


def test_a_higher_threshold_gives_fewer_labels() -> None:
    y, logits = guesses()
    recalls = [MultiLabel(threshold=at).details(y, logits)["per_label"][0]["recall"] for at in (0.2, 0.5, 0.9)]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] > recalls[-1]


def test_agreement_wants_all_labels_of_an_example() -> None:
    one = np.array([[3, -3], [3, -3]], np.float32)
    assert MultiLabel().agreement(one, np.array([[3, 3], [3, -3]], np.float32)) == 0.5


def test_labels_that_do_not_occur_are_left_out_and_named() -> None:
    y, logits = guesses()
    y[:, 2] = 0
    details = MultiLabel().details(y, logits)
    assert details["notes"] == ["Not in the test split, hence not in the means over the labels: label 2."]
    others = [row["average_precision"] for row in details["per_label"] if row["label"] != 2]
    assert MultiLabel().score(y, logits) == pytest.approx(np.mean(others))
    assert details["per_label"][2]["average_precision"] is None


def test_no_label_at_all_is_no_figure() -> None:
    y, logits = guesses()
    assert np.isnan(MultiLabel().score(y * 0, logits))
    assert MultiLabel().details(y * 0, logits - 99)["roc"] is None


def test_outputs_that_are_no_numbers_are_a_message() -> None:
    y, logits = guesses()
    with pytest.raises(ModelError, match="NaN or infinite"):
        MultiLabel().score(y, logits * np.nan)


TABLE = np.array([[0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 1, 2]), "no table of 0 and 1"),
        (TABLE * 2, "no table of 0 and 1"),
        (np.array([["a", "b"]]), "no table of 0 and 1"),
        (np.array([[0.5, 1.0]]), "no table of 0 and 1"),
        (np.array([[np.nan, 1.0]]), "no table of 0 and 1"),
        (TABLE[:1].repeat(4, axis=0), "have the same labels"),
    ],
)
def test_targets_that_are_none_are_refused(y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MultiLabel().check_targets(y, "training")


def test_the_test_split_has_the_same_labels() -> None:
    task = MultiLabel()
    y = task.check_targets(TABLE.astype(bool), "training")
    assert (y.dtype.name, task.num_outputs(y)) == ("float32", 2)
    with pytest.raises(DataError, match="has 2"):
        task.check_targets(np.ones((3, 3)), "test", 2)


@pytest.mark.tf
@pytest.mark.parametrize(("activation", "from_logits"), [(None, True), ("sigmoid", False)])
def test_the_loss_fits_the_last_layer(activation: str | None, from_logits: bool) -> None:
    from pipeline._tf import keras

    model = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(3, activation=activation)])
    assert MultiLabel().loss(model).get_config()["from_logits"] is from_logits
