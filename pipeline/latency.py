"""The latency of a whole model, as a report tells it: of a model in two files, that of an example on average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_targets._cascade import kernels_of_both
from edge_targets._measurement import SETUP

WHOLE = "int8"
EARLY, REST = "int8 early", "int8 rest"
"""What measurements call the two stages: neither is what `int8` stands for, the latency of a whole model."""

AVERAGE = "int8 average"
"""What `measured_models` calls both of them together."""

FIGURES = {WHOLE: "median", AVERAGE: "average", EARLY: "early", REST: "rest"}
"""What people call the latency of each."""


def measured_models(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The measurements of a report's artifact, as it has them; of one in two files, those of either stage.

    Behind them stand, of two stages that were measured on one target, those of both on average; not where the report
    does not say how many examples leave early.
    """
    rows = [row for row in report["measurements"] if row.get("model") in (WHOLE, EARLY, REST)]
    rest = {row["target"]: row for row in rows if row["model"] == REST}
    cascade = report.get("cascade")
    if not cascade:
        return rows
    pairs = [(row, rest[row["target"]]) for row in rows if row["model"] == EARLY and row["target"] in rest]
    return [*rows, *(_average(early, late, cascade["exits"]) for early, late in pairs)]


def _average(early: Mapping[str, Any], rest: Mapping[str, Any], exits: float) -> dict[str, Any]:
    """What an example takes on average: the first stage always, the second where it was asked.

    The share that leaves early was counted on the test split: it is exact for these examples, and the interval knows
    nothing of others. Its ends are the averages of the ends: right where both medians err together, as those do that
    were measured turn by turn on one machine, and wider than it need be where they do not.
    """
    both = early, rest
    medians = [row["median_us"] for row in both]
    ends = [row.get("median_ci_us") for row in both]
    whole = None not in medians and None not in ends
    return {
        **{name: early.get(name) for name in ("target", *SETUP, "device")},
        "model": AVERAGE,
        "kernels": kernels_of_both(*(str(row.get("kernels")) for row in both)),
        "median_us": None if None in medians else medians[0] + (1 - exits) * medians[1],
        "median_ci_us": [one + (1 - exits) * two for one, two in zip(*ends, strict=True)] if whole else None,
        "unstable": _unstable(early.get("unstable") or "", rest.get("unstable") or ""),
    }


def _unstable(early: str, rest: str) -> str:
    """Why one of the stages did not hold still, or both; a busy machine is so for both."""
    if early == rest:
        return early
    return "; ".join(f"{name}: {why}" for name, why in (("early", early), ("rest", rest)) if why)
