"""What a report says, in the words that both the table and the page use. Works on the document that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge_targets._measurement import SETUP, TIMED
from pipeline.report import _format as fmt
from pipeline.report._json import JsonObject
from pipeline.report._models import ARTIFACT, BASELINE, shown

Tone = Literal["better", "worse", "same", "unknown"]

_SHORT = {"auc": "AUC", "f1": "F1", "mae": "MAE", "r2": "R²", "rmse": "RMSE", "roc": "ROC", "std": "SD"}
"""Words of figures' names that people write otherwise."""

MARKS = {"pass": "✓", "fail": "✗", "not measured": "–"}


@dataclass(frozen=True)
class Headline:
    """One figure before and after: `1.73 MB`, `442 kB`, `3.9× smaller`."""

    label: str
    before: str
    after: str
    change: str
    tone: Tone
    note: str


@dataclass(frozen=True)
class Verdict:
    """The run in one sentence. `status` is the worst status among the checks."""

    status: Literal["pass", "fail", "not measured"]
    text: str


@dataclass(frozen=True)
class CheckRow:
    """A check as people read it: `what` without its direction, `limit` with a sign."""

    status: str
    mark: str
    name: str
    value: str
    limit: str
    why: str


@dataclass(frozen=True)
class Setup:
    """Measurements that differ in nothing but the model: they may be compared with each other.

    An interpreter picks its kernels by the model: XNNPACK has none for int16, and in int8 none for average pooling.
    So these may differ, too, and are told.

    Attributes:
        target, provenance: where they were taken, and what kind of place that is.
        how: runtime, version, kernels and threads in words.
        device: facts of the device, in words, name to value.
        rows: the measurements, the baseline's first.
    """

    target: str
    provenance: str
    how: str
    device: Mapping[str, str]
    rows: tuple[JsonObject, ...]

    @property
    def name(self) -> str:
        """The target with its provenance, which need not be said twice of this machine."""
        return self.target if self.target == self.provenance else f"{self.target} ({self.provenance})"

    @property
    def timed(self) -> bool:
        """Whether its latencies mean something for the target."""
        return self.provenance in TIMED

    def of(self, model: str) -> JsonObject | None:
        """The measurement of the baseline or of the artifact, as measurements call them, if there is one."""
        return next((row for row in self.rows if row.get("model") == model), None)

    def median_us(self, model: str) -> float | None:
        """The median latency of one of them, if it was measured."""
        row = self.of(model)
        median: float | None = row.get("median_us") if row else None
        return median


def verdict(document: JsonObject) -> Verdict:
    """The outcome of all checks in one sentence."""
    statuses = [check["status"] for check in document["checks"]]
    failed, passed, unknown = (statuses.count(status) for status in ("fail", "pass", "not measured"))
    if failed:
        return Verdict("fail", f"{failed} of {_checks(len(statuses))} failed")
    if unknown:
        return Verdict("not measured", f"{_checks(passed)} passed, {unknown} not measured")
    if not statuses:
        return Verdict("not measured", "Nothing was checked")
    return Verdict("pass", f"All {_checks(passed)} passed" if passed > 1 else "The check passed")


def headlines(document: JsonObject) -> list[Headline]:
    """Size, over-the-air size, the task's metric and the latency: before, after, and how they compare."""
    return [_size(document), _ota(document), _score(document), _latency(document)]


def checks(document: JsonObject) -> list[CheckRow]:
    """The checks, failed ones first, otherwise in their order."""
    rows = sorted(document["checks"], key=lambda check: check["status"] != "fail")
    return [_check_row(check) for check in rows]


def setups(document: JsonObject) -> list[Setup]:
    """The measurements, grouped so that only what is comparable stands together."""
    chosen = tuple(name for name in SETUP if name != "kernels")
    found = [group for rows in _alike(document["measurements"], chosen) for group in _each_once(rows)]
    return [_setup(rows, document) for rows in found]


def headline_setup(document: JsonObject) -> Setup | None:
    """The setup whose latency stands at the top: real hardware before this machine, both models before one."""
    fit = [setup for setup in setups(document) if setup.timed and setup.median_us(ARTIFACT) is not None]
    return min(fit, key=lambda s: (s.median_us(BASELINE) is None, TIMED.index(s.provenance)), default=None)


def figures(values: Mapping[str, object]) -> str:
    """`accuracy 0.9908, loss 0.0341`: the plain figures of a mapping in one line; nested ones are left to the JSON."""
    plain = [fmt.named(name, value) for name, value in values.items() if not isinstance(value, dict | list)]
    return ", ".join(fmt.printable(f"{name} {value}") for name, value in plain)


def step_figures(metrics: Mapping[str, object]) -> str:
    """A step's metrics in one line. Where a figure has a validation twin, the twin speaks for both."""
    return figures({name: value for name, value in metrics.items() if f"val_{name}" not in metrics})


def _size(document: JsonObject) -> Headline:
    before, after = document["baseline"]["size_bytes"], document["artifact"]["size_bytes"]
    change = fmt.factor(before, after, "smaller", "larger")
    return Headline("Size", fmt.size(before), fmt.size(after), change, _tone(after, before), "the .tflite on disk")


def _ota(document: JsonObject) -> Headline:
    """Compares with the raw float32 file, as every factor of the project does."""
    before, artifact = document["baseline"]["size_bytes"], document["artifact"]
    after = artifact["ota_bytes"]
    change = fmt.factor(before, after, "smaller", "larger")
    note = f"compressed with {fmt.printable(artifact['ota_codec'])}, against the raw float32 file"
    return Headline("Over the air", fmt.size(before), fmt.size(after), change, _tone(after, before), note)


def _score(document: JsonObject) -> Headline:
    metric = fmt.printable(document["artifact"]["metric"])
    before, after = document["baseline"]["value"], document["artifact"]["value"]
    change = fmt.score_change(metric, before, after)
    # Higher is better here, lower is better for sizes and latencies.
    tone = _tone(before, after)
    return Headline(
        title(metric), fmt.score(metric, before), fmt.score(metric, after), change, tone, _test_set(document)
    )


def _average_latency(cascade: JsonObject, document: JsonObject) -> Headline:
    """Of a model in two stages: what an example takes on average, for most never see the second."""
    found = {setup.target: setup for setup in setups(document) if setup.timed and setup.median_us(BASELINE)}
    average = {fmt.printable(name): us for name, us in cascade["average_us"].items()}
    target = next((name for name in average if name in found), None)
    if target is None:
        return Headline("Average latency", fmt.DASH, fmt.DASH, "", "unknown", "no device or host was measured")
    before, after = found[target].median_us(BASELINE), average[target]
    change = fmt.factor(before, after, "faster", "slower")
    note = f"on {found[target].name}; {fmt.percent(cascade['exits'], 1)} of the test examples leave early"
    return Headline("Average latency", fmt.latency(before), fmt.latency(after), change, _tone(after, before), note)


def _latency(document: JsonObject) -> Headline:
    if document.get("cascade"):
        return _average_latency(document["cascade"], document)
    setup = headline_setup(document)
    if setup is None:
        why = "no device or host was measured"
        return Headline("Median latency", fmt.DASH, fmt.DASH, "", "unknown", why)
    before, after = setup.median_us(BASELINE), setup.median_us(ARTIFACT)
    change = fmt.factor(before, after, "faster", "slower")
    note = f"on {setup.name}, {setup.how}"
    return Headline("Median latency", fmt.latency(before), fmt.latency(after), change, _tone(after, before), note)


def _tone(low: float | None, high: float | None) -> Tone:
    if low is None or high is None:
        return "unknown"
    if low == high:
        return "same"
    return "better" if low < high else "worse"


def _test_set(document: JsonObject) -> str:
    examples = (document["data"].get("splits") or {}).get("test")
    return f"on {fmt.number(examples)} test examples" if examples else "on the test split"


def title(name: str) -> str:
    """A figure's name in words: `ROC AUC`, `F1 macro`, `Hamming loss`."""
    words = [_SHORT.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def output_name(document: JsonObject, place: int) -> str:
    """What people call one of the model's outputs: the name of its class, or its number."""
    names = document["data"].get("class_names") or []
    return fmt.printable(names[place] if place < len(names) else place)


def more_figures(document: JsonObject, most: int) -> list[Headline]:
    """The first figures of the task's details that are numbers: it puts the most telling first."""
    before, after = document["baseline"]["details"], document["artifact"]["details"]
    names = [name for name, value in after.items() if isinstance(value, int | float)]
    return [_more(name, before.get(name), after[name]) for name in names[:most]]


def _more(name: str, before: float | None, after: float) -> Headline:
    label, change = fmt.printable(title(name)), fmt.score_change(name, before, after)
    return Headline(label, fmt.score(name, before), fmt.score(name, after), change, "unknown", "")


def _checks(count: int) -> str:
    return f"{count} check" if count == 1 else f"{count} checks"


def _check_row(check: JsonObject) -> CheckRow:
    value, limit = _value_and_limit(check)
    sign = "" if check["limit"] is None else _sign(check)
    return CheckRow(
        check["status"],
        MARKS[check["status"]],
        fmt.printable(check["name"]),
        fmt.printable(value),
        fmt.printable(f"{sign} {limit}".strip()),
        fmt.printable(check["why"]),
    )


def _value_and_limit(check: JsonObject) -> tuple[str, str]:
    value, limit, unit = check["value"], check["limit"], check["unit"]
    if unit == "share" and "drop" in check["name"]:
        # A difference of shares in percent would read as a share of the share.
        value, limit, unit = _hundredfold(value), _hundredfold(limit), "points"
    if check["status"] == "fail":
        return fmt.beyond(value, limit, unit)
    # A unit in words ("float tensors") need not be said twice.
    return fmt.quantity(value, unit), fmt.quantity(limit, unit if unit in fmt.SHORT_UNITS else "")


def _hundredfold(share: float | None) -> float | None:
    return None if share is None else share * 100


def _sign(check: JsonObject) -> str:
    """Whether the limit is the most or the least: told by the name, else by how the check came out."""
    name, value, limit = check["name"], check["value"], check["limit"]
    if name.startswith(("max_", "min_", "kept_")):
        return "≤" if name.startswith("max_") else "≥"
    if value is None or value == limit:
        return ""
    return "≤" if (value < limit) == (check["status"] == "pass") else "≥"


def _alike(rows: list[JsonObject], names: tuple[str, ...]) -> list[list[JsonObject]]:
    groups: dict[tuple[str, ...], list[JsonObject]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row.get(name)) for name in ("target", *names)), []).append(row)
    return list(groups.values())


def _each_once(rows: list[JsonObject]) -> list[list[JsonObject]]:
    """The rows as they are; by their kernels where somebody measured one model with several."""
    names = [row.get("model") for row in rows]
    return [rows] if len(set(names)) == len(names) else _alike(rows, SETUP)


def _setup(rows: list[JsonObject], document: JsonObject) -> Setup:
    first = rows[0]
    facts = (fmt.named(name, value) for name, value in _plain(first.get("device")).items())
    device = {fmt.printable(name.replace("_", " ")): fmt.printable(value) for name, value in facts}
    ordered = sorted(rows, key=lambda row: row.get("model") != BASELINE)
    how = _how(first, _kernels(ordered, document))
    return Setup(fmt.printable(first["target"]), fmt.printable(first["provenance"]), how, device, tuple(ordered))


def _kernels(rows: list[JsonObject], document: JsonObject) -> str:
    """`xnnpack kernels`, or which kernels ran which model."""
    of_each = {shown(row.get("model"), document): row.get("kernels") for row in rows if row.get("kernels")}
    if len(set(of_each.values())) == 1:
        return f"{next(iter(of_each.values()))} kernels"
    return ", ".join(f"{kernels} kernels for {model}" for model, kernels in of_each.items())


def _how(row: JsonObject, kernels: str) -> str:
    runtime = " ".join(str(row[name]) for name in ("runtime", "runtime_version") if row.get(name))
    threads = row.get("threads")
    counted = f"{threads} thread{'' if threads == 1 else 's'}" if threads else ""
    delegate = f"delegate {row['delegate']}" if row.get("delegate") else ""
    return fmt.printable(", ".join(part for part in (runtime, kernels, delegate, counted) if part))


def _plain(values: Mapping[str, object] | None) -> dict[str, object]:
    known = {name: value for name, value in (values or {}).items() if value not in (None, "")}
    return {name: value for name, value in known.items() if not isinstance(value, dict | list)}
