"""A measurement that did not hold still says so, and why; one that did says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, DeviceError, _on_device
from edge_targets._measurement import Conditions
from edge_targets._stability import unstable
from edge_targets._transport import Completed, Recording
from edge_targets.host import HostTarget

STILL = Conditions(clock_mhz=1500.0, temperature_c=50.0, governor="performance", load=0.5, throttled="0")
RUNS = list(np.random.default_rng(0).lognormal(4, 0.1, 300))


def said(latencies: Any = RUNS, steady: bool = True, **changes: Any) -> str:
    return unstable(latencies, STILL, replace(STILL, **changes), steady=steady, cores=4)


def test_nothing_is_said_of_what_held_still() -> None:
    assert said() == ""
    assert said(clock_mhz=1400.0, temperature_c=79.0, load=5.9) == ""
    assert said(clock_mhz=None, temperature_c=None, load=None, throttled="") == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"steady": False}, "the warm-up was still getting faster"),
        ({"latencies": [*RUNS[:200], *(1.3 * x for x in RUNS[200:])]}, "the last third of the runs took 25% more"),
        ({"latencies": [*RUNS[:200], *(0.7 * x for x in RUNS[200:])]}, "% less than the first"),
        ({"clock_mhz": 600.0}, "the clock fell from 1500 to 600 MHz"),
        ({"throttled": "0x50005"}, "the processor was throttled"),
    ],
)
def test_the_reason_is_told(changes: dict[str, Any], reason: str) -> None:
    assert reason in said(**changes)


def test_what_throttled_it_earlier_is_no_reason() -> None:
    assert said(throttled="0x50000") == ""


def test_a_busy_machine_is_told() -> None:
    busy = replace(STILL, load=13.0)
    assert unstable(RUNS, busy, busy, steady=True, cores=4) == "the machine was busy: a load of 13.0 on 4 processors"


@pytest.mark.parametrize("throttled", ["zz", "0x", "-", "1" * 200])
def test_odd_flags_break_nothing(throttled: str) -> None:
    assert "clock" not in said(throttled=throttled)


def ticking(latencies_ns: list[int], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A model whose runs take these times on a clock of its own."""
    clock = {"ns": 0}
    following = iter(latencies_ns)

    def run() -> None:
        clock["ns"] += next(following, latencies_ns[-1])

    monkeypatch.setattr("time.perf_counter_ns", lambda: clock["ns"])
    monkeypatch.setattr("time.perf_counter", lambda: clock["ns"] / 1e9)
    return run


def test_the_warm_up_goes_on_until_runs_get_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [int(1e6 * 0.97**k) for k in range(60)] + [160_000] * 500
    warmed = _on_device.warm_up([ticking(falling, monkeypatch)], _on_device.fair_turns(1), 20, 10.0)[0]
    assert 60 < len(warmed) < 200
    assert _on_device.settled(warmed)


def test_the_warm_up_is_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [int(1e9 * 0.97**k) for k in range(1000)]
    by_number = _on_device.warm_up([ticking(falling, monkeypatch)], _on_device.fair_turns(1), 20, 1e9)[0]
    assert (len(by_number), _on_device.settled(by_number)) == (200, False)
    by_time = _on_device.warm_up([ticking(falling, monkeypatch)], _on_device.fair_turns(1), 20, 5.0)[0]
    assert len(by_time) < 20


def test_runs_go_on_until_the_median_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    counts = []
    for spread in (0.01, 0.3):
        noisy = [int(x) for x in 1e6 * rng.lognormal(0, spread, 20_000)]
        found = _on_device.rounds([ticking(noisy, monkeypatch)], _on_device.fair_turns(1), 30, 20_000, 0.0, 60.0, 0.02)
        assert _on_device.known(found[0], 0.02)
        counts.append(len(found[0]))
    assert counts[0] == 30
    # 0.3 / sqrt(n) * 1.25 * 1.96 = 0.02 at some 1350.
    assert 800 < counts[1] < 3000


def test_conditions_of_this_machine_are_measured(int8_model: Any) -> None:
    plan = BenchmarkPlan(warmup_runs=2, num_runs=5, min_secs=0, max_secs=0.1, cold_starts=0)
    found = HostTarget().benchmark({"m": int8_model}, plan)["m"]
    assert found.before is not None
    assert found.before.load is not None
    assert (found.load_us, found.first_us, found.peak_rss_bytes) == (None, None, None)
    assert found.to_json()["before"]["governor"] == found.before.governor


@pytest.mark.parametrize("wrong", [None, [], {"clock_mhz": "fast"}, {"clock_mhz": -1}, {"governor": 3}])
def test_conditions_of_another_shape_are_refused(wrong: Any, int8_model: Any) -> None:
    still = {"clock_mhz": None, "temperature_c": None, "governor": "", "load": None, "throttled": ""}
    device = {"machine": "m", "cpu_model": "c", "cores": 2, "memory_bytes": 8, "os": "o", "python": "3"}
    answer = {"protocol": 1, "job": "benchmark", "device": device, "runtime": "r", "runtime_version": "1"}
    odd = {**still, **wrong} if isinstance(wrong, dict) else wrong
    timed: dict[str, Any] = {"warmup_runs": 0, "steady": True, "before": still, "after": odd}
    timed["models"] = [{"kernels": "builtin", "latencies_ns": [1]}]
    recording = Recording([Completed(0, json.dumps({**answer, **timed}).encode())])
    with pytest.raises(DeviceError, match="cannot be trusted"):
        HostTarget(connect=lambda: recording).benchmark({"m": int8_model}, BenchmarkPlan(cold_starts=0))
