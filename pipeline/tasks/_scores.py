"""What several tasks score alike: outputs as probabilities, ROC curves, and the refusal of what cannot be scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import DataError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_POINTS = 100
"""Points of a curve in the report; more would not be seen."""


def require_scorable(outputs: NDArray[Any]) -> None:
    """Refuse outputs that no metric is defined for.

    Args:
        outputs: a model's, (n, ...).

    Raises:
        DataError: there are none.
        ModelError: some are no finite numbers.
    """
    if len(outputs) == 0:
        raise DataError("There is no example to score the model with.", expected="at least one in the test split")
    bad = np.flatnonzero(~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1))
    if len(bad):
        raise ModelError(
            f"The model gives NaN or infinite numbers for {len(bad)} of {len(outputs)} examples; the first is number "
            f"{bad[0]}.",
            expected="finite outputs",
            mend="lower the learning rate, or look for weights that are no numbers in the model's file",
        )


def sigmoid_probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs of any shape, each as a probability of its own, whether the model ends in a sigmoid or in logits.

    Logits are told by a value outside 0 … 1.
    """
    wide = outputs.astype(np.float64)
    if wide.min() >= 0 and wide.max() <= 1:
        return wide
    shares: NDArray[np.float64] = np.exp(-np.logaddexp(0, -wide))  # no overflow for any logit
    return shares


def softmax_probabilities(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Outputs (n, classes) as probabilities that sum to 1, whether the model ends in a softmax or in logits.

    Logits are told by a negative value or by a sum far from 1.
    """
    wide = outputs.astype(np.float64)
    # An int8 softmax stores multiples of 1/256, and not every runtime rounds to the nearest.
    off = 0.01 + wide.shape[-1] / 256
    if wide.min() >= 0 and wide.max() <= 1 and np.abs(wide.sum(axis=-1) - 1).max() <= off:
        return wide
    grown = np.exp(wide - wide.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = grown / grown.sum(axis=-1, keepdims=True)
    return shares


def area_under_roc(truth: NDArray[np.bool_], scores: NDArray[Any]) -> float | None:
    """The area under the ROC curve of one yes-or-no question; None where the examples know one answer only.

    Args:
        truth: (n,).
        scores: higher for yes, (n,).
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None


def roc_curve_of(truth: NDArray[np.bool_], scores: NDArray[Any], of: str) -> dict[str, Any] | None:
    """A ROC curve for the report; the mean over the columns where there are several (macro average).

    Args:
        truth: (n, k). Columns that know one answer only have no curve and are left out.
        scores: higher for yes, (n, k).
        of: what it is the curve of, in words.

    Returns:
        `of`, `false_positive_rate` and `true_positive_rate`, no more than `MOST_POINTS` points; None where there is
        no curve.
    """
    from sklearn.metrics import roc_curve

    answerable = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    if not len(answerable):
        return None
    curves = [roc_curve(truth[:, k], scores[:, k])[:2] for k in answerable]
    at, rate = _mean_of_steps(curves)
    return {"of": of, "false_positive_rate": at, "true_positive_rate": rate}


def none_if_nan(value: Any) -> float | None:
    """A figure as JSON has it."""
    return None if np.isnan(value) else float(value)


def with_notes(details: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Details with the sentences that explain them, if there are any."""
    return {**details, "notes": notes} if notes else details


def mean_of(figures: list[float | None]) -> float | None:
    """The mean of those that are defined; None where none is."""
    known = [figure for figure in figures if figure is not None]
    return float(np.mean(known)) if known else None


def _mean_of_steps(curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[list[float], list[float]]:
    """The mean of curves that rise in steps, thinned: at every step both its foot and its head are kept."""
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    # Of several values at one x, interp takes the last: the head, and read backwards the foot.
    heads = np.mean([np.interp(grid, x, y) for x, y in curves], axis=0)
    feet = np.mean([np.interp(-grid, -x[::-1], y[::-1]) for x, y in curves], axis=0)
    x, y = np.repeat(grid, 2), np.stack([feet, heads], axis=1).ravel()
    # Both rise from 0 to 1, so their sum measures the way along the curve: points at even distances on it.
    places = np.unique(np.searchsorted(x + y, np.linspace(0, 2, MOST_POINTS) - 1e-9))
    return [[round(float(value), 5) for value in axis[places]] for axis in (x, y)]  # type: ignore[return-value]  # a pair
