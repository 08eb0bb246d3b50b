"""Classification: scores by hand, and losses that fit the last layer."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.tasks.classification import Classification

OUTPUTS = np.array([[2, 1, 0], [0, 2, 1], [0, 1, 2], [3, 1, 0]], np.float32)


def test_accuracy_and_agreement_by_hand() -> None:
    task = Classification()
    assert task.score(np.array([0, 1, 2, 2]), OUTPUTS) == 0.75
    assert task.agreement(OUTPUTS, OUTPUTS[::-1]) == 0.5 - 0.5 * (OUTPUTS[0].argmax() != OUTPUTS[3].argmax())
    assert task.details(np.array([0, 1, 2, 2]), OUTPUTS) == {"examples": 4, "correct": 3, "wrong": 1}


def test_named_classes_may_be_absent_but_not_exceeded() -> None:
    task = Classification(classes=5)
    assert task.num_outputs(np.array([0, 1])) == 5
    task.check_targets(np.array([0, 4]), "training")
    with pytest.raises(DataError, match="out of range"):
        task.check_targets(np.array([0, 5]), "training")


@pytest.mark.tf
@pytest.mark.parametrize(("activation", "from_logits"), [(None, True), ("softmax", False)])
def test_the_loss_fits_the_last_layer(activation: str | None, from_logits: bool) -> None:
    from pipeline._tf import keras

    model = keras.Sequential([keras.layers.InputLayer((4,)), keras.layers.Dense(3, activation=activation)])
    assert Classification().loss(model).get_config()["from_logits"] is from_logits
