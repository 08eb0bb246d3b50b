"""Runs on the device, beside `_on_device.py`: how much energy an inference takes, where a power source can be read.

    rapl     energy counters of x86 processors (/sys/class/powercap/intel-rapl:N, Linux's powercap)
    ina2xx   current sensors of the INA219 family behind a board (/sys/class/hwmon, Linux's hwmon)
    battery  what a battery gives while nothing charges it (/sys/class/power_supply)

The device's draw at rest is measured just before and taken off: what is told is what the inferences add. Nothing is
estimated: without a source, or where the inferences do not stand out from the rest, there is no figure. It needs
Python 3.7 and nothing else.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

IDLE_S, BUSY_S = 1.0, 2.0

# Sensors average over milliseconds: to ask more often gives the same figure again.
SAMPLE_S = 0.02

LEAST_UA = 10_000

# psys is the whole board and has the packages in it.
RAPL_ZONES = ("package-", "dram")
SENSORS = ("ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina2xx", "ina260", "ina238")


class Counter:
    """RAPL: microjoules since some time; they begin again at 0 after each zone's range."""

    source = "rapl"

    def __init__(self, zones: list[Path]) -> None:
        self.zones = zones
        self.total_uj = 0.0
        self.last = [self.read(zone / "energy_uj") for zone in zones]

    @staticmethod
    def read(path: Path) -> int:
        return int(path.read_text())

    def sample(self) -> None:
        """Often enough that no zone begins again twice; that takes minutes at least."""
        for place, zone in enumerate(self.zones):
            now = self.read(zone / "energy_uj")
            gained = now - self.last[place]
            self.total_uj += gained if gained >= 0 else gained + self.read(zone / "max_energy_range_uj")
            self.last[place] = now

    def start(self) -> None:
        self.sample()
        self.total_uj = 0.0

    def power_w(self, elapsed_s: float) -> float:
        """The mean since the start."""
        self.sample()
        return self.total_uj / 1e6 / elapsed_s


class Sensor:
    """A sensor of power: the mean of what it told since the start."""

    def __init__(self, source: str, watts: Callable[[], float]) -> None:
        self.source = source
        self.watts = watts
        self.told_w: list[float] = []

    def sample(self) -> None:
        self.told_w.append(self.watts())

    def start(self) -> None:
        self.told_w = []

    def power_w(self, elapsed_s: float) -> float:
        self.sample()
        return sum(self.told_w) / len(self.told_w)


def energy(invoke: Callable[[], Any], root: str = "/", idle_s: float = IDLE_S, busy_s: float = BUSY_S) -> Json | None:
    """Energy of an inference.

    Args:
        invoke: runs one.
        root: where the system's /sys is; another folder in tests.
        idle_s, busy_s: how long to measure at rest and at work.

    Returns:
        "source"; "idle_mw"; "energy_uj", or None where the work does not show. None where no source can be read.
    """
    try:
        meter = meter_in(Path(root))
        if meter is None:
            return None
        idle_w = resting(meter, idle_s)
        work_w, elapsed_s, runs = working(meter, invoke, busy_s)
    # A sensor that is there and cannot be read (RAPL is root's), or that tells no number, is none.
    except (OSError, ValueError):
        return None
    added_uj = (work_w - idle_w) * elapsed_s / runs * 1e6
    return {"source": meter.source, "idle_mw": idle_w * 1000, "energy_uj": added_uj if added_uj > 0 else None}


def resting(meter: Counter | Sensor, seconds: float) -> float:
    """The mean power while nothing is asked of the device, in watts."""
    meter.start()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        time.sleep(SAMPLE_S)
        meter.sample()
    return meter.power_w(time.perf_counter() - begin)


def working(meter: Counter | Sensor, invoke: Callable[[], Any], seconds: float) -> tuple[float, float, int]:
    """The mean power over inferences one after another, in watts; the seconds they took, and how many they were."""
    invoke()
    meter.start()
    begin = sampled = time.perf_counter()
    runs = 0
    while True:
        invoke()
        runs += 1
        now = time.perf_counter()
        if now - begin >= seconds:
            break
        if now - sampled >= SAMPLE_S:
            meter.sample()
            sampled = now
    return meter.power_w(now - begin), now - begin, runs


def meter_in(root: Path) -> Counter | Sensor | None:
    """The source that stands closest to the processor."""
    zones = [
        zone
        for zone in sorted(root.glob("sys/class/powercap/intel-rapl:*"))
        if text(zone / "name").startswith(RAPL_ZONES) and text(zone / "energy_uj").isdigit()
    ]
    if zones:
        return Counter(zones)
    for chip in sorted(root.glob("sys/class/hwmon/hwmon*")):
        if text(chip / "name") in SENSORS:
            return Sensor(text(chip / "name"), functools.partial(sensor_w, chip))
    for supply in sorted(root.glob("sys/class/power_supply/*")):
        if text(supply / "type") == "Battery" and text(supply / "status") == "Discharging":
            return Sensor("battery", functools.partial(battery_w, supply))
    return None


def sensor_w(chip: Path) -> float:
    """hwmon counts microwatts, milliamperes and millivolts; in1 is the bus, in0 the shunt (Linux's ina2xx driver)."""
    if (chip / "power1_input").exists():
        return int((chip / "power1_input").read_text()) / 1e6
    return int((chip / "curr1_input").read_text()) * int((chip / "in1_input").read_text()) / 1e6


def battery_w(supply: Path) -> float:
    """Microwatts, or microamperes (some count those that go out as negative) and microvolts."""
    if text(supply / "status") != "Discharging":
        raise ValueError("it is being charged")
    if (supply / "power_now").exists():
        return abs(int((supply / "power_now").read_text())) / 1e6
    current_ua = abs(int((supply / "current_now").read_text()))
    # Some phones count milliamperes here: a thousandth of the truth, which nothing that runs Linux gets by with.
    if current_ua < LEAST_UA:
        raise ValueError("it counts no microamperes")
    return current_ua * int((supply / "voltage_now").read_text()) / 1e12


def text(path: Path) -> str:
    """A file's one line, or ""."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
