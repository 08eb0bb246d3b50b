"""The figures of a classifier: which classes it takes for which. All from scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.tasks._scores import area_under_roc, mean_of, none_if_nan, roc_curve_of, with_notes

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_CLASSES = 100
"""Above so many classes the confusion matrix is left out of the report: it grows with their square."""

FEW_CLASSES = 30
"""Above so many classes nobody reads the matrix: the pairs that are confused most stand beside it."""

MOST_PAIRS = 15


def class_figures(y: NDArray[Any], decided: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """All about a classifier's decisions, JSON-ready.

    Macro averages are over the classes that occur, and take a precision of 0 for a class that is never predicted, as
    scikit-learn does.

    Args:
        y: true classes, (n,).
        decided: predicted classes, (n,).
        probabilities: (n, classes).
    """
    rows = _per_class(y, decided, probabilities)
    correct = int((decided == y).sum())
    macro = _macro(y, decided)
    details = {
        "f1_macro": macro["f1"],
        "roc_auc": rows[1]["roc_auc"] if len(rows) == 2 else mean_of([row["roc_auc"] for row in rows]),
        **_top_3(y, probabilities),
        "precision_macro": macro["precision"],
        "recall_macro": macro["recall"],
        "examples": len(y),
        "correct": correct,
        "wrong": len(y) - correct,
        "per_class": rows,
        **_confused(y, decided, len(rows)),
        "roc": _curve(y, probabilities),
    }
    return with_notes(details, _notes(rows))


def _macro(y: NDArray[Any], decided: NDArray[np.int64]) -> dict[str, float]:
    from sklearn.metrics import precision_recall_fscore_support

    found = precision_recall_fscore_support(y, decided, labels=np.unique(y), average="macro", zero_division=0.0)
    return dict(zip(("precision", "recall", "f1"), map(float, found[:3]), strict=True))


def _per_class(y: NDArray[Any], decided: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support

    classes = range(probabilities.shape[1])
    columns = precision_recall_fscore_support(y, decided, labels=classes, average=None, zero_division=np.nan)
    return [
        {
            "class": label,
            "examples": int(support),
            "precision": none_if_nan(precision),
            "recall": none_if_nan(recall),
            "f1": none_if_nan(f1),
            "roc_auc": area_under_roc(y == label, probabilities[:, label]),
        }
        for label, precision, recall, f1, support in zip(classes, *columns, strict=True)
    ]


def _top_3(y: NDArray[Any], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """How often the truth is among the three likeliest classes: of few classes it would say nothing."""
    from sklearn.metrics import top_k_accuracy_score

    classes = probabilities.shape[1]
    if classes <= 5:
        return {}
    return {"top_3_accuracy": float(top_k_accuracy_score(y, probabilities, k=3, labels=np.arange(classes)))}


def _confused(y: NDArray[Any], decided: NDArray[np.int64], classes: int) -> dict[str, Any]:
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(y, decided, labels=np.arange(classes))
    found: dict[str, Any] = {}
    if classes <= MOST_CLASSES:
        found["confusion_matrix"] = matrix.tolist()
    if classes > FEW_CLASSES:
        found["most_confused"] = _pairs(matrix)
    return found


def _pairs(matrix: NDArray[np.int64]) -> list[dict[str, int]]:
    """The pairs of classes that are confused most, most first."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:MOST_PAIRS]
    pairs = [(int(place) // len(wrong), int(place) % len(wrong)) for place in order]
    return [{"true": i, "predicted": j, "count": int(wrong[i, j])} for i, j in pairs if wrong[i, j]]


def _curve(y: NDArray[Any], probabilities: NDArray[np.float64]) -> dict[str, Any] | None:
    classes = probabilities.shape[1]
    truth = y[:, None] == np.arange(classes)
    if classes == 2:
        return roc_curve_of(truth[:, 1:], probabilities[:, 1:], "class 1")
    return roc_curve_of(truth, probabilities, "mean over the classes")


def _notes(rows: list[dict[str, Any]]) -> list[str]:
    absent = [str(row["class"]) for row in rows if not row["examples"]]
    if not absent:
        return []
    named = ", ".join(absent[:10]) + (" …" if len(absent) > 10 else "")
    return [f"Not in the test split, hence not in the averages: class {named}."]
