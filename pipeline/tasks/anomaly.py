"""Anomaly detection: an autoencoder learns what is normal; scored by the ROC AUC of its reconstruction error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline.errors import DataError, ModelError
from pipeline.task import Task
from pipeline.tasks._scores import area_under_roc, require_scorable, roc_curve_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BINS = 30
LOG_SPAN = 30
"""Errors that spread over more than this factor are counted in bins of equal ratio, or most would lie in the first."""


class Anomaly(Task):
    """Labels are 0 for normal and 1 for anomalous; the model gives its input again.

    Training and validation see normal examples only. What is scored is the mean squared error between an example and
    its reconstruction, as in DCASE 2020 task 2 (Koizumi et al., arXiv 2006.05822).
    """

    metric: ClassVar[str] = "auc"
    agreement_meaning: ClassVar[str] = "share of pairs of examples whose errors have the baseline's order"
    output_error_meaning: ClassVar[str] = "change of the reconstruction error, relative to it, on average"

    normal: int | None = Field(
        None, ge=0, description="The class that is normal, any other being an anomaly; default: labels are 0 and 1."
    )
    threshold_percentile: float = Field(
        99.0,
        gt=0,
        lt=100,
        description="The threshold in the report is the error that this percentage of the validation split, which is "
        "normal, does not exceed.",
    )

    def check_targets(self, y: NDArray[Any], split: str, num_outputs: int | None = None) -> NDArray[Any]:
        if y.ndim != 1 or y.dtype.kind not in "biu":
            raise DataError(
                f"The labels of the {split} split have shape {y.shape} and type {y.dtype}.",
                expected="one integer an example, shape (n,): 0 for normal, 1 for anomalous",
            )
        if self.normal is None and not np.isin(y, (0, 1)).all():
            raise DataError(
                f"The labels of the {split} split run from {y.min()} to {y.max()}.",
                expected="0 for normal, 1 for anomalous",
                mend="set task.anomaly.normal to the class that is normal",
            )
        labels = np.asarray(y != (self.normal or 0), np.int64)
        self._check_both_sides(labels, split)
        return labels

    def keep_for_training(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(y == 0)

    def num_outputs(self, y_train: NDArray[Any]) -> int:
        """Says nothing here: the output has the input's shape, whatever that is."""
        return 1

    def output_shape(self, num_outputs: int, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def training_target(self, x: Any, y: Any) -> Any:
        return x

    def loss(self, model: Any) -> Any:
        from pipeline._tf import keras

        _require_reconstruction(tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:]))
        return keras.losses.MeanSquaredError()

    def keras_metrics(self, model: Any) -> list[Any]:
        return []

    def readout(self, x: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mean squared reconstruction error of each example, (b,). Inputs are compared as they were, unrounded."""
        _require_reconstruction(x.shape[1:], outputs.shape[1:])
        missed = (x.astype(np.float64) - outputs).reshape(len(x), -1)
        return np.asarray(np.square(missed).mean(axis=1), np.float32)

    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        require_scorable(outputs)
        found = area_under_roc(y == 1, outputs)
        return float("nan") if found is None else found

    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        """Average precision, the usual error of each side, the ROC curve and a histogram of the errors."""
        from sklearn.metrics import average_precision_score

        require_scorable(outputs)
        anomalous = y == 1
        return {
            "average_precision": float(average_precision_score(anomalous, outputs)) if anomalous.any() else None,
            "median_error_normal": _median(outputs[~anomalous]),
            "median_error_anomalous": _median(outputs[anomalous]),
            "examples": len(y),
            "anomalies": int(anomalous.sum()),
            "roc": roc_curve_of(anomalous[:, None], outputs[:, None], "anomalies"),
            "errors": _histogram(anomalous, outputs),
        }

    def operating_point(
        self, held_out: Callable[[], NDArray[np.float32]], y: NDArray[Any], outputs: NDArray[np.float32]
    ) -> dict[str, Any]:
        """The error above which the device calls an example an anomaly, and what that does on the test split."""
        threshold = float(np.percentile(held_out(), self.threshold_percentile))
        called, anomalous = outputs > threshold, y == 1
        return {
            "threshold": threshold,
            "recall_at_threshold": _share(called[anomalous]),
            "false_positive_rate_at_threshold": _share(called[~anomalous]),
        }

    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """Share of pairs of examples that both models put in the same order (Kendall's tau-b, from -1 … 1 to 0 … 1).

        An anomaly is what errs more than others, and the AUC knows nothing but that order.
        """
        from scipy.stats import kendalltau

        if len(np.unique(reference)) < 2 or len(np.unique(outputs)) < 2:
            return float(np.array_equal(reference, outputs))
        return (1 + float(kendalltau(reference, outputs).statistic)) / 2

    def output_error(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        # A float model that reconstructs perfectly has no error to compare with: the change then stands for itself.
        usual = float(reference.mean()) or 1.0
        return float(np.abs(reference - outputs).mean()) / usual

    def _check_both_sides(self, labels: NDArray[np.int64], split: str) -> None:
        """Training needs what is normal, the test both: better said now than after the training."""
        missing = "normal" if (labels == 1).all() else "anomalous" if split == "test" and (labels == 0).all() else ""
        if missing:
            raise DataError(
                f"The {split} split has no {missing} example.",
                expected="normal and anomalous ones in the test split, normal ones in the others",
                mend="label normal examples 0 and anomalies 1, or set task.anomaly.normal",
            )


def _require_reconstruction(given: tuple[int | None, ...], made: tuple[int | None, ...]) -> None:
    if given != made:
        raise ModelError(
            f"The model takes examples of shape {given} and gives {made}.",
            expected="an autoencoder: its output has the shape of its input",
            mend="take the model autoencoder, or end yours in a Reshape",
        )


def _median(errors: NDArray[np.float32]) -> float | None:
    return float(np.median(errors)) if len(errors) else None


def _share(called: NDArray[np.bool_]) -> float | None:
    return float(called.mean()) if len(called) else None


def _histogram(anomalous: NDArray[np.bool_], errors: NDArray[np.float32]) -> dict[str, Any]:
    """How many examples of each side err how much: `edges` of the bins, one more than there are counts."""
    low, high = float(errors.min()), float(errors.max())
    wide = low > 0 and high / low > LOG_SPAN
    edges = np.geomspace(low, high, BINS + 1) if wide else np.histogram_bin_edges(errors.astype(np.float64), BINS)
    # The ends of a geometric series may be rounded inwards.
    sides = np.clip(errors, edges[0], edges[-1])
    counts = {
        name: np.histogram(sides[side], edges)[0].tolist()
        for name, side in (("normal", ~anomalous), ("anomalous", anomalous))
    }
    return {"edges": edges.tolist(), **counts}
