"""What a Raspberry Pi says of itself: its board, and what slows it. Asked by a shell script, which changes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_targets._answer import printable

if TYPE_CHECKING:
    from edge_targets._measurement import DeviceInfo
    from edge_targets._transport import Transport

PROBE_TIMEOUT_S = 60.0
# Whatever is missing there is left out. The firmware tells of throttling by its tool, or by a file.
PROBE = """
say() { echo "$1=$2"; }
say board "$(tr -d '\\000' < /proc/device-tree/model)"
say governor "$(cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor | sort -u | tr '\\n' ' ')"
say millicelsius "$(cat /sys/class/thermal/thermal_zone*/temp | sort -n | tail -n 1)"
say throttled "$(vcgencmd get_throttled || cat /sys/devices/platform/soc/soc:firmware/get_throttled)"
""".strip()
# Bits of get_throttled; 16 higher: has been so since the start. As in the Raspberry Pi's documentation of vcgencmd.
FLAGS = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
SINCE_START = 16
HOTTEST_C = 150.0


@dataclass(frozen=True)
class Board:
    """What a board is, and how it fares at the moment.

    Attributes:
        model: the board's name, "" where it does not tell.
        governor: what sets the clock, "" likewise.
        temperature_c: of the warmest zone, or None.
        power: what slows it, in words; "" where it does not tell.
    """

    model: str
    governor: str
    temperature_c: float | None
    power: str

    def completing(self, device: DeviceInfo) -> DeviceInfo:
        """The facts that the runner found, with these."""
        model = device.cpu_model
        if self.model and self.model not in model:
            model = f"{self.model} ({model})" if model else self.model
        return replace(
            device,
            cpu_model=model,
            governor=self.governor or device.governor,
            temperature_c=device.temperature_c if self.temperature_c is None else self.temperature_c,
            power=self.power or device.power,
        )


def probe(transport: Transport) -> Board:
    """Ask the board. What is odd is left out: nothing of it is worth a failure.

    Raises:
        DeviceError: the device is gone, or has no shell.
    """
    done = transport.run(["sh", "-c", PROBE], timeout_s=PROBE_TIMEOUT_S)
    lines = (line.partition("=") for line in done.stdout[:10_000].decode("utf-8", "replace").splitlines())
    said = {key: value.strip() for key, _, value in lines}
    return Board(
        model=printable(said.get("board", ""), 100),
        governor=printable(said.get("governor", ""), 100),
        temperature_c=_temperature_c(said.get("millicelsius", "")),
        power=_power(said.get("throttled", "")),
    )


def _temperature_c(millicelsius: str) -> float | None:
    if not re.fullmatch(r"-?\d{1,6}", millicelsius):
        return None
    celsius = int(millicelsius) / 1000
    return celsius if abs(celsius) <= HOTTEST_C else None


def _power(throttled: str) -> str:
    """`throttled=0x50005` of the tool, or `50005` of the file, in words."""
    match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", throttled)
    if not match:
        return ""
    bits = int(match[1], 16)
    now = [word for place, word in enumerate(FLAGS) if bits >> place & 1]
    before = [word for place, word in enumerate(FLAGS) if bits >> place + SINCE_START & 1 and word not in now]
    told = [f"now: {', '.join(now)}"] * bool(now) + [f"since it was started: {', '.join(before)}"] * bool(before)
    return "; ".join(told) or "not throttled"
