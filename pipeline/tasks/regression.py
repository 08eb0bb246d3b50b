"""Regression: one or more real numbers for each example; scored by R²."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.errors import DataError
from pipeline.task import Task
from pipeline.tasks._scores import mean_of, require_scorable, with_notes

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_POINTS = 300
"""Examples in the report's scatter plot."""

MOST_PLOTS = 4
"""Outputs that get one."""


class Regression(Task):
    """Targets are numbers, (n,) or (n, k); the model gives k numbers.

    The headline is the coefficient of determination R² (the mean over the outputs): 1 is perfect, 0 is as good as
    always saying the mean, and it may be negative. Unlike an error it is higher for a better model and has no unit.
    """

    metric: ClassVar[str] = "r2"
    agreement_meaning: ClassVar[str] = "share of examples within the tolerance of the baseline's outputs"
    output_error_meaning: ClassVar[str] = "root mean square change, in units of the outputs' spread"

    loss_function: Literal["mse", "mae", "huber"] = Field(
        "mse", description="What training makes small; mae and huber (Huber, 1964) mind outliers less."
    )
    tolerance: float = Field(
        0.05,
        gt=0,
        description="Two models agree on an example where no output differs by more than this share of the spread "
        "(standard deviation) that the float model's output has over the test split.",
    )

    def check_targets(self, y: NDArray[Any], split: str, num_outputs: int | None = None) -> NDArray[Any]:
        if y.ndim not in (1, 2) or y.dtype.kind not in "iuf":
            raise DataError(
                f"The targets of the {split} split have shape {y.shape} and type {y.dtype}.",
                expected="numbers, (n,) or (n, outputs)",
            )
        with np.errstate(over="ignore"):  # too large for float32 is infinite, which is refused below
            table = y.reshape(len(y), -1).astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
        if len(bad):
            raise DataError(
                f"{len(bad)} targets of the {split} split are NaN or infinite; the first is number {bad[0]}.",
                expected="finite numbers",
                mend="drop or repair these examples",
            )
        self._check_columns(table, split, num_outputs)
        return table

    def num_outputs(self, y_train: NDArray[Any]) -> int:
        return int(y_train.shape[1])

    def loss(self, model: Any) -> Any:
        from pipeline._tf import keras

        losses = keras.losses
        kinds = {"mse": losses.MeanSquaredError, "mae": losses.MeanAbsoluteError, "huber": losses.Huber}
        return kinds[self.loss_function]()

    def keras_metrics(self, model: Any) -> list[Any]:
        return ["mae"]

    def score(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> float:
        """R², the mean over the outputs whose targets vary; NaN where none do."""
        require_scorable(outputs)
        found = mean_of([row["r2"] for row in _per_output(y, outputs)])
        return float("nan") if found is None else found

    def details(self, y: NDArray[Any], outputs: NDArray[np.float32]) -> dict[str, Any]:
        """Errors in the targets' own unit, over all outputs and a row an output; and examples to plot."""
        from sklearn.metrics import mean_absolute_error, root_mean_squared_error

        require_scorable(outputs)
        rows = _per_output(y, outputs)
        details = {
            "mae": float(mean_absolute_error(y, outputs)),
            "rmse": float(root_mean_squared_error(y, outputs)),
            "max_error": max(row["max_error"] for row in rows),
            "examples": len(y),
            "per_output": rows,
            "scatter": [_scatter(y, outputs, k) for k in range(min(len(rows), MOST_PLOTS))],
        }
        constant = [str(row["output"]) for row in rows if row["r2"] is None]
        why = f"R² is not defined where the targets are all the same: output {', '.join(constant[:10])}."
        return with_notes(details, [why] if constant else [])

    def agreement(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        """Share of examples on which every output lies within `tolerance` spreads of the reference's."""
        near = np.abs(reference - outputs) <= self.tolerance * reference.std(axis=0)
        return float(near.all(axis=1).mean())

    def output_error(self, reference: NDArray[np.float32], outputs: NDArray[np.float32]) -> float:
        # A model that always gives the same has no spread to compare with: its change is then in the outputs' unit.
        spread = float(np.sqrt(reference.var(axis=0).mean())) or 1.0
        return float(np.sqrt(np.square(reference - outputs).mean())) / spread

    def _check_columns(self, table: NDArray[np.float32], split: str, num_outputs: int | None) -> None:
        if num_outputs is not None and table.shape[1] != num_outputs:
            raise DataError(
                f"The {split} split has {table.shape[1]} targets an example, the training split {num_outputs}.",
                expected="as many in every split",
            )
        if num_outputs is None and (constant := np.flatnonzero(table.min(axis=0) == table.max(axis=0))).size:
            raise DataError(
                f"Target {constant[0]} of the {split} split is always {table[0, constant[0]]:g}.",
                expected="targets that vary",
                mend="drop the column, or check how the targets were stored",
            )


def _per_output(y: NDArray[Any], outputs: NDArray[np.float32]) -> list[dict[str, Any]]:
    from sklearn.metrics import max_error, mean_absolute_error, r2_score, root_mean_squared_error

    rows = []
    for k in range(y.shape[1]):
        true, said = y[:, k].astype(np.float64), outputs[:, k].astype(np.float64)
        varies = true.min() < true.max()
        rows.append(
            {
                "output": k,
                "r2": float(r2_score(true, said)) if varies else None,
                "mae": float(mean_absolute_error(true, said)),
                "rmse": float(root_mean_squared_error(true, said)),
                "max_error": float(max_error(true, said)),
                "target_mean": float(true.mean()),
                "target_std": float(true.std()),
            }
        )
    return rows


def _scatter(y: NDArray[Any], outputs: NDArray[np.float32], k: int) -> dict[str, Any]:
    """Examples at even distances in the split, the same for every model."""
    places = np.unique(np.linspace(0, len(y) - 1, min(len(y), MOST_POINTS)).round().astype(int))
    true, said = ([float(f"{value:.5g}") for value in column[places, k]] for column in (y, outputs))
    return {"output": k, "true": true, "predicted": said}
