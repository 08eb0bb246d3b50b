"""Joules an inference, out of folders that look like Linux's /sys, and with a model that draws what we say it draws."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_targets import Completed, _energy, _on_device
from edge_targets._energy import energy, meter_in
from tests.edge_targets.test_runner import DEVICE, LOAD, TIMED, benchmark, said

SOURCE = Path(_energy.__file__)
QUICK = {"idle_s": 0.1, "busy_s": 0.2}


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        root.joinpath(name).write_text(content + "\n")
    return root


def rapl(root: Path, number: str, name: str, energy_uj: int, most_uj: int = 262_143_328_850) -> Path:
    zone = root / "sys/class/powercap" / f"intel-rapl:{number}"
    return write(zone, name=name, energy_uj=str(energy_uj), max_energy_range_uj=str(most_uj))


def hwmon(root: Path, **files: str) -> Path:
    write(root / "sys/class/hwmon/hwmon0", name="cpu_thermal", temp1_input="48000")
    return write(root / "sys/class/hwmon/hwmon1", name="ina219", in0_input="12", in1_input="5000", **files)


def battery(root: Path, **files: str) -> Path:
    return write(root / "sys/class/power_supply/BAT0", type="Battery", **files)


def adding(path: Path, most_uj: int, gained_uj: int) -> Callable[[], None]:
    """A run that costs so many microjoules on a counter that begins again after `most_uj`."""

    def run() -> None:
        path.write_text(str((int(path.read_text()) + gained_uj) % most_uj))
        time.sleep(0.001)

    return run


class Drawing:
    """A model while whose runs a sensor tells this."""

    def __init__(self, path: Path, told: str) -> None:
        self.path, self.told = path, told
        self.ended: list[float] = []

    def __call__(self) -> None:
        self.path.write_text(self.told)
        time.sleep(0.001)
        self.ended.append(time.perf_counter())

    def uj(self, watts: float) -> Any:
        """What a run takes at this power. The first one is not counted."""
        return pytest.approx(watts * 1e6 * (self.ended[-1] - self.ended[0]) / (len(self.ended) - 1), rel=0.05)


def test_it_is_python_3_7_and_needs_nothing() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 7))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names


def test_counters_of_an_x86_processor(tmp_path: Path) -> None:
    package = rapl(tmp_path, "0", "package-0", 5_000_000)
    rapl(tmp_path, "0:0", "core", 1)
    rapl(tmp_path, "0:2", "dram", 7)
    rapl(tmp_path, "1", "psys", 9)
    found = energy(adding(package / "energy_uj", 2**40, 2000), str(tmp_path), **QUICK)
    assert found is not None
    assert (found["source"], found["idle_mw"]) == ("rapl", 0)
    assert found["energy_uj"] == pytest.approx(2000, rel=0.05)


def test_a_counter_that_begins_again(tmp_path: Path) -> None:
    package = rapl(tmp_path, "0", "package-0", 99_000, most_uj=100_000)
    found = energy(adding(package / "energy_uj", 100_000, 700), str(tmp_path), **QUICK)
    assert found is not None
    assert found["energy_uj"] == pytest.approx(700, rel=0.05)


def test_what_the_device_draws_at_rest_is_taken_off(tmp_path: Path) -> None:
    chip = hwmon(tmp_path, power1_input="2000000", curr1_input="400")
    runs = Drawing(chip / "power1_input", "5000000")
    found = energy(runs, str(tmp_path), **QUICK)
    assert found is not None
    assert (found["source"], found["idle_mw"]) == ("ina219", pytest.approx(2000))
    assert found["energy_uj"] == runs.uj(watts=3)


def test_current_and_voltage_of_a_sensor_that_tells_no_power(tmp_path: Path) -> None:
    chip = hwmon(tmp_path, curr1_input="400")
    runs = Drawing(chip / "curr1_input", "1000")
    found = energy(runs, str(tmp_path), **QUICK)
    assert found is not None
    assert found["idle_mw"] == pytest.approx(2000)
    assert found["energy_uj"] == runs.uj(watts=3)


def test_a_battery_whose_current_goes_out_as_negative(tmp_path: Path) -> None:
    supply = battery(tmp_path, status="Discharging", current_now="-500000", voltage_now="4000000")
    runs = Drawing(supply / "current_now", "-1250000")
    found = energy(runs, str(tmp_path), **QUICK)
    assert found is not None
    assert (found["source"], found["idle_mw"]) == ("battery", pytest.approx(2000))
    assert found["energy_uj"] == runs.uj(watts=3)


def test_work_that_does_not_show_has_no_figure(tmp_path: Path) -> None:
    hwmon(tmp_path, power1_input="2000000")
    found = energy(lambda: time.sleep(0.001), str(tmp_path), **QUICK)
    assert found == {"source": "ina219", "idle_mw": pytest.approx(2000), "energy_uj": None}


@pytest.mark.parametrize(
    "make",
    [
        lambda root: None,
        lambda root: rapl(root, "0", "package-0", 1).joinpath("energy_uj").unlink(),
        lambda root: rapl(root, "0", "psys", 1),
        lambda root: write(root / "sys/class/hwmon/hwmon0", name="k10temp", power1_input="5"),
        lambda root: hwmon(root, power1_input="N/A"),
        lambda root: hwmon(root),
        lambda root: battery(root, status="Charging", current_now="1", voltage_now="1"),
        lambda root: battery(root, status="Discharging"),
        lambda root: battery(root, status="Discharging", current_now="-500", voltage_now="4000000"),
        lambda root: battery(root, status="Discharging", power_now="\xff"),
    ],
)
def test_what_cannot_be_read_is_absent(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path)
    assert energy(lambda: None, str(tmp_path), **QUICK) is None


def test_a_battery_that_is_plugged_in_meanwhile_tells_nothing(tmp_path: Path) -> None:
    supply = battery(tmp_path, status="Discharging", power_now="2000000")
    assert energy(Drawing(supply / "status", "Charging"), str(tmp_path), **QUICK) is None


def test_a_counter_comes_before_a_battery(tmp_path: Path) -> None:
    battery(tmp_path, status="Discharging", power_now="1")
    rapl(tmp_path, "0", "package-0", 1)
    meter = meter_in(tmp_path)
    assert meter is not None
    assert meter.source == "rapl"


def test_the_runner_measures_it_around_real_inferences(tmp_path: Path, int8_model: Path) -> None:
    hwmon(tmp_path, power1_input="2000000")
    request = {
        "protocol": 1, "job": "benchmark", "models": [str(int8_model)], "runtime": "auto", "num_threads": 1,
        "warmup_runs": 1, "num_runs": 5, "most_runs": 5, "min_secs": 0, "max_secs": 1, "energy": str(SOURCE),
        "root": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, _on_device.__file__], input=json.dumps(request).encode(), capture_output=True, timeout=60,
        check=True,
    )  # fmt: skip
    [one] = json.loads(done.stdout)["models"]
    assert one["energy"]["source"] == "ina219"
    assert one["energy"]["idle_mw"] == pytest.approx(2000)


def told(energy: Any, **device: str) -> Completed:
    timings = {"kernels": "builtin", "latencies_ns": [3000, 1000, 2000], "energy": energy}
    return said({**TIMED, "device": {**DEVICE, **device}, "models": [timings]})


def test_what_a_device_tells_of_it() -> None:
    answer = {"source": "ina219", "idle_mw": 2000.0, "energy_uj": 12.5}
    found = benchmark(*[said(LOAD)] * 3, told(answer))
    assert (found.energy_uj, found.energy_source, found.idle_mw) == (12.5, "ina219", 2000)
    found = benchmark(*[said(LOAD)] * 3, told(None))
    assert (found.energy_uj, found.energy_source, found.idle_mw) == (None, "", None)
    # An emulator's /sys is that of the machine that it runs on.
    found = benchmark(*[said(LOAD)] * 3, told(answer, emulator="qemu-aarch64-static"))
    assert found.energy_uj is None
