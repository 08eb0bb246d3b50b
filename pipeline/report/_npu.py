"""Microcontrollers in words: the memory that a model takes there, and what Vela calculates for each Ethos-U."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import _format as fmt
from pipeline.report._json import JsonObject

HEADINGS = ("Model", "Accelerator", "Cycles", "Time", "A second", "SRAM", "Flash", "DRAM", "On the CPU")


@dataclass(frozen=True)
class NpuRow:
    """One model on one accelerator.

    Attributes:
        model: what the measurement calls it.
        accelerator: with the clock that times are told at.
        figures: cycles, time, inferences a second, SRAM, flash, DRAM.
        left: how many operators stay on the processor; their time is in none of the figures.
        kinds: which kinds those are.
    """

    model: str
    accelerator: str
    figures: tuple[str, ...]
    left: str
    kinds: str

    @property
    def on_cpu(self) -> str:
        """How many stay on the processor, and which."""
        return f"{self.left}: {self.kinds}" if self.kinds else self.left

    @property
    def cells(self) -> tuple[str, ...]:
        """All of it, in the order of `HEADINGS`."""
        return (self.model, self.accelerator, *self.figures, self.on_cpu)


def npu_rows(measurements: tuple[JsonObject, ...]) -> list[NpuRow]:
    """A row for each accelerator of each measurement; none of measurements that have no such figures."""
    return [_row(measured, found) for measured in measurements for found in measured.get("npu") or ()]


def memory(measurement: JsonObject) -> str:
    """What a model takes in memory: of the process where it ran, or of a microcontroller's arena."""
    if measurement.get("peak_rss_bytes") is None and measurement.get("arena_bytes") is not None:
        return f"{fmt.size(measurement['arena_bytes'])} arena"
    return fmt.size(measurement.get("peak_rss_bytes"))


def _row(measured: JsonObject, found: JsonObject) -> NpuRow:
    runs = bool(found["cycles"])
    figures = (
        fmt.number(found["cycles"]) if runs else fmt.DASH,
        fmt.latency(found["inference_us"]),
        fmt.number(round(found["inferences_per_s"])) if runs and found["inferences_per_s"] else fmt.DASH,
        *(fmt.size(found[name]) for name in ("sram_bytes", "flash_bytes", "dram_bytes")),
    )
    return NpuRow(
        fmt.printable(measured["model"]),
        fmt.printable(f"{found['accelerator']} at {found['clock_hz'] / 1e6:,.0f} MHz"),
        figures,
        fmt.number(found["on_cpu"]),
        fmt.printable(", ".join(found["cpu_kinds"])),
    )
