"""Classification: one class of several for each example; scored by accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline.errors import DataError
from pipeline.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Classification(Task):
    """Labels are integers 0 … classes-1; the model gives one logit or probability a class."""

    metric: ClassVar[str] = "accuracy"
    output_error_meaning: ClassVar[str] = "probability that moves to other classes, on average"

    classes: int | None = Field(
        None, ge=2, description="How many classes; default: as many as the training labels name."
    )

    def check_targets(self, y: NDArray[Any], split: str, num_outputs: int | None = None) -> NDArray[Any]:
        if y.ndim != 1 or y.dtype.kind not in "iu":
            raise DataError(
                f"The labels of the {split} split have shape {y.shape} and type {y.dtype}.",
                expected="one integer an example, shape (n,)",
                mend="store class indices; a one-hot array becomes them with .argmax(axis=1)",
            )
        labels = y.astype(np.int64)
        self._check_range(labels, split, num_outputs or self.classes)
        if num_outputs is None:
            self._check_classes(labels, split)
        return labels

    def num_outputs(self, y_train: NDArray[Any]) -> int:
        return self.classes or int(y_train.max()) + 1

    def loss(self, model: Any) -> Any:
        from pipeline._tf import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=not _ends_in_softmax(model))

    def keras_metrics(self) -> list[Any]:
        return ["accuracy"]

    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        return float(np.mean(outputs.argmax(axis=-1) == y))

    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        correct = outputs.argmax(axis=-1) == y
        return {"examples": len(y), "correct": int(correct.sum()), "wrong": int((~correct).sum())}

    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        return float(np.mean(reference.argmax(axis=-1) == outputs.argmax(axis=-1)))

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


def _ends_in_softmax(model: Any) -> bool:
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return type(last).__name__ == "Softmax" or getattr(activation, "__name__", "") == "softmax"


def _probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs (n, classes) as probabilities, whether the model ends in them or in logits."""
    if outputs.min() >= 0 and np.allclose(outputs.sum(axis=-1), 1, atol=0.05):
        return outputs
    grown: NDArray[np.float32] = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    shares: NDArray[np.float32] = grown / grown.sum(axis=-1, keepdims=True)
    return shares
