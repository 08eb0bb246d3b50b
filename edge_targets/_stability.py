"""Whether a measurement held still: what would make its figures others at another time, in a sentence or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_targets._measurement import Conditions

DRIFT = 0.10
"""By how much the median of the last third may be off that of the first; a clock that steps down moves it more."""

CLOCK_FELL = 0.10
"""By how much the clock may fall between the first run and the last."""

BUSY = 1.5
"""Processes that want to run, by the processors there are: above this, ours waited for others."""

FEWEST_RUNS = 30
"""Below this, thirds are too small to show a drift."""

# Bits of get_throttled that hold at the moment: under-voltage, capped clock, throttled, soft temperature limit.
_THROTTLED_NOW = 0xF


def unstable(latencies_us: Sequence[float], before: Conditions, after: Conditions, *, steady: bool, cores: int) -> str:
    """Why a measurement cannot be repeated, or "".

    Args:
        latencies_us: each counted run, in order.
        before, after: the conditions around the runs.
        steady: whether the warm-up had come to its end.
        cores: processors that the process may use.
    """
    reasons = [
        "" if steady else "the warm-up was still getting faster",
        _drift(latencies_us),
        _clock(before, after),
        _throttled(after),
        _busy(before, cores),
    ]
    return "; ".join(reason for reason in reasons if reason)


def _drift(latencies_us: Sequence[float]) -> str:
    if len(latencies_us) < FEWEST_RUNS:
        return ""
    third = len(latencies_us) // 3
    first, last = float(np.median(latencies_us[:third])), float(np.median(latencies_us[-third:]))
    change = abs(last / first - 1)
    if change <= DRIFT:
        return ""
    return f"the last third of the runs took {change:.0%} {'more' if last > first else 'less'} than the first"


def _clock(before: Conditions, after: Conditions) -> str:
    if not before.clock_mhz or not after.clock_mhz or after.clock_mhz >= before.clock_mhz * (1 - CLOCK_FELL):
        return ""
    return f"the clock fell from {before.clock_mhz:.0f} to {after.clock_mhz:.0f} MHz"


def _throttled(after: Conditions) -> str:
    try:
        flags = int(after.throttled or "0", 16)
    except ValueError:
        return ""
    return "the processor was throttled" if flags & _THROTTLED_NOW else ""


def _busy(before: Conditions, cores: int) -> str:
    if before.load is None or before.load <= BUSY * cores:
        return ""
    return f"the machine was busy: a load of {before.load:.1f} on {cores} processors"
