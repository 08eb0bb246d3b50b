"""Whether samples come at one rate, as their times tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

GapRule = Literal["refuse", "split"]


@dataclass
class Clock:
    """Holds the times of samples against one interval, that of the whole data set.

    Args:
        tolerance: share of the interval that a step may differ from it.
        rule: what a step that differs more is: an error, or the end of a recording.
        interval: in the unit of the times; None takes the median of the first steps that are seen.
    """

    tolerance: float
    rule: GapRule
    interval: float | None = None
    gaps: int = 0

    def gaps_before(self, times: NDArray[np.float64], follows: NDArray[np.bool_], where: str) -> NDArray[np.bool_]:
        """Before which samples there is a gap, (t,).

        Args:
            times: of the samples, (t,).
            follows: which samples follow the one before them in the same recording, (t,).
            where: named in messages.

        Raises:
            DataError: time stands still or runs backwards, or there is a gap and gaps are refused.
        """
        steps = np.diff(times, prepend=times[:1])
        if self.interval is None and follows.any():
            self.interval = self._median(steps[follows], where)
        if self.interval is None:
            return np.zeros(len(times), bool)
        gaps: NDArray[np.bool_] = follows & (np.abs(steps - self.interval) > self.tolerance * self.interval)
        self.gaps += int(gaps.sum())
        if self.rule == "refuse" and gaps.any():
            first = int(gaps.argmax())
            raise DataError(
                f"{where} has {int(gaps.sum())} steps of time that differ from {self.interval:g} by more than "
                f"{self.tolerance:.0%}; the first is {steps[first]:g}, up to the time {times[first]:.12g}.",
                expected="samples at one rate",
                mend="sample the recordings anew, set gaps: split to begin a new recording there, or raise "
                "time_tolerance; interval sets the right step",
            )
        return gaps

    def _median(self, steps: NDArray[np.float64], where: str) -> float:
        # Times are rounded where they are written: their differences are known to a few digits.
        median = float(f"{np.median(steps):.6g}")
        if median <= 0:
            raise DataError(
                f"In {where} time does not increase: the usual step is {median:g}.",
                expected="rows of a recording in the order of their time",
                mend="sort them, or set series to the column that tells recordings apart",
            )
        return median
