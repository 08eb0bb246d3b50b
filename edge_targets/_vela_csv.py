"""Reads the two tables that Vela writes, its summary and its layers, and believes them only where they agree."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping

from edge_targets._errors import DeviceError
from edge_targets._npu import NpuFigures

MOST_BYTES = 64 * 2**20
# Vela counts memories in these.
KIB = 1024
# Its tables tell times to some ten digits.
_CLOSE = 1e-6


def read_summary(text: str) -> NpuFigures:
    """The summary CSV.

    Raises:
        DeviceError: it is none, or its figures contradict each other.
    """
    rows = _rows(text, "summary")
    if len(rows) != 1:
        raise strange(f"its summary has {len(rows)} lines")
    [row] = rows
    clock_hz, cycles = _number(row, "core_clock"), _whole(row, "cycles_total")
    seconds = _number(row, "inference_time")
    if clock_hz <= 0 or not math.isclose(cycles / clock_hz, seconds, rel_tol=_CLOSE):
        raise strange(f"{cycles} cycles at {clock_hz:g} Hz are not {seconds:g} s")
    per_s = _number(row, "inferences_per_second") if cycles else None
    if per_s is not None and not math.isclose(per_s * seconds, 1, rel_tol=_CLOSE):
        raise strange(f"{per_s:g} inferences a second do not take {seconds:g} s each")
    return NpuFigures(
        accelerator=_text(row, "accelerator_configuration").lower().replace("_", "-"),
        system=_text(row, "system_config"),
        memory_mode=_text(row, "memory_mode"),
        clock_hz=clock_hz,
        cycles=cycles,
        inference_us=seconds * 1e6 if cycles else None,
        inferences_per_s=per_s,
        sram_bytes=_bytes(row, "sram_memory_used"),
        flash_bytes=_bytes(row, "on_chip_flash_memory_used") + _bytes(row, "off_chip_flash_memory_used"),
        dram_bytes=_bytes(row, "dram_memory_used"),
    )


def check_layers(text: str, summary: NpuFigures) -> None:
    """Hold the per-layer CSV against the summary: its layers' cycles must add up to the whole.

    Raises:
        DeviceError: it is none, or they do not.
    """
    rows = _layers(text)
    strangers = {row.get("Target") for row in rows} - {"NPU", "CPU"}
    if strangers:
        raise strange("a line of its table of layers is on neither NPU nor CPU")
    cycles = sum(_whole(row, "Op Cycles") for row in rows)
    if cycles != summary.cycles:
        raise strange(f"its layers take {cycles} cycles together, its summary tells of {summary.cycles}")


def strange(why: str) -> DeviceError:
    """What Vela says is not to be believed."""
    return DeviceError(
        f"What Vela says cannot be trusted: {why}.",
        expected="the tables of Vela 5",
        mend="pip install 'edgesmith[mcu]' brings the version that is known here",
    )


def _rows(text: str, what: str) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise strange(f"its {what} is no CSV") from error
    if not rows or any(None in row or None in row.values() for row in rows):
        raise strange(f"its {what} is empty, or has lines of several lengths")
    return rows


def _layers(text: str) -> list[dict[str, str]]:
    """The layers, without their names: those are any text, stand last, and are written without quotation marks."""
    head, *lines = text.split("\n")
    names = head.rstrip("\r").split(",")
    if names[-1] != "Name" or not any(lines):
        raise strange("its table of layers is empty, or does not end in names")
    # A line with fewer columns is the rest of a name that has a line break in it.
    cells = [line.split(",", len(names) - 1) for line in lines]
    return [dict(zip(names, one, strict=True)) for one in cells if len(one) == len(names)]


def _text(row: Mapping[str, str], key: str) -> str:
    value = row.get(key, "")
    if not value.isprintable() or not 0 < len(value) <= 100:
        raise strange(f"its summary has no '{key}'")
    return value


def _number(row: Mapping[str, str], key: str) -> float:
    try:
        value = float(row[key][:50])
    except (KeyError, ValueError) as error:
        raise strange(f"'{key}' is no number") from error
    if not 0 <= value < math.inf:
        raise strange(f"'{key}' is {value:g}")
    return value


def _whole(row: Mapping[str, str], key: str) -> int:
    value = _number(row, key)
    if value != int(value):
        raise strange(f"'{key}' is {value:g}, no whole number")
    return int(value)


def _bytes(row: Mapping[str, str], key: str) -> int:
    return round(_number(row, key) * KIB)
