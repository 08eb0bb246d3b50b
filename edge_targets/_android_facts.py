"""What an Android device is, asked by a shell script: no Python is needed there, no root, and nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edge_targets._answer import printable
from edge_targets._measurement import DeviceInfo

# Each part after a line of its own; whatever is missing there is left out. QEMU's user mode disguises itself in
# /proc/self, and only there.
PROBE = """
part() { echo; echo "== $1"; }
part properties; getprop
part machine; uname -m
part emulator; readlink /proc/thread-self/exe
part cores; cat /sys/devices/system/cpu/present
part cpuinfo; cat /proc/cpuinfo
part meminfo; cat /proc/meminfo
part governor; cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
part zones; cat /sys/class/thermal/thermal_zone*/temp
part battery; dumpsys battery || cat /sys/class/power_supply/battery/uevent
part thermal; dumpsys thermalservice | head -n 5
true
"""
MOST_CORES = 4096
HOTTEST_C = 150.0
MACHINES = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv7l", "x86_64": "x86_64", "x86": "i686"}
# What an emulator's image calls its board.
EMULATED_BOARDS = ("goldfish", "ranchu")

Parts = Mapping[str, str]


def device(said: bytes, serial: str) -> DeviceInfo:
    """The facts, from what the script printed. What is odd is left out: nothing here is worth a failure.

    Args:
        said: what the script printed.
        serial: adb's name of the device; that of an emulator tells it.
    """
    parts = _parts(said)
    properties = dict(re.findall(r"^\[([\w.]{1,100})\]: \[(.{0,200})\]$", parts.get("properties", ""), re.MULTILINE))
    return DeviceInfo(
        machine=MACHINES.get(properties.get("ro.product.cpu.abi", ""), _line(parts, "machine")),
        cpu_model=_model(properties, parts),
        cores=_cores(parts),
        memory_bytes=_number(r"^MemTotal:\s+(\d{1,12}) kB", parts.get("meminfo", "")) * 1024,
        os=_os(properties),
        python="",
        emulator=_emulator(properties, parts, serial),
        governor=_line(parts, "governor"),
        temperature_c=_temperature_c(parts),
        power=_power(parts),
    )


def _parts(said: bytes) -> Parts:
    pieces = re.split(r"^== (\w{1,20})$", said.decode("utf-8", "replace").replace("\r\n", "\n"), flags=re.MULTILINE)
    return {name: content.strip("\n") for name, content in zip(pieces[1::2], pieces[2::2], strict=True)}


def _model(properties: Mapping[str, str], parts: Parts) -> str:
    """`Google Pixel 4 (SM8150)`: the phone, and what drives it where that is told."""
    phone = " ".join(properties.get(f"ro.product.{name}", "") for name in ("manufacturer", "model")).strip()
    hardware = re.search(r"^(?:Hardware|model name)\s*: (.{1,100})$", parts.get("cpuinfo", ""), re.MULTILINE)
    chip = properties.get("ro.soc.model") or (hardware.group(1) if hardware else properties.get("ro.hardware", ""))
    return printable(f"{phone} ({chip})" if phone and chip else phone or chip, 200)


def _os(properties: Mapping[str, str]) -> str:
    release, sdk = (properties.get(f"ro.build.version.{name}", "") for name in ("release", "sdk"))
    return printable(f"Android {release} (SDK {sdk})" if release and sdk else "Android", 200)


def _emulator(properties: Mapping[str, str], parts: Parts, serial: str) -> str:
    """What tells that this is no real device; "" where nothing does."""
    program = _line(parts, "emulator").rpartition("/")[2]
    if program.startswith("qemu-"):
        return program
    told = [f"{name}=1" for name in ("ro.kernel.qemu", "ro.boot.qemu") if properties.get(name) == "1"]
    board = properties.get("ro.hardware", "")
    told += [f"ro.hardware={board}"] if board in EMULATED_BOARDS else []
    told += [f"serial {serial}"] if serial.startswith("emulator-") else []
    return f"Android emulator ({told[0]})" if told else ""


def _cores(parts: Parts) -> int:
    """`0-3,6` are five; else as many as /proc/cpuinfo lists."""
    ranges = re.findall(r"(\d{1,4})(?:-(\d{1,4}))?", _line(parts, "cores"))
    present = sum(int(last or first) - int(first) + 1 for first, last in ranges)
    listed = len(re.findall(r"^processor\s*:", parts.get("cpuinfo", ""), re.MULTILINE))
    return present if 0 < present <= MOST_CORES else min(listed, MOST_CORES)


def _temperature_c(parts: Parts) -> float | None:
    """Of the warmest zone: in thousandths of a degree, from old kernels in degrees, and nonsense from idle sensors."""
    told = [float(found) for found in re.findall(r"^(\d{1,6})$", parts.get("zones", ""), re.MULTILINE)]
    degrees = [value / 1000 if value > HOTTEST_C else value for value in told]
    sane = [value for value in degrees if 0 < value < HOTTEST_C]
    return max(sane, default=None)


def _power(parts: Parts) -> str:
    """`battery 80 %, throttled`: what dumpsys or the kernel tells."""
    battery = parts.get("battery", "")
    level = re.search(r"^\s*(?:level: |POWER_SUPPLY_CAPACITY=)(\d{1,3})$", battery, re.MULTILINE)
    plugged = re.search(
        r"^\s*(?:(?:AC|USB) powered: true|POWER_SUPPLY_STATUS=(?:Charging|Full))$", battery, re.MULTILINE
    )
    told = [f"battery {level.group(1)} %{', plugged in' if plugged else ''}"] if level else []
    throttled = _number(r"^\s*Thermal Status: (\d)$", parts.get("thermal", ""))
    return ", ".join([*told, f"throttled (thermal status {throttled})"] if throttled else told)


def _line(parts: Parts, name: str) -> str:
    return printable(parts.get(name, "").partition("\n")[0], 100)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) if found else 0
