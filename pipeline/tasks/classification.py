"""Classification: one class of several for each example; scored by accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.errors import DataError
from pipeline.task import Task
from pipeline.tasks._confusion import class_figures
from pipeline.tasks._last_layer import last_activation
from pipeline.tasks._scores import require_scorable, sigmoid_probabilities, softmax_probabilities
from pipeline.tasks._soft_loss import soft_binary_loss, soft_categorical_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Classification(Task):
    """Labels are integers 0 … classes-1; the model gives a logit or probability of each class, or of class 1 alone."""

    metric: ClassVar[str] = "accuracy"
    output_error_meaning: ClassVar[str] = "probability that moves to other classes, on average"

    classes: int | None = Field(
        None, ge=2, description="How many classes; default: as many as the training labels name."
    )
    output: Literal["one_per_class", "single"] = Field(
        "one_per_class",
        description="What the model's last layer gives: a number for each class, or, of two classes, one number for "
        "class 1 (as Dense(1, sigmoid) does).",
    )

    @model_validator(mode="after")
    def _single_means_two(self) -> Self:
        if self.output == "single" and self.classes not in (None, 2):
            raise ValueError(f"output: single tells two classes apart, and classes is {self.classes}")
        return self

    def check_targets(self, y: NDArray[Any], split: str, num_outputs: int | None = None) -> NDArray[Any]:
        if y.ndim != 1 or y.dtype.kind not in "iu":
            raise DataError(
                f"The labels of the {split} split have shape {y.shape} and type {y.dtype}.",
                expected="one integer an example, shape (n,)",
                mend="store class indices; a one-hot array becomes them with .argmax(axis=1)",
            )
        labels = y.astype(np.int64)
        self._check_range(labels, split, 2 if self.output == "single" else num_outputs or self.classes)
        if num_outputs is None:
            self._check_classes(labels, split)
        return labels

    def num_outputs(self, y_train: NDArray[Any]) -> int:
        if self.output == "single":
            return 1
        return self.classes or int(y_train.max()) + 1

    def loss(self, model: Any) -> Any:
        from pipeline._tf import keras

        if self.output == "single":
            return keras.losses.BinaryCrossentropy(from_logits=last_activation(model) != "sigmoid")
        return keras.losses.SparseCategoricalCrossentropy(from_logits=last_activation(model) != "softmax")

    def soft_loss(self, student: Any, teacher: Any, temperature: float) -> Callable[[Any, Any], Any]:
        """Cross-entropy of the softened outputs, times the temperature squared (Hinton et al., 2015)."""
        if self.output == "single":
            return soft_binary_loss(student, teacher, temperature)
        return soft_categorical_loss(student, teacher, temperature)

    def keras_metrics(self, model: Any) -> list[Any]:
        from pipeline._tf import keras

        if self.output == "single":
            middle = 0.5 if last_activation(model) == "sigmoid" else 0.0
            return [keras.metrics.BinaryAccuracy("accuracy", threshold=middle)]
        return ["accuracy"]

    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        require_scorable(outputs)
        return float(np.mean(_decided(outputs) == y))

    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        """Macro averages, a row a class, the confusion matrix (rows true, columns predicted) and the ROC curve.

        `roc_auc` is of class 1 where there are two classes, else the mean over the classes, each against the rest.
        """
        require_scorable(outputs)
        return class_figures(y, _decided(outputs), _probabilities(outputs))

    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        return float(np.mean(_decided(reference) == _decided(outputs)))

    def output_error(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        moved = np.abs(_probabilities(reference) - _probabilities(outputs)).sum(axis=-1) / 2
        return float(moved.mean())

    def _check_range(self, labels: NDArray[np.int64], split: str, classes: int | None) -> None:
        below = int((labels < 0).sum())
        above = int((labels >= classes).sum()) if classes is not None else 0
        if below or above:
            raise DataError(
                f"{below + above} labels of the {split} split are out of range: they run from "
                f"{labels.min()} to {labels.max()}.",
                expected=f"0 to {classes - 1}" if classes is not None else "0 or more",
                mend="number the classes from 0, or set task.classification.classes",
            )

    def _check_classes(self, labels: NDArray[np.int64], split: str) -> None:
        present = np.unique(labels)
        if len(present) < 2:
            raise DataError(
                f"The {split} split has one class only: {present[0]}.",
                expected="at least two classes",
                mend="check how the labels were stored",
            )
        if self.classes is None and len(present) <= present[-1]:
            missing = np.setdiff1d(np.arange(min(present[-1], 10_000)), present)
            raise DataError(
                f"The labels of the {split} split run to {present[-1]}, but only {len(present)} of them occur "
                f"(the first that is missing: {missing[0] if len(missing) else 10_000}).",
                expected="every class from 0 to the highest at least once",
                mend="renumber the classes, or set task.classification.classes",
            )


def _decided(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class that outputs (n, classes) or (n, 1) stand for, (n,)."""
    if outputs.shape[-1] == 1:
        return (sigmoid_probabilities(outputs)[:, 0] > 0.5).astype(np.int64)
    # Of the outputs, not of their probabilities: far logits round to the same probability.
    return np.asarray(outputs.argmax(axis=-1), np.int64)


def _probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs (n, classes) or (n, 1) as probabilities (n, classes)."""
    if outputs.shape[-1] == 1:
        yes = sigmoid_probabilities(outputs)
        return np.concatenate([1 - yes, yes], axis=-1)
    return softmax_probabilities(outputs)
