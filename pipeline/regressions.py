"""What became worse: the last run of a recipe against those before it, figure by figure, like with like."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_targets._measurement import SETUP, TIMED
from pipeline.latency import FIGURES

if TYPE_CHECKING:
    from pipeline.history import Record

FEWEST = 3
"""Runs before the last one, below which nothing is said of a latency."""

LEAST_SLOWER = 0.05
"""Two runs of one model differ by this share for no reason of the model's."""

SPREADS = 4.0
"""How many usual deviations of the earlier runs a latency must lie above their median."""

WORSE_VALUE = 0.005
"""A metric that fell by more than this is told."""


@dataclass(frozen=True)
class Series:
    """One figure over the runs of one name, under one set of conditions.

    Attributes:
        name: the recipe.
        figure: `size`, `ota`, the metric's own name, or `median TARGET`; of a model in two files `average TARGET`, and
            `early TARGET` and `rest TARGET` of either.
        unit: `bytes`, `us`, or nothing.
        runs: the numbers of the runs.
        values: its value in each.
        latest: whether the last run of the name is among them.
    """

    name: str
    figure: str
    unit: str
    runs: tuple[int, ...]
    values: tuple[float, ...]
    latest: bool

    @property
    def usual(self) -> float | None:
        """The median of all but the last; None where there is only one."""
        return statistics.median(self.values[:-1]) if len(self.values) > 1 else None

    @property
    def change(self) -> float | None:
        """The last against the usual: a share; for a metric, a difference."""
        if self.usual is None:
            return None
        if self.unit == "":
            return self.values[-1] - self.usual
        return self.values[-1] / self.usual - 1 if self.usual else None

    @property
    def worse(self) -> bool:
        """Whether the last value is a regression."""
        if self.change is None or not self.latest:
            return False
        if self.unit == "us":
            return len(self.values) > FEWEST and self.change > max(LEAST_SLOWER, SPREADS * self._spread())
        return self.change < -WORSE_VALUE if self.unit == "" else self.change > 0

    def _spread(self) -> float:
        """The usual deviation of the earlier values from their median, as a share: 1.48 MAD (Hampel, 1974)."""
        assert self.usual is not None
        before = self.values[:-1]
        return 1.4826 * statistics.median(abs(value - self.usual) for value in before) / self.usual


def series(records: Sequence[Record]) -> list[Series]:
    """Every figure of every name. A metric is one where more is better; sizes and latencies are better small.

    Args:
        records: runs, oldest first.
    """
    last = {record.name: record.id for record in records}
    points: dict[tuple[object, ...], list[tuple[int, float]]] = {}
    for record in records:
        for key, value in _figures(record):
            points.setdefault((record.name, *key), []).append((record.id, value))
    return [
        Series(
            str(name),
            str(figure),
            str(unit),
            tuple(run for run, _ in found),
            tuple(value for _, value in found),
            found[-1][0] == last[str(name)],
        )
        for (name, figure, unit, *_), found in sorted(points.items(), key=lambda item: str(item[0]))
    ]


def _figures(record: Record) -> list[tuple[tuple[object, ...], float]]:
    figures: list[tuple[tuple[object, ...], float | None]] = [
        (("size", "bytes"), record.size_bytes),
        (("ota", "bytes"), record.ota_bytes),
        ((record.metric, ""), record.value),
    ]
    for row in record.measurements:
        if row.get("provenance") in TIMED and not row.get("unstable"):
            device = row.get("device") or {}
            setup = (*(row.get(name) for name in ("target", *SETUP)), device.get("machine"), device.get("cpu_model"))
            figure = FIGURES.get(str(row.get("model")), "median")
            figures.append(((f"{figure} {row.get('target')}", "us", *setup), row.get("median_us")))
    return [(key, float(value)) for key, value in figures if value is not None and math.isfinite(value)]
