"""Classification: scores by hand and by scikit-learn, and losses that fit the last layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics

from pipeline.errors import DataError, ModelError
from pipeline.tasks.classification import Classification

OUTPUTS = np.array([[2, 1, 0], [0, 2, 1], [0, 1, 2], [3, 1, 0]], np.float32)
Y = np.array([0, 1, 2, 2])


def guesses(classes: int, count: int = 300, seed: int = 0) -> tuple[Any, Any]:
    """Labels, and logits that know something of them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, count)
    logits = rng.normal(0, 1, (count, classes)).astype(np.float32)
    logits[np.arange(count), y] += 1.5
    return y, logits


def test_accuracy_and_agreement_by_hand() -> None:
    task = Classification()
    assert task.score(Y, OUTPUTS) == 0.75
    assert task.agreement(OUTPUTS, OUTPUTS[::-1]) == 0.5 - 0.5 * (OUTPUTS[0].argmax() != OUTPUTS[3].argmax())


def test_confusion_and_rows_by_hand() -> None:
    details = Classification().details(Y, OUTPUTS)
    assert details["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert [details[name] for name in ("examples", "correct", "wrong")] == [4, 3, 1]
    assert details["per_class"][2] == {
        "class": 2, "examples": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "roc_auc": 0.5
    }  # fmt: skip
    assert "top_3_accuracy" not in details


def test_figures_are_what_scikit_learn_says() -> None:
    y, logits = guesses(7)
    details = Classification().details(y, logits)
    shares = np.exp(logits.astype(np.float64))
    shares /= shares.sum(axis=1, keepdims=True)
    assert details["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, shares, multi_class="ovr"))
    assert details["f1_macro"] == pytest.approx(metrics.f1_score(y, logits.argmax(axis=1), average="macro"))
    assert details["top_3_accuracy"] == pytest.approx(metrics.top_k_accuracy_score(y, shares, k=3))
    # The mean curve encloses the mean area, thinned or not.
    roc = details["roc"]
    assert len(roc["true_positive_rate"]) <= 100
    area = np.trapz(roc["true_positive_rate"], roc["false_positive_rate"])
    assert area == pytest.approx(details["roc_auc"], abs=2e-3)


def test_two_classes_are_one_question() -> None:
    y, logits = guesses(2)
    details = Classification().details(y, logits)
    margin = logits[:, 1] - logits[:, 0]
    assert details["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, margin))
    assert details["roc"]["of"] == "class 1"
    assert list(zip(details["roc"]["false_positive_rate"], details["roc"]["true_positive_rate"], strict=True))[-1] == (
        1,
        1,
    )


def test_a_class_that_is_not_in_the_test_split_is_left_out_and_named() -> None:
    y, logits = guesses(4)
    kept = y != 2
    details = Classification().details(y[kept], logits[kept])
    assert details["notes"] == ["Not in the test split, hence not in the averages: class 2."]
    assert details["per_class"][2]["roc_auc"] is None
    assert details["per_class"][2]["recall"] is None
    others = [row["roc_auc"] for row in details["per_class"] if row["class"] != 2]
    assert details["roc_auc"] == pytest.approx(np.mean(others))


def test_one_class_alone_has_no_roc() -> None:
    details = Classification().details(np.zeros(4, int), OUTPUTS)
    assert (details["roc"], details["roc_auc"]) == (None, None)
    assert details["per_class"][0]["recall"] == 0.5


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    row = Classification().details(np.array([0, 1, 2, 0]), np.tile(OUTPUTS[:1], (4, 1)))["per_class"][1]
    assert (row["precision"], row["recall"], row["f1"]) == (None, 0.0, 0.0)


@pytest.mark.parametrize(("classes", "matrix", "pairs"), [(30, True, False), (40, True, True), (101, False, True)])
def test_of_many_classes_the_pairs_that_are_confused_most(classes: int, matrix: bool, pairs: bool) -> None:
    y, logits = guesses(classes, 2000)
    details = Classification().details(y, logits)
    assert ("confusion_matrix" in details, "most_confused" in details) == (matrix, pairs)
    if matrix and pairs:
        wrong = np.array(details["confusion_matrix"])
        np.fill_diagonal(wrong, 0)
        first = details["most_confused"][0]
        assert first["count"] == wrong[first["true"], first["predicted"]] == wrong.max()
        assert len(details["most_confused"]) == 15


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_a_message(bad: float) -> None:
    broken = OUTPUTS.copy()
    broken[2, 1] = bad
    with pytest.raises(ModelError, match="1 of 4 examples; the first is number 2"):
        Classification().score(Y, broken)


def test_nothing_to_score_is_a_message() -> None:
    with pytest.raises(DataError, match="no example to score"):
        Classification().score(Y[:0], OUTPUTS[:0])


def test_named_classes_may_be_absent_but_not_exceeded() -> None:
    task = Classification(classes=5)
    assert task.num_outputs(np.array([0, 1])) == 5
    task.check_targets(np.array([0, 4]), "training")
    with pytest.raises(DataError, match="out of range"):
        task.check_targets(np.array([0, 5]), "training")


@pytest.mark.parametrize("probabilities", [True, False])
def test_a_single_output_says_class_1(probabilities: bool) -> None:
    task = Classification(output="single")
    y = task.check_targets(np.array([0, 1, 1, 0], np.uint8), "training")
    assert task.num_outputs(y) == 1
    logits = np.array([[-2], [3], [-0.5], [-4]], np.float32)
    outputs = 1 / (1 + np.exp(-logits)) if probabilities else logits
    assert task.score(y, outputs) == 0.75
    details = task.details(y, outputs)
    assert details["confusion_matrix"] == [[2, 0], [1, 1]]
    assert details["roc_auc"] == 1.0
    assert task.output_error(logits, 1 / (1 + np.exp(-logits))) == pytest.approx(0, abs=1e-6)


def test_a_single_output_tells_no_three_classes_apart() -> None:
    with pytest.raises(ValidationError, match="tells two classes apart"):
        Classification(output="single", classes=3)
    with pytest.raises(DataError, match="expected: 0 to 1"):
        Classification(output="single").check_targets(np.array([0, 1, 2]), "training")


def test_an_int8_softmax_of_many_classes_is_no_logits() -> None:
    """Rounded to 1/256, most of 100 classes are 0 and the sum is off."""
    _, logits = guesses(100)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    rounded = np.floor(shares * 256).astype(np.float32) / 256
    assert Classification().output_error(shares.astype(np.float32), rounded) == pytest.approx(
        (shares - rounded).sum(axis=1).mean() / 2
    )


@pytest.mark.tf
@pytest.mark.parametrize(
    ("activation", "output", "from_logits"),
    [
        (None, "one_per_class", True),
        ("softmax", "one_per_class", False),
        (None, "single", True),
        ("sigmoid", "single", False),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_loss_fits_the_last_layer(activation: str | None, output: Any, from_logits: bool, wrapped: bool) -> None:
    from pipeline._tf import keras, tfmot

    units = 1 if output == "single" else 3
    model = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(units, activation=activation)])
    if wrapped:
        model = tfmot().quantization.keras.quantize_model(model)
    task = Classification(output=output)
    assert task.loss(model).get_config()["from_logits"] is from_logits
    if output == "single":
        assert task.keras_metrics(model)[0].get_config()["threshold"] == (0.0 if from_logits else 0.5)


@pytest.mark.tf
def test_what_only_shapes_hides_no_softmax() -> None:
    from pipeline._tf import keras
    from pipeline.tasks._last_layer import last_activation

    layers = keras.layers
    inputs = layers.Input((4, 2))
    for last, name in ((layers.Softmax(), "softmax"), (layers.Activation("sigmoid"), "sigmoid")):
        outputs = layers.Flatten()(last(layers.Dense(3)(inputs)))
        assert last_activation(keras.Model(inputs, outputs)) == name
