"""Whether B is faster, smaller or better than A: for `edgesmith compare`, of two models or of two reports."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._comparison import Difference, difference, verdict_of
from edge_targets._measurement import SETUP, TIMED
from pipeline.errors import BrokenPromise, UsageError
from pipeline.half import tell_of_half
from pipeline.latency import AVERAGE, EARLY, FIGURES, REST, WHOLE, measured_models

if TYPE_CHECKING:
    from edge_targets import BenchmarkPlan, Target
    from edge_targets._measurement import Measurement
    from pipeline.progress import Progress

SCHEMA = 1
"""The version of the contract. Additions keep it; anything else must raise it."""

MODELS = ("first", "second")

RUN_TO_RUN = 0.05
"""Two runs at two times differ by this share for no reason of the model's (processor clock, memory layout)."""

_LIMIT = re.compile(r"\s*(median|size|ota|metric)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*(%?)\s*")


@dataclass(frozen=True)
class Row:
    """One figure of both sides.

    Attributes:
        name: `median`, `size`, `ota` or `metric`; `average` where a side is a model in two files, and `early` and
            `rest` where both are. The target behind it where there is one.
        unit: `us`, `bytes`, or nothing.
        first, second: the figures; None where a side has none.
        change: second by first, minus 1; for a metric, second minus first.
        low, high: the interval of the change, or None where it is exact or not known, as of a calculated latency.
        verdict: in a word or two.
    """

    name: str
    unit: str
    first: float | None
    second: float | None
    change: float | None
    low: float | None
    high: float | None
    verdict: str


@dataclass(frozen=True)
class Limit:
    """What must not be, as `--fail-if` says it: `median > 3%`. Of a model in two files that means its average."""

    figure: str
    above: bool
    bound: float
    share: bool
    text: str

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a limit.

        Raises:
            UsageError: it is none.
        """
        match = _LIMIT.fullmatch(text)
        if match is None or (match[1] != "metric" and not match[4]):
            raise UsageError(
                f"'{text[:60]}' is no limit.",
                expected="median, size, ota or metric, then > or <, then a share: 'median > 3%'; "
                "of a metric also a difference: 'metric < -0.005'",
            )
        bound = float(match[3]) / (100 if match[4] else 1)
        return cls(match[1], match[2] == ">", bound, bool(match[4]), text.strip())

    def is_about(self, row: Row) -> bool:
        """Whether it is this figure that must not be so."""
        figure = row.name.split(" ")[0]
        return figure == self.figure or (figure, self.figure) == (FIGURES[AVERAGE], FIGURES[WHOLE])

    def broken_by(self, row: Row) -> bool:
        """Whether a figure is beyond the limit, and is so for sure: a latency that can't be told from noise is not."""
        if not self.is_about(row) or row.change is None or row.verdict == "can't tell":
            return False
        change = row.change
        if self.share and row.name == "metric":
            change = row.change / row.first if row.first else math.inf
        return change > self.bound if self.above else change < self.bound


def compare_models(
    models: Sequence[Path], target: Target, plan: BenchmarkPlan, launches: int, progress: Progress
) -> dict[str, Any]:
    """Measure two `.tflite` turn by turn, in several launches.

    Args:
        models: the two.
        target: where.
        plan: how long each launch measures.
        launches: how many times both are started anew; what differs from launch to launch is part of the interval.
        progress: a step a launch.

    Returns:
        The document that `compare --json` prints (`docs/schemas/compare.schema.json`).

    Raises:
        TargetError: they could not be measured.
    """
    for model in models:
        tell_of_half(model, progress)
    named = dict(zip(MODELS, models, strict=True))
    # Each launch is a fresh process; what a cold start takes is not the question.
    plan = replace(plan, cold_starts=0, energy=False)
    found: list[dict[str, Measurement]] = []
    with progress.bar("compare", launches) as bar:
        for launch in range(launches):
            # Who comes first in a process gets the better memory: the two take turns at that as well.
            order = MODELS if launch % 2 == 0 else MODELS[::-1]
            found.append(target.benchmark({name: named[name] for name in order}, plan))
            bar.advance()
            # What is calculated or emulated says the same however often it is asked: nothing of speed.
            if _untimed(found[0]["first"].to_json()):
                break
    sides = [{"path": path.name, **_conditions(found[0][name].to_json())} for name, path in named.items()]
    sizes = _exact("size", "bytes", *_sizes(models))
    if reasons := [f"{target.label}: {why}" for why in _untimed(sides[0])]:
        return _document("models", sides, reasons, [sizes])
    told = difference([(each["first"].must_have_latencies(), each["second"].must_have_latencies()) for each in found])
    medians = [statistics.median([each[name].must_have_median() for each in found]) for name in MODELS]
    rows = [_latency_row(f"median {target.label}", medians, told), sizes]
    return _document("models", sides, [], rows, launches=launches)


def compare_targets(model: Path, targets: Sequence[Target], plan: BenchmarkPlan, progress: Progress) -> dict[str, Any]:
    """Measure one model on two targets, one after the other.

    Args:
        model: the `.tflite`.
        targets: the two. That they are two devices is the question, and no reason to refuse; but what an emulator
            takes, or a machine that would not hold still, says nothing of either.
        plan: how long to measure.
        progress: a step a target.

    Raises:
        TargetError: it could not be measured on one of them.
    """
    tell_of_half(model, progress)
    found: list[dict[str, Any]] = []
    with progress.bar("compare", len(targets)) as bar:
        for target in targets:
            found.append(target.benchmark({"model": model}, plan)["model"].to_json())
            bar.advance()
    first, second = found
    reasons = _timeless(found)
    rows = [] if reasons else [_stored_row("median", first, second)]
    sides = [{"path": model.name, **_conditions(each)} for each in found]
    return _document("targets", sides, reasons, rows)


def compare_reports(reports: Sequence[Mapping[str, Any]], *, force: bool = False) -> dict[str, Any]:
    """Hold two reports against each other.

    Latencies were measured at two times, so their interval is widened by what two runs of one model differ by.

    Args:
        reports: two documents as `read_report` gives them.
        force: compare latencies that were measured under different conditions, too.

    Raises:
        UsageError: nothing in them can be compared.
    """
    first, second = reports
    rows, reasons = _latencies(first, second, force)
    rows += [_exact(*figure) for figure in _figures(first, second)]
    sides = [
        {**{name: each[name] for name in ("recipe", "created", "ok")}, "precision": _precision(each)}
        for each in reports
    ]
    return _document("reports", sides, reasons, rows)


def judge(document: dict[str, Any], limits: Sequence[Limit]) -> dict[str, Any]:
    """The document with the limits that it breaks, under `broken`.

    Raises:
        BrokenPromise: a limit is about a figure that the two sides do not share; silence would look like a pass.
    """
    rows = [Row(**row) for row in document["rows"]]
    for limit in limits:
        if not any(limit.is_about(row) and row.change is not None for row in rows):
            raise BrokenPromise(
                f"'{limit.text}' could not be decided: there is no {limit.figure} to compare.",
                expected="a figure that both sides have, measured under the same conditions",
                mend="; ".join(document["reasons"]),
            )
    broken = [limit.text for limit in limits if any(limit.broken_by(row) for row in rows)]
    return {**document, "broken": broken, "ok": not broken}


def _document(
    kind: str, sides: list[dict[str, Any]], reasons: list[str], rows: list[Row], **more: Any
) -> dict[str, Any]:
    facts = {"kind": kind, "first": sides[0], "second": sides[1], **more}
    return {"schema": SCHEMA, **facts, "reasons": reasons, "rows": [asdict(row) for row in rows]}


def _latency_row(name: str, medians: Sequence[float], told: Difference) -> Row:
    return Row(name, "us", medians[0], medians[1], told.ratio - 1, told.low - 1, told.high - 1, told.verdict)


def _exact(name: str, unit: str, first: float | None, second: float | None) -> Row:
    if first is None or second is None:
        return Row(name, unit, first, second, None, None, None, "not known")
    change = second - first if name == "metric" else (second / first - 1 if first else None)
    words = ("lower", "higher") if name == "metric" else ("smaller", "larger")
    verdict = "same" if first == second else words[second > first]
    return Row(name, unit, first, second, change, None, None, verdict)


def _figures(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, Any, Any]]:
    one, two = first["artifact"], second["artifact"]
    figures = [
        ("size", "bytes", one["size_bytes"], two["size_bytes"]),
        ("ota", "bytes", one["ota_bytes"], two["ota_bytes"]),
    ]
    if one["metric"] == two["metric"]:
        figures.append(("metric", "", one["value"], two["value"]))
    return figures


def _latencies(first: Mapping[str, Any], second: Mapping[str, Any], force: bool) -> tuple[list[Row], list[str]]:
    """A row for each target that both have, and why others are not compared."""
    ones, twos = _by_target(first), _by_target(second)
    # An interpreter picks its kernels by the model: of another precision, others are no other setup.
    alike = _precision(first) == _precision(second)
    setup = [name for name in SETUP if alike or name != "kernels"]
    rows: list[Row] = []
    reasons = [f"{name}: only one of them was measured there" for name in sorted(ones.keys() ^ twos.keys())]
    for name in sorted(ones.keys() & twos.keys()):
        why = _incomparable(ones[name], twos[name], setup)
        reasons += [f"{name}: {reason}" for reason in why]
        if force or not why:
            pairs = [(ones[name], twos[name]), *_stage_by_stage(first, second, name)]
            rows += [_stored_row(_figure_of(name, *pair), *pair) for pair in pairs]
    return rows, reasons


def _figure_of(target: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """`median host`, `median coral (simulated)`: rows are quoted without the reasons below them.

    A model in one file takes its median for every example, which can be held against another's average.
    """
    name = FIGURES[AVERAGE if AVERAGE in (first["model"], second["model"]) else first["model"]]
    untimed = [each["provenance"] for each in (first, second) if each["provenance"] not in TIMED]
    return f"{name} {target} ({untimed[0]})" if untimed else f"{name} {target}"


def _by_target(report: Mapping[str, Any], *models: str) -> dict[str, Mapping[str, Any]]:
    """By target, the measurement of a whole model; or of those that are named."""
    wanted = models or (WHOLE, AVERAGE)
    return {str(row["target"]): row for row in measured_models(report) if row["model"] in wanted}


def _stage_by_stage(
    first: Mapping[str, Any], second: Mapping[str, Any], target: str
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Where both sides are models in two files, the measurements of either stage."""
    found = [(_by_target(first, stage), _by_target(second, stage)) for stage in (EARLY, REST)]
    return [(ones[target], twos[target]) for ones, twos in found if target in ones and target in twos]


def _precision(report: Mapping[str, Any]) -> str:
    return str(report["artifact"].get("precision", "int8"))


def _incomparable(first: Mapping[str, Any], second: Mapping[str, Any], setup: Sequence[str]) -> list[str]:
    """Why the latencies of two measurements say nothing about their models."""
    reasons = [
        f"another {name.replace('_', ' ')} ({first.get(name)}, {second.get(name)})"
        for name in setup
        if first.get(name) != second.get(name)
    ]
    if _machine(first) != _machine(second):
        reasons.append(f"another device ({_machine(first)}, {_machine(second)})")
    if first["provenance"] == second["provenance"]:
        reasons += _untimed(first)
    reasons += [
        f"{which} was unstable: {row['unstable']}" for which, row in _sides(first, second) if row.get("unstable")
    ]
    return reasons


def _timeless(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which of the measurements have latencies that mean nothing, and why."""
    reasons = [f"{each['target']}: {why}" for each in measurements for why in _untimed(each)]
    return reasons + [
        f"{each['target']} was unstable: {each['unstable']}" for each in measurements if each.get("unstable")
    ]


def _untimed(row: Mapping[str, Any]) -> list[str]:
    if row["provenance"] in TIMED:
        return []
    return [f"its latency is {row['provenance']}, not measured on a device"]


def _sides(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("the first", first), ("the second", second)]


def _machine(row: Mapping[str, Any]) -> str:
    device = row.get("device") or {}
    return " ".join(str(device.get(name, "")) for name in ("machine", "cpu_model")).strip()


def _stored_row(name: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Row:
    one, two = first.get("median_us"), second.get("median_us")
    if not one or not two:
        return Row(name, "us", one, two, None, None, None, "not known")
    ratio = two / one
    if not (_has_interval(first) and _has_interval(second)):
        return Row(name, "us", one, two, ratio - 1, None, None, "can't tell")
    spread = math.hypot(_half_width(first), _half_width(second), math.log1p(RUN_TO_RUN))
    low, high = ratio * math.exp(-spread), ratio * math.exp(spread)
    return Row(name, "us", one, two, ratio - 1, low - 1, high - 1, verdict_of(low, high))


def _has_interval(row: Mapping[str, Any]) -> bool:
    """A median without one could be anywhere."""
    interval = row.get("median_ci_us")
    return bool(interval and min(interval) > 0)


def _half_width(row: Mapping[str, Any]) -> float:
    """Half of the median's interval, as a logarithm."""
    low, high = row["median_ci_us"]
    return math.log(high / low) / 2


def _conditions(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("target", *SETUP, "device")}


def _sizes(models: Sequence[Path]) -> tuple[float, float]:
    first, second = (path.stat().st_size for path in models)
    return first, second
