"""What a compiler calculates of one model on one neural processor: the noun `NpuEstimate`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NpuFigures:
    """The figures of a compiler's own model of one neural processor: a calculation, never a measurement.

    Attributes:
        accelerator: `ethos-u55-128`.
        system: the memories around it, as the compiler calls them.
        memory_mode: which of them holds what.
        clock_hz: the clock that times are told at.
        cycles: what its part of one inference takes; 0 where it has no part.
        inference_us: the same at that clock; None where it has no part.
        inferences_per_s: how many such a second has; None where it has no part.
        sram_bytes, flash_bytes, dram_bytes: what the compiled model takes of each.
    """

    accelerator: str
    system: str
    memory_mode: str
    clock_hz: float
    cycles: int
    inference_us: float | None
    inferences_per_s: float | None
    sram_bytes: int
    flash_bytes: int
    dram_bytes: int


@dataclass(frozen=True)
class NpuEstimate(NpuFigures):
    """The figures, and which part of the model they are of.

    Attributes:
        on_npu, on_cpu: the model's operators here and there.
        cpu_kinds: which kinds stay on the processor; their time is in no figure here.
    """

    on_npu: int
    on_cpu: int
    cpu_kinds: tuple[str, ...] = ()
