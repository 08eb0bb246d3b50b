"""`benchmark` and `evaluate`: many devices at once, one that fails harms no other, and a broken one is not measured."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.console import Console

from edge_targets import BenchmarkPlan, Completed, DeviceError, DeviceInfo, Measurement, Recording, UnusableModel
from edge_targets._benchmark_profile import OperatorTime
from edge_targets._parity import Parity
from edge_targets._roofline import Roofline
from edge_targets._tune import tune
from edge_targets.host import HostTarget
from pipeline import benchmark, evaluation, measure
from pipeline.devices import Device, device, devices
from pipeline.errors import DataError, UsageError
from pipeline.progress import Progress
from pipeline.report import render_benchmark, render_evaluation
from pipeline.settings import Settings
from tests.edge_targets.faulty import Faulty, with_other_weights

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "edge_targets" / "data"
INT8, FLOAT32, LSTM = (DATA / f"tiny_{name}.tflite" for name in ("int8", "float32", "lstm"))
QUICK = BenchmarkPlan(num_runs=20, warmup_runs=2, min_secs=0, max_secs=1)


@dataclasses.dataclass(frozen=True)
class Given(Device):
    """A device whose target is at hand already."""

    made: Any = None

    def target(self) -> Any:
        self.made.label = self.label
        return self.made


def given(label: str, target: Any) -> Device:
    return Given(label, "host", Settings(), label, target)


def valid(document: dict[str, Any], schema: str) -> dict[str, Any]:
    """The document, held against its schema and against what JSON can hold."""
    described = json.loads((ROOT / "docs" / "schemas" / f"{schema}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(described)
    jsonschema.validate(document, described, cls=jsonschema.Draft202012Validator)
    json.dumps(document, allow_nan=False)
    return document


def hold_measurement(measured: dict[str, Any]) -> None:
    """The measurement, held against its part of the report's schema."""
    described = json.loads((ROOT / "docs" / "schemas" / "report.schema.json").read_text("utf-8"))
    part = {"$ref": "#/$defs/measurement", "$defs": described["$defs"]}
    jsonschema.validate(measured, part, cls=jsonschema.Draft202012Validator)


def drawn(document: dict[str, Any], render: Callable[[dict[str, Any], Console], None]) -> str:
    console = Console(file=io.StringIO(), width=80)
    render(document, console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    return text


def benched(chosen: list[Device], model: Path = INT8, **options: Any) -> dict[str, Any]:
    return valid(benchmark.benchmark(model, chosen, benchmark.Options(QUICK, **options), Progress()), "benchmark")


def test_one_devices_failure_is_its_own(tmp_path: Path) -> None:
    silent = HostTarget(lambda: Recording([DeviceError("The device fell silent.", mend="plug it in")]))
    broken = Faulty(with_other_weights(INT8, "logits"), tmp_path)
    chosen = [given("kitchen", silent), given("attic", broken), *devices(["host", "host:xnnpack=off"])]
    document = benched(chosen)
    rows = document["devices"]
    assert document["ok"] is False
    assert [row["status"] for row in rows] == ["failed", "broken", "measured", "measured"]
    assert rows[0]["error"]["what"] == "The device fell silent."
    assert (rows[1]["parity"]["first_layer"], rows[1]["measurement"]) == ("logits", None)
    assert rows[1]["error"]["kind"] == "Disagreement"
    assert [row["measurement"]["target"] for row in rows[2:]] == ["host", "host:xnnpack=off"]
    assert [row["measurement"]["kernels"] for row in rows[2:]] == ["xnnpack", "builtin"]
    assert all(row["parity"]["exact"] for row in rows[2:])
    text = drawn(document, render_benchmark)
    assert "plug it in" in text
    assert "The first layer that differs is 'logits'" in " ".join(text.split())


def test_devices_work_at_the_same_time() -> None:
    def work(one: Device) -> float:
        time.sleep(0.2)
        return time.monotonic()

    begin = time.monotonic()
    ended = measure.side_by_side("wait", [given(str(place), None) for place in range(8)], work, Progress())
    assert max(ended) - begin < 0.8


def test_a_fault_of_ours_in_one_thread_ends_the_whole() -> None:
    def work(one: Device) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure.side_by_side("fail", [given("a", None), given("b", None)], work, Progress())


def test_golden_inputs_may_be_real(tmp_path: Path) -> None:
    path = tmp_path / "real.npz"
    np.savez(path, x=np.linspace(0, 1, 20 * 64, dtype=np.float32).reshape(20, 8, 8), y=np.arange(20) % 3)
    document = benched([device("host")], data=path)
    assert (document["golden"]["inputs"], document["golden"]["examples"]) == ("real.npz", 8)
    assert document["devices"][0]["parity"]["exact"]
    np.savez(path, x=np.zeros((20, 9, 8)))
    with pytest.raises(DataError, match=r"are float64 \(8, 9, 8\)"):
        benched([device("host")], data=path)


def test_a_model_that_crashes_the_interpreter_is_a_sentence(tmp_path: Path) -> None:
    broken = bytearray(INT8.read_bytes())
    broken[20] = 0
    path = tmp_path / "broken.tflite"
    path.write_bytes(broken)
    with pytest.raises(UnusableModel) as caught:
        benched([device("host")], path)
    assert caught.value.exit_code == 3


def test_tuning_uses_the_fastest_that_it_found() -> None:
    document = benched([device("host")], tune=True)
    best = document["tuning"][0]
    assert best["median_us"] == min(each["median_us"] for each in document["tuning"])
    assert {(each["runtime"], each["xnnpack"]) for each in document["tuning"]} >= {
        ("ai_edge_litert", True),
        ("ai_edge_litert", False),
    }
    found = document["devices"][0]["measurement"]
    assert (found["target"], found["runtime"], found["threads"]) == ("host", best["runtime"], best["threads"])
    assert "Tried on this machine" in drawn(document, render_benchmark)
    with pytest.raises(UsageError, match="--tune is for this machine"):
        benched([device("host:threads=2")], tune=True)


def test_tuning_a_model_that_nothing_runs_says_why(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(INT8.read_bytes()[:900])
    with pytest.raises(UnusableModel):
        tune(path)


MEASURED = Measurement(
    target="x", model="model", provenance="emulated", runtime="ai_edge_litert", runtime_version="2.3.0",
    kernels="xnnpack+builtin", threads=4, delegate=None, warmup_runs=20, runs=200, latencies_us=(1.0,),
    median_us=12345.6, median_ci_us=(1.0, 2.0), p90_us=23456.7, p90_ci_us=None, p99_us=None, p99_ci_us=None,
    mean_us=1.0, min_us=1.0, peak_rss_bytes=123_456_789, load_us=1.0, first_us=1.0,
    device=DeviceInfo("aarch64", "", 4, 1, "", "3.11", emulator="qemu-aarch64-static"),
)  # fmt: skip


def test_the_table_lines_up_and_stays_within_80_columns(golden: Callable[[str, str], None]) -> None:
    parity = {"ok": True, "exact": False, "max_steps": 3.0}
    measured = {"error": None, "not_checked": "", "status": "measured", "parity": parity}
    document = {
        "model": {"path": "model\x1b[2J.tflite", "size_bytes": 441_872},
        "devices": [
            {**measured, "label": "pi@a-very-long-name.of-a-device.example:2222", "measurement": MEASURED.to_json()},
            {**measured, "label": "android:127.0.0.1:5555", "measurement": MEASURED.to_json(), "parity": None,
             "not_checked": "the target android gives no outputs back"},
            {**measured, "label": "attic", "status": "broken", "measurement": None, "parity": {**parity, "ok": False},
             "error": {"what": "It gives other\noutputs.", "mend": "update it"}},
        ],
        "tuning": [],
    }  # fmt: skip
    golden("benchmark_80.txt", drawn(document, render_benchmark))


def test_the_slowest_operators_stand_below_the_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = benchmark.Options(dataclasses.replace(QUICK, profile=True))
    document = valid(benchmark.benchmark(INT8, [device("host")], options, Progress()), "benchmark")
    measured = document["devices"][0]["measurement"]
    hold_measurement(measured)
    assert [each["name"] for each in measured["profile"]] == ["conv", "flatten", "logits"]
    lines = drawn(document, render_benchmark).splitlines()
    begin = lines.index("host: operators")
    assert lines[begin + 2].split()[:2] == ["CONV_2D", "conv"]
    assert lines[begin + 2].rstrip().endswith(("arithmetic", "memory"))
    assert "Each operator measured as a model of its own; together" in lines[begin + 5]


def test_of_many_operators_ten_are_shown_and_why_there_are_none_is_told() -> None:
    rows = [
        OperatorTime(place, "CONV_2D", f"layer\x1b[2J{place}", 100.0 - place, 0.01, 1, 10**6, 10**3)
        for place in range(30)
    ]
    roofs = Roofline(macs_per_us=1000.0, bytes_per_us=10.0)
    profiled = dataclasses.replace(
        MEASURED, profile=tuple(rows), profile_method="litert", profile_covered=0.97, roofline=roofs,
        energy_uj=1234.5, energy_source="rapl",
    )  # fmt: skip
    without = dataclasses.replace(MEASURED, no_profile="What the delegate does inside is not shown.")
    row = {"error": None, "not_checked": "", "status": "measured", "parity": None}
    document = {
        "model": {"path": "m.tflite", "size_bytes": 1},
        "devices": [
            {**row, "label": "pi", "measurement": profiled.to_json()},
            {**row, "label": "coral", "measurement": without.to_json()},
        ],
        "tuning": [],
    }
    hold_measurement(profiled.to_json())
    text = drawn(document, render_benchmark)
    assert "pi: the slowest 10 of 30 operators" in text
    assert text.count("arithmetic") == 10
    assert "\x1b" not in text
    assert "1234 µJ an inference (rapl)" in " ".join(text.split())
    assert "together 97 % of the median" in text
    assert "the delegate does inside is not shown" in text


@pytest.mark.e2e
def test_interrupted_it_leaves_neither_programs_nor_files(tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("edgesmith"), "benchmark", INT8, "--min-secs", "60", "--max-secs", "90"]
    # The second waits for the first, and must not start when that one is ended.
    command += ["--target", "host", "--target", "host:xnnpack=off"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    while "benchmark: 2 steps" not in process.stderr.readline():
        assert process.poll() is None
    wait_until(lambda: any(tmp_path.glob("*/model-0.tflite")))
    process.send_signal(signal.SIGINT)
    assert "Interrupted" in process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- evaluate ----


def examples(folder: Path, **arrays: Any) -> Path:
    path = folder / "examples.npz"
    np.savez(path, **arrays)
    return path


def test_accuracy_is_that_of_the_outputs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((40, 8, 8, 1), np.float32)
    outputs = HostTarget().evaluate(FLOAT32, [x])
    y = outputs.argmax(axis=1)
    wrong = y.copy()
    wrong[:10] = (wrong[:10] + 1) % 3
    path = examples(tmp_path, x=x, y=wrong)
    silent = HostTarget(lambda: Recording([DeviceError("The device fell silent.")]))
    task = evaluation.task_of("classification")
    document = evaluation.evaluate(FLOAT32, path, task, [device("host"), given("attic", silent)], Progress())
    valid(document, "evaluation")
    assert [row["value"] for row in document["devices"]] == [0.75, None]
    assert (document["ok"], document["data"]["examples"], document["metric"]) == (False, 40, "accuracy")
    assert "75.00 %" in drawn(document, render_evaluation)
    few = evaluation.evaluate(FLOAT32, path, task, [device("host")], Progress(), limit=10)
    assert few["devices"][0]["value"] == 0


def test_stored_and_real_inputs_score_alike(tmp_path: Path) -> None:
    from edge_targets.tflite_graph import read_graph

    real = np.random.default_rng(0).random((30, 8, 8, 1), np.float32)
    stored = evaluation.stored_inputs(real, read_graph(INT8), "here")
    assert stored.dtype == np.int8
    assert (evaluation.stored_inputs(stored, read_graph(INT8), "here") == stored).all()
    y, task = np.arange(30) % 3, evaluation.task_of("classification")
    scores = [
        evaluation.evaluate(INT8, examples(tmp_path, x=x, y=y), task, [device("host")], Progress())["devices"][0][
            "value"
        ]
        for x in (real, stored)
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((4, 8, 8, 1))}, "no array 'y'"),
        ({"x": np.zeros((4, 8, 8, 1)), "y": np.arange(3)}, "4 examples in x and 3 in y"),
        ({"x": np.zeros((0, 8, 8, 1)), "y": np.arange(0)}, r"float64 \(0,\)"),
        ({"x": np.full((4, 8, 8, 1), np.nan), "y": np.arange(4) % 3}, "not finite"),
        ({"x": np.zeros((4, 8, 8, 1)), "y": np.zeros((4, 3))}, "labels of the given split"),
        ({"x": np.array([["a"]] * 4), "y": np.arange(4) % 3}, "are <U1"),
    ],
)
def test_examples_that_are_not_for_the_model_are_refused(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    task = evaluation.task_of("classification")
    with pytest.raises(DataError, match=said):
        evaluation.evaluate(INT8, examples(tmp_path, **arrays), task, [device("host")], Progress())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clasification", "did you mean 'classification'"),
        ("{classification: {output: double}}", "classification"),
        ("[1]", "a list"),
        ("{", "no YAML"),
    ],
)
def test_a_task_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluation.task_of(text)


def test_a_task_may_have_settings() -> None:
    assert evaluation.task_of("{classification: {output: single}}").model_dump()["output"] == "single"


def test_a_recording_shows_what_a_device_was_asked() -> None:
    recording = Recording([Completed(1, b"", b"out of order")])
    row = benched([given("x", HostTarget(lambda: recording))])["devices"][0]
    assert "out of order" in row["error"]["what"]
    assert json.loads(recording.calls[0].stdin)["job"] == "evaluate"


def test_a_run_says_how_to_mend_a_device_that_could_not_be_asked() -> None:
    error = UnusableModel("The interpreter refuses it.", mend="update it there")
    alike = Parity("builtin", "tflite_runtime 2.14.0", 8, exact=False, max_steps=1, same_top1=8, ok=True, why="")
    for parity in (None, alike):
        [check] = measure.parity_checks([measure.Row("attic", "raspberry_pi", parity, error=error)])
        assert (check.status, check.why) == ("fail", "The interpreter refuses it. To mend it: update it there.")
        # That the outputs agreed before it went wrong is no value that broke a limit.
        assert (check.value, check.limit) == (None, None)
