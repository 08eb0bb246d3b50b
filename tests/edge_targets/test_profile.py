"""Where the time goes: LiteRT's profiler and single operators on this machine, and what a device may say of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, Completed, Measurement, Recording, UnusableModel, _on_device, _on_device_profile
from edge_targets._benchmark_profile import OperatorTime
from edge_targets._profile import CUT, LITERT, moved_bytes
from edge_targets._roofline import MACS, RUNS, kept_in, models
from edge_targets._runner import Runner
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import parse_graph
from tests.edge_targets.one_operator import Operator, Tensor, constant, model
from tests.edge_targets.test_operator_names import CONV, FULL, RESHAPE
from tests.edge_targets.test_runner import DEVICE, FACTS, TIMED, said

PROFILED = BenchmarkPlan(num_runs=60, warmup_runs=2, min_secs=0, max_secs=1, cold_starts=0, energy=False, profile=True)
NO_OPTIONS: dict[str, dict[str, int]] = {"FullyConnectedOptions": {}}


@pytest.fixture(autouse=True)
def roofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rooflines are kept in a folder of the test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return kept_in()


@pytest.fixture
def products(tmp_path: Path) -> Path:
    """Two matrix products, of which the second has four times the multiplications, and a sum: some 500 µs."""
    rng = np.random.default_rng(0)
    few, many = (constant(rng.normal(size=(width, 512)), "float32") for width in (256, 1024))
    tensors = {
        "in": Tensor((64, 512), "float32"),
        "few": few,
        "less": Tensor((64, 256), "float32"),
        "many": many,
        "more": Tensor((64, 1024), "float32"),
        "sum": Tensor((64, 1024), "float32"),
    }
    operators = [
        Operator("FULLY_CONNECTED", ["in", "few"], ["less"], NO_OPTIONS),
        Operator("FULLY_CONNECTED", ["in", "many"], ["more"], NO_OPTIONS),
        Operator("ADD", ["more", "more"], ["sum"], {"AddOptions": {}}),
    ]
    path = tmp_path / "products.tflite"
    path.write_bytes(model(tensors, operators))
    return path


def on_host(path: Path, target: HostTarget | None = None) -> Measurement:
    return (target or HostTarget()).benchmark({"m": path}, PROFILED)["m"]


def explained(path: Path, method: str, target: HostTarget | None = None) -> Measurement:
    """A profile by this method that explains the median. What else runs here may disturb one; not one after another."""
    for _ in range(5):
        found = on_host(path, target)
        if found.profile_method == method and abs((found.profile_covered or 0) - 1) <= 0.15:
            break
    return found


def rows(found: Measurement) -> tuple[OperatorTime, ...]:
    assert found.no_profile == ""
    assert found.profile is not None
    return found.profile


def test_litert_s_profiler_explains_the_median(products: Path) -> None:
    found = explained(products, LITERT)
    few, many, added = rows(found)
    assert found.profile_method == LITERT
    assert found.profile_covered == pytest.approx(1, abs=0.15)
    together_us = few.us + many.us + added.us
    assert together_us / found.must_have_median() == pytest.approx(found.profile_covered)
    assert [each.kind for each in (few, many, added)] == ["FULLY_CONNECTED", "FULLY_CONNECTED", "ADD"]
    assert many.macs == 64 * 512 * 1024
    assert added.macs == 0
    assert many.bytes == 4 * (64 * 512 + 512 * 1024 + 64 * 1024)
    assert 2 < many.us / few.us < 8


def test_each_operator_alone_tells_the_same(products: Path) -> None:
    found = explained(products, CUT, HostTarget(runtime="tflite_runtime"))
    few, many, _ = rows(found)
    assert (found.runtime, found.profile_method) == ("tflite_runtime", CUT)
    assert found.profile_covered == pytest.approx(1, abs=0.15)
    assert 2 < many.us / few.us < 8
    assert sum(row.share for row in rows(found)) <= 1 + 1e-9


def test_what_takes_no_microsecond_is_measured_alone(int8_model: Path) -> None:
    found = on_host(int8_model)
    assert found.profile_method == CUT
    assert [row.name for row in rows(found)] == ["conv", "flatten", "logits"]
    assert rows(found)[0].us == max(row.us for row in rows(found)) > 0


def test_the_interpreter_s_own_kernels(products: Path) -> None:
    found = explained(products, LITERT, HostTarget(xnnpack=False))
    assert (found.kernels, found.profile_method) == ("builtin", LITERT)
    assert found.profile_covered == pytest.approx(1, abs=0.15)


def test_the_roofline_is_measured_once(products: Path, roofs: Path) -> None:
    first = on_host(products).roofline
    assert first is not None
    # A roof is above what was seen below it.
    assert first.macs_per_us > 100
    assert first.bytes_per_us > 100
    [kept] = roofs.iterdir()
    kept.write_text('{"macs_per_us": 7.0, "bytes_per_us": 5.0}')
    second = on_host(products).roofline
    assert second is not None
    assert (second.macs_per_us, second.bytes_per_us) == (7, 5)
    for damaged in ("", "[]", '{"macs_per_us": 0, "bytes_per_us": 1}', '{"macs_per_us": "1"}'):
        kept.write_text(damaged)
    third = on_host(products).roofline
    assert third is not None
    assert third.macs_per_us > 100


def test_other_threads_have_another_roof(products: Path, roofs: Path) -> None:
    for threads in (1, 2):
        on_host(products, HostTarget(threads=threads))
    assert len(list(roofs.iterdir())) == 2


def test_the_models_of_the_roofline_are_what_they_say() -> None:
    for dtype in ("int8", "float32"):
        product, added = (parse_graph(content) for content in models(dtype).values())
        assert product.tensors[0].dtype == dtype
        assert moved_bytes(added, added.operators[0]) >= 48 * 2**20
        # Far to the right of any ridge.
        assert MACS / moved_bytes(product, product.operators[0]) > 30


# ---- what a device may say ----

BENCHED = {**TIMED, "runtime": "ai_edge_litert"}
CUT_NS = [[9000, 9000], [1000, 1000], [5000, 5000], [1500, 1500], [2500, 2500]]
ROOF_NS = [[1_000_000], [2_000_000]]


def timings(latencies_ns: list[list[int]]) -> Completed:
    return said({**BENCHED, "models": [{"kernels": "xnnpack", "latencies_ns": each} for each in latencies_ns]})


def litert(*operators: tuple[str, int, Any, Any], whole_us: Any = 10.0) -> Completed:
    names = ("kind", "index", "delegated", "us")
    told = [{"subgraph": 0, **dict(zip(names, each, strict=True))} for each in operators]
    return said({"protocol": 1, "job": "profile", "device": DEVICE, "runs": 9, "whole_us": whole_us, "operators": told})


def asked(int8_model: Path, *answers: Completed, delegate: str | None = None) -> tuple[Measurement, Recording]:
    recording = Recording(answers)
    runner = Runner(recording, ("python3",), delegate=delegate)
    return runner.benchmark({"m": int8_model}, PROFILED, target="pi", provenance="device")["m"], recording


def test_a_profile_of_a_device(int8_model: Path) -> None:
    told = litert((CONV, 0, True, 40.0), (RESHAPE, 1, True, 8.0), (FULL, 2, True, 42.0), whole_us=100.0)
    found, recording = asked(int8_model, timings([[80_000] * 9]), told, timings(ROOF_NS))
    assert found.profile_method == LITERT
    assert found.profile_covered == pytest.approx(0.9)
    # 100 µs there were 80 µs before.
    assert [row.us for row in rows(found)] == pytest.approx([32, 6.4, 33.6])
    assert found.roofline is not None
    assert found.roofline.macs_per_us == pytest.approx(MACS / 1000)
    request = json.loads(recording.calls[1].stdin)
    assert (request["job"], request["kernel_mode"], request["num_threads"]) == ("profile", "xnnpack", 1)
    assert json.loads(recording.calls[2].stdin)["most_runs"] == RUNS


@pytest.mark.parametrize(
    "answer",
    [
        Completed(-11, b""),
        said({"protocol": 1, "error": {"kind": "tool", "what": "no libLiteRt"}}),
        litert(),
        litert((CONV, 0, True, -1.0)),
        litert((CONV, 0, True, "8")),
        litert((CONV, -1, False, 8.0)),
        litert((CONV, 0, 1, 8.0)),
        litert((CONV, 0, True, 8.0), whole_us=None),
        litert((CONV, 0, True, 8.0), whole_us=0),
        # Other kernels ran.
        litert((CONV, 0, True, 80.0), whole_us=100.0),
        # It does not see much.
        litert((CONV, 0, True, 0.0), (RESHAPE, 1, True, 0.0), (FULL, 2, True, 0.0)),
    ],
)  # fmt: skip
def test_where_the_profiler_fails_each_operator_is_measured_alone(int8_model: Path, answer: Completed) -> None:
    found, _ = asked(int8_model, timings([[9000] * 9]), answer, timings(CUT_NS), timings(ROOF_NS))
    assert found.profile_method == CUT
    assert found.profile_covered == pytest.approx((4 + 0.5 + 1.5) / 9)
    assert [row.us for row in rows(found)] == pytest.approx([4, 0.5, 1.5])


def test_operators_that_take_longer_alone_never_exceed_the_whole(int8_model: Path) -> None:
    crash = Completed(-11, b"")
    longer = [[9000], [1000], [11_000], [1000], [9000]]
    found, _ = asked(int8_model, timings([[9000] * 9]), crash, timings(longer), timings(ROOF_NS))
    assert found.profile_covered == pytest.approx(2)
    assert [row.us for row in rows(found)] == pytest.approx([5, 0, 4])


def test_names_from_a_device_cannot_write_to_the_terminal(int8_model: Path) -> None:
    told = litert(("\x1b[2Jevil\n", 0, True, 10.0))
    unlike = Completed(-11, b"")
    found, _ = asked(int8_model, timings([[10_000] * 9]), told, unlike, timings(ROOF_NS))
    assert (found.profile_method, [row.kind for row in rows(found)]) == (LITERT, ["[2Jevil"])


def test_without_any_profile_the_measurement_stands_and_says_why(int8_model: Path) -> None:
    crash = Completed(-11, b"")
    found, _ = asked(int8_model, timings([[9000] * 9]), crash, crash)
    assert (found.median_us, found.profile, found.profile_method) == (9, None, "")
    assert "crashed (SIGSEGV)" in found.no_profile
    found, recording = asked(int8_model, timings([[9000] * 9]), delegate="/lib/libedgetpu.so.1")
    assert "libedgetpu.so.1 does inside is not shown" in found.no_profile
    assert len(recording.calls) == 1


def test_without_a_roofline_the_times_stand(int8_model: Path) -> None:
    found, _ = asked(int8_model, timings([[9000] * 9]), Completed(-11, b""), timings(CUT_NS), Completed(1, b""))
    assert (found.profile_method, found.roofline) == (CUT, None)


# ---- on the device ----


def answered(request: dict[str, Any], packages: Path | None = None) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(packages)} if packages else None
    done = subprocess.run(
        [sys.executable, _on_device.__file__], input=json.dumps({"protocol": 1, "job": "profile", **request}).encode(),
        capture_output=True, timeout=60, check=True, env=environment,
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def request_for(path: Path) -> dict[str, Any]:
    script = _on_device_profile.__file__
    return {
        "script": script,
        "model": str(path),
        "kernel_mode": "xnnpack",
        "num_threads": 1,
        "num_runs": 5,
        "max_secs": 1,
    }


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda package: None, "has no libLiteRt"),
        (lambda package: package.joinpath("libLiteRt.so").write_bytes(b"\x7fELF"), "libLiteRt.so"),
        (lambda package: package.joinpath("libLiteRt.so").symlink_to("/lib/x86_64-linux-gnu/libc.so.6"), "undefined"),
    ],
)
def test_a_wheel_without_the_profiler_is_a_missing_tool(
    tmp_path: Path, int8_model: Path, spoil: Callable[[Path], Any], what: str
) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    spoil(package)
    answer = answered(request_for(int8_model), tmp_path)
    assert answer["error"]["kind"] == "tool"
    assert what in answer["error"]["what"]


def test_a_model_that_litert_refuses_there(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    path.write_bytes(b"none")
    assert "LiteRtCreateModelFromFile failed" in answered(request_for(path))["error"]["what"]


def test_a_model_that_cannot_be_read_is_refused_before_anything_else(crashing_model: Path) -> None:
    with pytest.raises(UnusableModel):
        HostTarget().benchmark({"m": crashing_model}, PROFILED)


def test_facts_of_another_runtime_are_not_asked_of_litert(int8_model: Path) -> None:
    other = said({**FACTS, "job": "benchmark", "warmup_runs": 1, "steady": True,
                  "before": TIMED["before"], "after": TIMED["after"],
                  "models": [{"kernels": "builtin", "latencies_ns": [9000] * 9}]})  # fmt: skip
    found, recording = asked(int8_model, other, timings(CUT_NS), timings(ROOF_NS))
    assert found.profile_method == CUT
    assert [json.loads(call.stdin)["job"] for call in recording.calls] == ["benchmark"] * 3
