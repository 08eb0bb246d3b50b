"""An INA219 behind a board, read there over ssh by what the runner pushes; an emulated board's runner believes none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_targets import _energy
from tests.lab.lab import Lab
from tests.lab.pi import Pi
from tests.lab.test_raspberry_pi import MODEL, QUICK, ssh, target

SENSOR = "sys/class/hwmon/hwmon3"
DRAWING = f"""
import json, runpy, sys, time
def invoke():
    with open("/{SENSOR}/power1_input", "w") as sensor:
        sensor.write("5000000")
    time.sleep(0.01)
print(json.dumps(runpy.run_path(sys.argv[1])["energy"](invoke, idle_s=0.3, busy_s=0.5)))
"""


@pytest.fixture
def pi(lab: Lab) -> Iterator[Pi]:
    """A board with a sensor, which is gone afterwards: where there is one, benchmarks take seconds more."""
    [pi, *_] = lab.pis
    chip = pi.root / SENSOR
    chip.mkdir(parents=True)
    for name, content in {"name": "ina219", "in1_input": "5000", "power1_input": "2000000"}.items():
        (chip / name).write_text(f"{content}\n")
        (chip / name).chmod(0o666)
    yield pi
    shutil.rmtree(chip)


def test_an_ina219_of_a_board_is_read_over_ssh(pi: Pi) -> None:
    with ssh(pi) as transport:
        script = transport.push(Path(_energy.__file__), "energy.py")
        done = transport.run(["python3", "-c", DRAWING, script], timeout_s=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["source"] == "ina219"
    assert found["idle_mw"] == pytest.approx(2000)
    # 3 W for what a run takes, which is a hundredth of a second and more.
    assert found["energy_uj"] > 3 * 10_000
    # The same sensor through a benchmark: the board is emulated, and its /sys is no board's.
    measured = target(pi).benchmark({"m": MODEL}, QUICK)["m"]
    assert (measured.energy_uj, measured.energy_source) == (None, "")
