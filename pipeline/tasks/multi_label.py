"""Multi-label: any number of labels for each example; scored by mean average precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline.errors import DataError
from pipeline.task import Task
from pipeline.tasks._last_layer import last_activation
from pipeline.tasks._scores import (
    area_under_roc,
    mean_of,
    none_if_nan,
    require_scorable,
    roc_curve_of,
    sigmoid_probabilities,
    with_notes,
)
from pipeline.tasks._soft_loss import soft_binary_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class MultiLabel(Task):
    """Targets are (n, labels) of 0 and 1; the model gives a logit or a probability of each label.

    The headline is the mean over the labels of the average precision (mAP), as in PASCAL VOC and AudioSet (Gemmeke et
    al., 2017): unlike F1 it asks for no threshold, and unlike accuracy it is not won by saying no to rare labels.
    """

    metric: ClassVar[str] = "mean_average_precision"
    agreement_meaning: ClassVar[str] = "gives exactly the baseline's labels"
    output_error_meaning: ClassVar[str] = "change of a label's probability, on average"

    threshold: float = Field(0.5, gt=0, lt=1, description="The probability above which a label is given.")

    def check_targets(self, y: NDArray[Any], split: str, num_outputs: int | None = None) -> NDArray[Any]:
        if y.ndim != 2 or y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
            raise DataError(
                f"The targets of the {split} split are no table of 0 and 1: they have shape {y.shape} and type "
                f"{y.dtype}.",
                expected="a row an example and a column a label, (n, labels), 1 where the label is given",
                mend="for one class an example, take the task classification",
            )
        if num_outputs is not None and y.shape[1] != num_outputs:
            raise DataError(
                f"The targets of the {split} split have {y.shape[1]} labels, the training split has {num_outputs}.",
                expected="the same labels in every split",
            )
        if num_outputs is None and (y == y[0]).all():
            raise DataError(
                f"All {len(y)} examples of the {split} split have the same labels.",
                expected="examples that differ in their labels",
                mend="check how the labels were stored",
            )
        return y.astype(np.float32)

    def num_outputs(self, y_train: NDArray[Any]) -> int:
        return int(y_train.shape[1])

    def loss(self, model: Any) -> Any:
        from pipeline._tf import keras

        return keras.losses.BinaryCrossentropy(from_logits=last_activation(model) != "sigmoid")

    def soft_loss(self, student: Any, teacher: Any, temperature: float) -> Callable[[Any, Any], Any]:
        """Cross-entropy of each label's softened chance, times the temperature squared (Hinton et al., 2015)."""
        return soft_binary_loss(student, teacher, temperature)

    def keras_metrics(self, model: Any) -> list[Any]:
        from pipeline._tf import keras

        logits = last_activation(model) != "sigmoid"
        return [keras.metrics.AUC(name="auc", multi_label=True, from_logits=logits)]

    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        """The mean average precision over the labels that occur."""
        require_scorable(outputs)
        found = mean_of([row["average_precision"] for row in self._per_label(y, outputs)])
        return float("nan") if found is None else found

    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        """F1 over all decisions (micro) and over the labels (macro), and a row a label.

        `subset_accuracy` is the share of examples with every label right; `hamming_loss` the share of wrong decisions.
        """
        from sklearn.metrics import accuracy_score, f1_score, hamming_loss

        require_scorable(outputs)
        truth, decided = y > 0.5, self._decided(outputs)
        rows = self._per_label(y, outputs)
        details = {
            "f1_macro": mean_of([row["f1"] for row in rows if row["examples"]]),
            "f1_micro": float(f1_score(truth, decided, average="micro", zero_division=0.0)),
            "roc_auc": mean_of([row["roc_auc"] for row in rows]),
            "subset_accuracy": float(accuracy_score(truth, decided)),
            "hamming_loss": float(hamming_loss(truth, decided)),
            "examples": len(y),
            "per_label": rows,
            "roc": roc_curve_of(truth, outputs, "mean over the labels"),
        }
        return with_notes(details, _notes(rows))

    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """Share of examples that are given exactly the same labels."""
        return float((self._decided(reference) == self._decided(outputs)).all(axis=1).mean())

    def output_error(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        return float(np.abs(sigmoid_probabilities(reference) - sigmoid_probabilities(outputs)).mean())

    def _decided(self, outputs: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(sigmoid_probabilities(outputs) > self.threshold)

    def _per_label(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
        from sklearn.metrics import average_precision_score, precision_recall_fscore_support

        truth, rows = y > 0.5, []
        for label, (yes, given) in enumerate(zip(truth.T, self._decided(outputs).T, strict=True)):
            found = precision_recall_fscore_support(yes, given, average="binary", zero_division=np.nan)
            precision, recall, f1 = (none_if_nan(figure) for figure in found[:3])
            # Ranks decide both: logits serve as well as probabilities, and do not round together at the ends.
            ranked = float(average_precision_score(yes, outputs[:, label])) if yes.any() else None
            auc = area_under_roc(yes, outputs[:, label])
            figures = {"average_precision": ranked, "precision": precision, "recall": recall, "f1": f1, "roc_auc": auc}
            rows.append({"label": label, "examples": int(yes.sum()), **figures})
        return rows


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    absent = [str(row["label"]) for row in rows if not row["examples"]]
    if not absent:
        return []
    named = ", ".join(absent[:10]) + (" …" if len(absent) > 10 else "")
    return [f"Not in the test split, hence not in the means over the labels: label {named}."]
