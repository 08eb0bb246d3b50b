"""Anomaly detection: errors by hand, what training may see, and a threshold that never looks at the test split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from pipeline.errors import DataError, ModelError
from pipeline.tasks.anomaly import Anomaly

Y = np.arange(200) % 4 == 3


def errors(seed: int = 3) -> Any:
    """Reconstruction errors, larger for anomalies."""
    return (np.random.default_rng(seed).gamma(2, 1 + 2 * Y)).astype(np.float32)


def test_what_is_read_out_is_the_mean_squared_error_of_each_example() -> None:
    x = np.array([[[1, 2], [3, 4]], [[0, 0], [0, 0]]], np.float32)
    off = np.array([[[1, 1], [1, 3]], [[0, 0], [0, 2]]], np.float32)
    assert Anomaly().readout(x, x + off).tolist() == [3.0, 1.0]


def test_figures_are_what_scikit_learn_says() -> None:
    found = errors()
    details = Anomaly().details(Y.astype(int), found)
    assert Anomaly().score(Y.astype(int), found) == pytest.approx(metrics.roc_auc_score(Y, found))
    assert details["average_precision"] == pytest.approx(metrics.average_precision_score(Y, found))
    assert details["median_error_normal"] < details["median_error_anomalous"]
    area = np.trapz(details["roc"]["true_positive_rate"], details["roc"]["false_positive_rate"])
    assert area == pytest.approx(metrics.roc_auc_score(Y, found), abs=2e-3)


@pytest.mark.parametrize("power", [0, 1, 6])
def test_the_histogram_counts_every_example(power: int) -> None:
    bars = Anomaly().details(Y.astype(int), errors() ** power)["errors"]
    assert (sum(bars["normal"]), sum(bars["anomalous"])) == (150, 50)
    assert len(bars["edges"]) == len(bars["normal"]) + 1
    assert bars["edges"] == sorted(bars["edges"])


def test_the_threshold_comes_from_the_held_out_errors_alone() -> None:
    held_out = np.linspace(0, 1, 101, dtype=np.float32)
    y, found = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.95, 0.8, 2], np.float32)
    assert Anomaly(threshold_percentile=90).operating_point(lambda: held_out, y, found) == {
        "threshold": pytest.approx(0.9),
        "recall_at_threshold": 0.5,
        "false_positive_rate_at_threshold": 0.25,
    }


def test_agreement_is_the_share_of_pairs_in_the_same_order() -> None:
    task, found = Anomaly(), errors()
    assert task.agreement(found, found * 3) == 1.0
    assert task.agreement(found, -found) == 0.0
    assert task.agreement(found, errors(9)) == pytest.approx(0.5, abs=0.15)
    assert task.agreement(found, np.ones_like(found)) == 0.0
    assert task.output_error(found, found * 1.5) == pytest.approx(0.5)
    assert task.output_error(np.zeros(3, np.float32), np.zeros(3, np.float32)) == 0.0


def test_one_side_alone_has_no_auc() -> None:
    assert np.isnan(Anomaly().score(np.zeros(200, int), errors()))
    details = Anomaly().details(np.zeros(200, int), errors())
    assert (details["roc"], details["average_precision"], details["median_error_anomalous"]) == (None, None, None)


def test_training_sees_what_is_normal() -> None:
    task = Anomaly(normal=2)
    y = task.check_targets(np.array([2, 0, 5, 2], np.uint8), "training")
    assert y.tolist() == [0, 1, 1, 0]
    assert task.keep_for_training(y).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("y", "split", "message"),
    [
        ([0, 1, 2], "training", "run from 0 to 2"),
        ([1, 1], "training", "has no normal example"),
        ([0, 0], "test", "has no anomalous example"),
        ([0.0, 1.0], "training", "one integer an example"),
        ([[0, 1]], "training", "one integer an example"),
    ],
)
def test_labels_that_are_none_are_refused(y: Any, split: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Anomaly().check_targets(np.array(y), split)


def test_a_training_split_without_anomalies_is_what_is_wanted() -> None:
    assert Anomaly().check_targets(np.zeros(3, bool), "training").tolist() == [0, 0, 0]


def test_a_model_that_is_no_autoencoder_is_refused() -> None:
    assert Anomaly().output_shape(1, (8, 3)) == (8, 3)
    with pytest.raises(ModelError, match=r"takes examples of shape \(8, 3\) and gives \(1,\)"):
        Anomaly().readout(np.zeros((2, 8, 3), np.float32), np.zeros((2, 1), np.float32))


@pytest.mark.tf
def test_a_classifier_is_refused_before_training() -> None:
    from pipeline._tf import keras

    model = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(3)])
    with pytest.raises(ModelError, match="an autoencoder"):
        Anomaly().loss(model)
