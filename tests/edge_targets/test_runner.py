"""The conversation with a device, over the recording that ships: nothing that a device says is trusted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import (
    BenchmarkPlan,
    Completed,
    DeviceError,
    Local,
    Measurement,
    Recording,
    Timeout,
    ToolMissing,
    UnusableModel,
    _on_device,
)
from edge_targets._noise import Noise, TensorPair
from edge_targets._runner import RUNNER, Runner

SOURCE = Path(_on_device.__file__)

DEVICE = {"machine": "m", "cpu_model": "c", "cores": 2, "memory_bytes": 8, "os": "o", "python": "3"}
FACTS = {"protocol": 1, "device": DEVICE, "runtime": "r", "runtime_version": "1"}
LOAD = {**FACTS, "job": "load", "kernels": "builtin", "load_ns": 5000, "first_ns": 2000, "gained_bytes": 4096}
STILL = {"clock_mhz": None, "temperature_c": None, "governor": "", "load": None, "throttled": ""}
TIMED = {**FACTS, "job": "benchmark", "warmup_runs": 1, "steady": True, "before": STILL, "after": STILL}


def said(answer: Any) -> Completed:
    return Completed(0, json.dumps(answer).encode())


def runner(*answers: Completed) -> tuple[Runner, Recording]:
    recording = Recording(answers)
    return Runner(recording, ("python3",)), recording


def measured(asked: Runner, model: Path, plan: BenchmarkPlan) -> Measurement:
    return asked.benchmark({"m": model}, plan, target="pi", provenance="device")["m"]


def benchmark(*answers: Completed) -> Measurement:
    return measured(runner(*answers)[0], SOURCE, BenchmarkPlan())


def test_what_is_asked_of_a_device(int8_model: Path) -> None:
    timings = {"kernels": "builtin", "latencies_ns": [3000, 1000, 2000]}
    asked, recording = runner(*[said(LOAD)] * 3, said({**TIMED, "models": [timings]}))
    found = measured(asked, int8_model, BenchmarkPlan(num_threads=4))
    assert [call.argv for call in recording.calls] == [("python3", f"/recording/{RUNNER}")] * 4
    jobs = [json.loads(call.stdin) for call in recording.calls]
    assert [job["job"] for job in jobs] == ["load", "load", "load", "benchmark"]
    assert jobs[3]["models"] == ["/recording/model-0.tflite"]
    assert jobs[3]["num_threads"] == 4
    assert recording.pushed["model-0.tflite"] == int8_model.read_bytes()
    assert recording.pushed[RUNNER] == SOURCE.read_bytes()
    assert (found.median_us, found.min_us, found.load_us, found.first_us) == (2.0, 1.0, 5.0, 2.0)
    assert (found.provenance, found.threads, found.peak_rss_bytes) == ("device", 4, 4096)


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'{"protocol": 2}',
        b'{"protocol": 1, "job": "probe"}',
        b"[" * 100_000,
        b"9" * 100_000,
        b'{"protocol": 1, "error": "no"}',
        json.dumps({**FACTS, "job": "probe", "device": {**DEVICE, "cores": "two"}}).encode(),
        json.dumps({**FACTS, "job": "probe", "device": {**DEVICE, "cores": True}}).encode(),
    ],
)
def test_answers_of_another_shape_are_refused(stdout: bytes) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted"):
        runner(Completed(0, stdout))[0].probe()


@pytest.mark.parametrize("latencies", [[], "fast", [1.5], [-1], [True], [None], [[1]]])
def test_latencies_that_are_none_are_refused(latencies: Any) -> None:
    answer = {**TIMED, "models": [{"kernels": "builtin", "latencies_ns": latencies}]}
    with pytest.raises(DeviceError, match="cannot be trusted"):
        benchmark(*[said(LOAD)] * 3, said(answer))


@pytest.mark.parametrize(
    ("returncode", "error", "match"),
    [
        (-6, UnusableModel, "SIGABRT"),
        (134, UnusableModel, "SIGABRT"),
        (-11, UnusableModel, "SIGSEGV"),
        (-9, UnusableModel, "SIGKILL"),
        (137, UnusableModel, "SIGKILL"),
        (1, DeviceError, "code 1"),
        (255, DeviceError, "code 255"),
    ],
)
def test_a_runner_that_dies_is_told_apart(returncode: int, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        benchmark(Completed(returncode, b"", b"why\x1b[31m it died"))


def test_control_characters_never_reach_the_terminal() -> None:
    with pytest.raises(DeviceError) as caught:
        benchmark(Completed(3, b"", b"\x1b]0;title\x07oh"))
    assert str(caught.value).splitlines()[0].isprintable()
    device = {**DEVICE, "cpu_model": "\x1b[2Jcpu"}
    assert runner(said({**FACTS, "job": "probe", "device": device}))[0].probe().cpu_model == "[2Jcpu"


@pytest.mark.parametrize(("kind", "error"), [("tool", ToolMissing), ("model", UnusableModel), ("device", DeviceError)])
def test_refusals_keep_their_kind(kind: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="the words"):
        benchmark(said({"protocol": 1, "error": {"kind": kind, "what": "the words"}}))


def test_a_hang_is_ended_with_all_that_it_started() -> None:
    with Local() as transport:
        code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
        with pytest.raises(Timeout, match="not finished after"):
            transport.run([sys.executable, "-c", code], timeout_s=1.0)


def test_a_flood_of_output_is_ended() -> None:
    with Local(most_output_bytes=100_000) as transport:
        code = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
        with pytest.raises(DeviceError, match="more than 100000 bytes"):
            transport.run([sys.executable, "-c", code], timeout_s=60)


def test_a_missing_program_is_named() -> None:
    with Local() as transport, pytest.raises(ToolMissing, match="no-such-program"):
        transport.run(["no-such-program"], timeout_s=5)


@pytest.mark.parametrize("name", ["../up", "a/b", "-rf", ".hidden", ""])
def test_only_plain_names_reach_a_device(name: str) -> None:
    with Local() as transport, pytest.raises(DeviceError, match="cannot be a file"):
        transport.push(SOURCE, name)


def test_the_work_folder_goes_with_the_work(int8_model: Path, tmp_path: Path) -> None:
    with Local() as transport:
        there = Path(transport.push(int8_model, "model with spaces $(x).tflite"))
        transport.pull(there.name, tmp_path / "back.tflite")
    assert tmp_path.joinpath("back.tflite").read_bytes() == int8_model.read_bytes()
    assert not there.parent.exists()


PAIRS = [TensorPair(1, 2, 0.5, 3), TensorPair(4, 5)]
X = np.zeros((2, 8, 8, 1), np.float32)
NOISE: dict[str, Any] = {**FACTS, "job": "noise", "examples": 2}


def compared(model: Path, answer: dict[str, Any]) -> tuple[list[Noise], Recording]:
    asked, recording = runner(said(answer))
    return asked.noise((model, model), (X, X.astype(np.int8)), PAIRS, "auto"), recording


def test_what_is_asked_and_told_of_noise(int8_model: Path) -> None:
    found, recording = compared(
        int8_model, {**NOISE, "pairs": [{"signal": 100, "noise": 1.0}, {"signal": 0.0, "noise": None}]}
    )
    request = json.loads(recording.calls[0].stdin)
    assert request["pairs"] == [[1, 2, 0.5, 3], [4, 5, 1.0, 0]]
    assert request["models"] == ["/recording/model-0.tflite", "/recording/model-1.tflite"]
    assert sorted(recording.pushed) == sorted(
        [RUNNER, "noise.py", "model-0.tflite", "model-1.tflite", "inputs-0.npy", "inputs-1.npy"]
    )
    assert [one.sqnr_db for one in found] == [20.0, None]


@pytest.mark.parametrize("number", ["1", -1, True, [], 10**400])
def test_noise_that_is_none_is_refused(number: Any, int8_model: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted"):
        compared(int8_model, {**NOISE, "pairs": [{"signal": number, "noise": 1}] * 2})


DETAILS: dict[str, Any] = {
    **{"mean": -0.5, "worst": 2.0, "bin_width": 0.5, "bins": [1, 2], "range": [-1, 1.5], "usual": [-1, 1]},
    **{"channels": 4, "lost_channels": 1, "channel_spread": 10.0, "channel_noise": 0.1, "shift": 0.2},
}


def test_the_details_of_an_error_are_told(int8_model: Path) -> None:
    [found, _] = compared(int8_model, {**NOISE, "pairs": [{"signal": 100, "noise": 1, **DETAILS}] * 2})[0]
    assert found.details is not None
    assert (found.details.bins, found.details.usual, found.details.mean) == ((1, 2), (-1.0, 1.0), -0.5)


@pytest.mark.parametrize(
    "lie",
    [
        *({"mean": "0"}, {"worst": -1}, {"bins": [1] * 33}, {"bins": [-1]}, {"usual": [2, 1]}, {"usual": [1]}),
        *({"range": [10**400, 10**401]}, {"lost_channels": 0.5}, {"shift": None}),
    ],
)
def test_details_that_are_none_are_refused(lie: dict[str, Any], int8_model: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted"):
        compared(int8_model, {**NOISE, "pairs": [{"signal": 100, "noise": 1, **DETAILS, **lie}] * 2})


@pytest.mark.parametrize("lie", [{"examples": 3}, {"pairs": []}, {"pairs": [{"signal": 1, "noise": 1}]}])
def test_noise_of_something_else_is_refused(lie: dict[str, Any], int8_model: Path) -> None:
    honest = {**NOISE, "pairs": [{"signal": 1, "noise": 1}] * 2}
    with pytest.raises(DeviceError, match="cannot be trusted"):
        compared(int8_model, {**honest, **lie})
