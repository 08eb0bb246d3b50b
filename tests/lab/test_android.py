"""AOSP's real adbd with Android's shell and small programs: the cases of the fake device, and the target `android`."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, DeviceError, Golden, Timeout
from edge_targets._adb import Adb
from edge_targets._energy_android import battery_energy
from edge_targets.android import AndroidTarget
from edge_targets.host import HostTarget
from tests.edge_targets import benchmark_model_fake
from tests.edge_targets.adb_cases import CASES, Reach, sh
from tests.lab.android import Android
from tests.lab.lab import Lab

MODEL = Path(__file__).parents[1] / "edge_targets/data/tiny_int8.tflite"
PYTHON = "/system/bin/python3"
QUICK = BenchmarkPlan(num_runs=5, warmup_runs=1, min_secs=0, max_secs=2)


@pytest.fixture
def phone(lab: Lab) -> Android:
    return lab.android


@pytest.fixture
def reach(phone: Android) -> Reach:
    return partial(over, phone)


def over(phone: Android, *, most_output_bytes: int = 2**20, most_pulled_bytes: int = 2**20) -> Adb:
    return Adb(
        phone.serial,
        adb=str(phone.adb),
        server_port=phone.server_port,
        most_output_bytes=most_output_bytes,
        most_pulled_bytes=most_pulled_bytes,
    )


def target(phone: Android, **settings: Any) -> AndroidTarget:
    return AndroidTarget(connect=phone.serial, adb=str(phone.adb), server_port=phone.server_port, **settings)


@contextmanager
def unplugged_when(phone: Android, there: str) -> Iterator[None]:
    """The daemon is killed once a file of this name lies in a work folder."""

    def pull() -> None:
        deadline = time.monotonic() + 60
        while not list(phone.root.glob(f"data/local/tmp/edgesmith/run-*/{there}")) and time.monotonic() < deadline:
            time.sleep(0.01)
        phone.kill_daemon()

    plug = threading.Thread(target=pull)
    plug.start()
    try:
        yield
    finally:
        plug.join()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_device(case: Callable[[Reach, Path], None], reach: Reach, tmp_path: Path) -> None:
    case(reach, tmp_path)


def test_unplugged_during_a_push(phone: Android, reach: Reach, tmp_path: Path) -> None:
    tmp_path.joinpath("large").write_bytes(bytes(64 * 2**20))
    with reach() as adb, unplugged_when(phone, ".large.part"), pytest.raises(DeviceError, match="could not be sent"):
        adb.push(tmp_path / "large", "large")
    assert not list(phone.root.glob("data/local/tmp/edgesmith/run-*/large"))


def test_unplugged_during_a_run(phone: Android, reach: Reach) -> None:
    with reach() as adb, unplugged_when(phone, "started"), pytest.raises(DeviceError, match="was lost"):
        sh(adb, "echo half > started; sleep 600; exit 3")


def test_a_full_disk(phone: Android, reach: Reach, tmp_path: Path) -> None:
    tmp_path.joinpath("large").write_bytes(bytes(2**20))
    with reach() as adb, phone.full_disk(), pytest.raises(DeviceError, match="No space left") as caught:
        adb.push(tmp_path / "large", "large")
    assert "free some space" in caught.value.mend


def test_a_device_that_falls_silent(phone: Android, reach: Reach) -> None:
    with reach() as adb, phone.frozen(), pytest.raises(Timeout, match="'sh' had not finished"):
        sh(adb, "echo", timeout_s=1)


def test_a_phone_measures_with_its_python(phone: Android) -> None:
    model = target(phone, python=PYTHON)
    found = model.benchmark({"m": MODEL}, QUICK)["m"]
    assert (found.provenance, found.device.machine) == ("emulated", "aarch64")
    assert (found.device.os, found.device.cpu_model.partition(" (")[0]) == (
        "Android 11 (SDK 30)",
        "Edgesmith Lab Phone",
    )
    assert found.device.emulator.startswith("qemu-aarch64")
    assert (found.device.cores, found.device.governor, found.device.temperature_c) == (4, "schedutil", 38.5)
    assert (found.runtime, found.kernels) == ("ai_edge_litert", "xnnpack")


def test_the_battery_of_a_phone_is_read_around_a_program(phone: Android, reach: Reach) -> None:
    supply = phone.root / "sys/class/power_supply/battery"
    supply.mkdir(parents=True)
    figures = {"type": "Battery", "status": "Discharging", "current_now": "-500000", "voltage_now": "4000000"}
    for name, content in figures.items():
        (supply / name).write_text(f"{content}\n")
        (supply / name).chmod(0o666)
    draws = "echo -1250000 > /sys/class/power_supply/battery/current_now; sleep 5; echo 4000"
    with reach() as adb:
        found = battery_energy(adb, ["sh", "-c", draws], lambda done: (int(done.stdout), 1000.0), timeout_s=60)
    # Where a battery is, benchmarks take seconds more.
    shutil.rmtree(supply)
    assert found is not None
    assert found.idle_mw == pytest.approx(2000)
    assert found.energy_uj == pytest.approx(3 * 1000)


def test_a_phone_measures_and_checks_with_benchmark_model(phone: Android, tmp_path: Path) -> None:
    tool = tmp_path / "benchmark_model"
    tool.write_text(benchmark_model_fake.program(PYTHON))
    model = target(phone, benchmark_model=tool)
    found = model.benchmark({"m": MODEL}, QUICK)["m"]
    assert (found.provenance, found.runtime, found.runs) == ("emulated", "benchmark_model", 5)
    x = np.random.default_rng(3).integers(-128, 128, (1, 8, 8, 1), np.int8)
    parity = model.check(MODEL, Golden(x, (HostTarget(xnnpack=True)._outputs(MODEL, x, "ai_edge_litert"),)))
    assert (parity.ok, parity.exact) == (True, True)
