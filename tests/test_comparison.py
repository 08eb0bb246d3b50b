"""`edgesmith compare`: what may be compared, what is said of it, and what fails a build."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from edge_targets import BenchmarkPlan
from edge_targets.coral import CoralTarget
from edge_targets.host import HostTarget
from pipeline.comparison import Limit, compare_models, compare_reports, compare_targets, judge
from pipeline.errors import BrokenPromise, UsageError
from pipeline.latency import measured_models
from pipeline.progress import Progress

DATA = Path(__file__).parent / "edge_targets" / "data"
INT8 = DATA / "tiny_int8.tflite"
QUICK = BenchmarkPlan(warmup_runs=2, num_runs=20, min_secs=0.0, max_secs=0.2)


def report(median_us: float = 100.0, **changes: Any) -> dict[str, Any]:
    """What a comparison reads of a report.json."""
    measurement = {
        "target": "host",
        "model": "int8",
        "provenance": "host",
        "runtime": "ai_edge_litert",
        "runtime_version": "2.3.0",
        "kernels": "xnnpack",
        "threads": 1,
        "delegate": None,
        "median_us": median_us,
        "median_ci_us": [median_us * 0.99, median_us * 1.01],
        "device": {"machine": "x86_64", "cpu_model": "Some CPU"},
        **changes,
    }
    artifact = {"size_bytes": 1000, "ota_bytes": 400, "metric": "accuracy", "value": 0.98}
    facts = {"recipe": "demo", "created": "2026-01-31T12:00:00Z", "ok": True}
    return {**facts, "artifact": artifact, "measurements": [measurement]}


def row(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in document["rows"] if each["name"] == name)
    return dict(found)


def test_reports_of_one_machine_are_compared() -> None:
    document = compare_reports([report(100), report(120)])
    assert row(document, "median host")["verdict"] == "slower"
    assert row(document, "median host")["change"] == pytest.approx(0.2)
    assert document["reasons"] == []


def test_what_two_runs_of_one_model_differ_by_is_no_difference() -> None:
    document = compare_reports([report(100), report(104)])
    assert row(document, "median host")["verdict"] == "can't tell"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"threads": 2}, "another threads (1, 2)"),
        ({"runtime": "tflite_runtime"}, "another runtime (ai_edge_litert, tflite_runtime)"),
        ({"provenance": "emulated"}, "another provenance (host, emulated)"),
        ({"device": {"machine": "aarch64", "cpu_model": ""}}, "another device (x86_64 Some CPU, aarch64)"),
        ({"unstable": "the clock fell by 30 %"}, "the second was unstable: the clock fell by 30 %"),
    ],
)
def test_what_cannot_be_compared_is_not_unless_forced(changes: dict[str, Any], reason: str) -> None:
    sides = [report(100), report(200, **changes)]
    document = compare_reports(sides)
    assert document["reasons"] == [f"host: {reason}"]
    assert [each["name"] for each in document["rows"]] == ["size", "ota", "metric"]
    forced = compare_reports(sides, force=True)
    [latency] = [each for each in forced["rows"] if each["name"].startswith("median host")]
    assert latency["verdict"] == "slower"
    assert forced["reasons"] == document["reasons"], "the reason is told even then"


def in_two_files(early_us: float, rest_us: float, exits: float, **rest: Any) -> dict[str, Any]:
    """What a comparison reads of a report with an early exit."""
    early, late = (report(us)["measurements"][0] for us in (early_us, rest_us))
    rows = [{**early, "model": "int8 early"}, {**late, "model": "int8 rest", **rest}]
    return {**report(), "measurements": rows, "cascade": {"exits": exits}}


def test_of_two_files_the_average_is_compared_and_either_stage() -> None:
    document = compare_reports([in_two_files(40, 60, 0.5), in_two_files(40, 60, 0.9)])
    average = row(document, "average host")
    assert (average["first"], average["second"], average["verdict"]) == (70, 46, "faster")
    # Both ends of both medians are 1 % away; two runs differ by 5 %.
    spread = math.exp(math.hypot(math.log(1.01 / 0.99) / 2, math.log(1.01 / 0.99) / 2, math.log(1.05)))
    assert average["low"] == pytest.approx(46 / 70 / spread - 1)
    assert average["high"] == pytest.approx(46 / 70 * spread - 1)
    assert [row(document, f"{stage} host")["verdict"] for stage in ("early", "rest")] == ["can't tell"] * 2
    assert judge(document, [Limit.parse("median < -20%")])["broken"] == ["median < -20%"]
    slower = compare_reports([in_two_files(40, 60, 0.5), in_two_files(40, 90, 0.5)])
    assert row(slower, "rest host")["verdict"] == "slower"


def test_the_ends_of_the_average_are_the_averages_of_the_ends() -> None:
    average = measured_models(in_two_files(40, 60, 0.9, median_ci_us=[50, 90]))[-1]
    assert (average["model"], average["target"]) == ("int8 average", "host")
    assert average["median_us"] == pytest.approx(46)
    assert average["median_ci_us"] == pytest.approx([0.99 * 40 + 5, 1.01 * 40 + 9])


def test_of_two_files_without_a_share_that_exits_there_is_no_average() -> None:
    """A report comes from anywhere: its schema does not ask for `cascade` beside such measurements."""
    broken = in_two_files(40, 60, 0.5)
    del broken["cascade"]
    assert [row["model"] for row in measured_models(broken)] == ["int8 early", "int8 rest"]
    document = compare_reports([broken, in_two_files(40, 60, 0.5)])
    assert document["reasons"] == ["host: only one of them was measured there"]


def test_a_rest_that_cannot_be_told_makes_the_average_uncertain() -> None:
    wide = in_two_files(40, 60, 0.1, median_ci_us=[20, 120])
    assert row(compare_reports([in_two_files(40, 60, 0.1), wide]), "average host")["verdict"] == "can't tell"
    none = in_two_files(40, 10, 0.1, median_ci_us=None)
    assert row(compare_reports([in_two_files(40, 60, 0.1), none]), "average host")["low"] is None
    document = compare_reports([in_two_files(40, 60, 0.1), in_two_files(40, 60, 0.1, unstable="the clock fell")])
    assert document["reasons"] == ["host: the second was unstable: rest: the clock fell"]
    both = in_two_files(40, 60, 0.1, unstable="a busy machine")
    both["measurements"][0]["unstable"] = "a busy machine"
    assert compare_reports([in_two_files(40, 60, 0.1), both])["reasons"] == [
        "host: the second was unstable: a busy machine"
    ]


def test_one_file_is_held_against_the_average_of_two() -> None:
    document = compare_reports([report(100), in_two_files(30, 80, 0.9)])
    found = row(document, "average host")
    assert (found["first"], found["second"], found["verdict"]) == (100, pytest.approx(38), "faster")
    assert not [each for each in document["rows"] if each["name"].startswith(("median", "early", "rest"))]


def test_a_target_that_only_one_side_has_is_told() -> None:
    other = report(100, target="pi@kitchen")
    assert compare_reports([report(100), other])["reasons"] == [
        "host: only one of them was measured there",
        "pi@kitchen: only one of them was measured there",
    ]


def test_a_median_without_an_interval_decides_nothing() -> None:
    document = compare_reports([report(100), report(900, median_ci_us=None)])
    found = row(document, "median host")
    assert (found["verdict"], found["low"], found["high"]) == ("can't tell", None, None)
    json.dumps(document, allow_nan=False)


def test_calculated_latencies_are_not_compared_and_say_what_they_are_when_forced() -> None:
    sides = [report(median_us, provenance="simulated", median_ci_us=None) for median_us in (100, 90)]
    document = compare_reports(sides)
    assert document["reasons"] == ["host: its latency is simulated, not measured on a device"]
    assert [each["name"] for each in document["rows"]] == ["size", "ota", "metric"]
    forced = row(compare_reports(sides, force=True), "median host (simulated)")
    assert (forced["change"], forced["verdict"]) == (pytest.approx(-0.1), "can't tell")
    with pytest.raises(BrokenPromise, match="could not be decided"):
        judge(document, [Limit.parse("median > 3%")])


def test_sizes_and_the_metric_are_exact() -> None:
    better = copy.deepcopy(report())
    better["artifact"] = {"size_bytes": 900, "ota_bytes": 400, "metric": "accuracy", "value": 0.985}
    document = compare_reports([report(), better])
    assert (row(document, "size")["verdict"], row(document, "size")["change"]) == ("smaller", pytest.approx(-0.1))
    assert row(document, "ota")["verdict"] == "same"
    assert (row(document, "metric")["verdict"], row(document, "metric")["change"]) == ("higher", pytest.approx(0.005))


@pytest.mark.parametrize(
    ("text", "second", "broken"),
    [
        ("median > 3%", report(120), True),
        ("median > 30%", report(120), False),
        ("median > 3%", report(104), False),  # within what two runs differ by: not proven
        ("median < -10%", report(50), True),
        ("size > 0%", {**report(), "artifact": {**report()["artifact"], "size_bytes": 1001}}, True),
        ("metric < -0.005", {**report(), "artifact": {**report()["artifact"], "value": 0.97}}, True),
        ("metric < -0.05", {**report(), "artifact": {**report()["artifact"], "value": 0.97}}, False),
        ("metric < -1%", {**report(), "artifact": {**report()["artifact"], "value": 0.97}}, True),
    ],
)
def test_a_limit_fails_what_is_beyond_it_for_sure(text: str, second: dict[str, Any], broken: bool) -> None:
    judged = judge(compare_reports([report(100), second]), [Limit.parse(text)])
    assert judged["broken"] == ([text] if broken else [])
    assert judged["ok"] is not broken


def test_a_limit_that_cannot_be_decided_is_no_pass() -> None:
    document = compare_reports([report(100), report(100, threads=4)])
    with pytest.raises(BrokenPromise, match="could not be decided") as raised:
        judge(document, [Limit.parse("median > 3%")])
    assert "another threads" in raised.value.mend


@pytest.mark.parametrize("text", ["", "median", "median > 3", "speed > 3%", "median >= 3%", "median > 3% or so"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no limit"):
        Limit.parse(text)


def test_two_models_are_measured_side_by_side(tmp_path: Path) -> None:
    twin = tmp_path / "twin.tflite"
    twin.write_bytes(INT8.read_bytes())
    document = compare_models([INT8, twin], HostTarget(), QUICK, 8, Progress())
    assert (document["kind"], document["launches"]) == ("models", 8)
    latency = row(document, "median host")
    assert latency["low"] <= latency["change"] <= latency["high"]
    assert row(document, "size")["verdict"] == "same"
    assert document["first"]["runtime"] == document["second"]["runtime"] == "ai_edge_litert"


def test_one_model_on_two_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests keep this machine busy, which would be a reason to compare nothing.
    for limit in ("BUSY", "DRIFT"):
        monkeypatch.setattr(f"edge_targets._stability.{limit}", math.inf)

    class Another(HostTarget):
        """The same machine under another name."""

    Another.label = "there"
    document = compare_targets(INT8, [HostTarget(), Another()], QUICK, Progress())
    assert [document[side]["target"] for side in ("first", "second")] == ["host", "there"]
    assert row(document, "median")["unit"] == "us"


def test_an_emulator_says_nothing_about_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostTarget, "provenance", "emulated")
    document = compare_targets(INT8, [HostTarget(), HostTarget()], QUICK, Progress())
    assert document["rows"] == []
    assert "not measured on a device" in document["reasons"][0]


def test_two_models_are_not_compared_by_what_is_calculated() -> None:
    models = [INT8, DATA / "tiny_float32.tflite"]
    document = compare_models(models, CoralTarget(simulate=True), QUICK, 8, Progress())
    assert document["reasons"] == ["coral: its latency is simulated, not measured on a device"]
    assert [each["name"] for each in document["rows"]] == ["size"]
    assert "launches" not in document
