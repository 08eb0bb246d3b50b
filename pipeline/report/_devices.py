"""The devices side by side: a row a setup, so that where a figure comes from always stands beside it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject
from pipeline.report._models import ARTIFACT, BASELINE
from pipeline.report._npu import memory
from pipeline.report._summary import Setup


@dataclass(frozen=True)
class DeviceRow:
    """A setup in words.

    Attributes:
        run: the run that measured there.
        setup: the setup.
        before, after: median latency of the baseline and of the artifact.
        change: how they compare; nothing where the latency means nothing.
        interval, p90, load, memory: of the artifact.
        after_us: what `after` is sorted by.
        unstable: why the figures do not hold still, or nothing.
    """

    run: str
    setup: Setup
    before: str
    after: str
    change: str
    interval: str
    p90: str
    load: str
    memory: str
    before_us: float | None
    after_us: float | None
    unstable: str

    @property
    def energy(self) -> str:
        """What the small model takes, where that was measured."""
        return energy(self.setup.of(ARTIFACT) or {})

    @property
    def origin(self) -> str:
        """The provenance, with what it means for the latency where that is not plain."""
        return _MEANING.get(self.setup.provenance, self.setup.provenance) + (
            f", unstable: {self.unstable}" if self.unstable else ""
        )


_MEANING = {"emulated": "emulated: latency means nothing", "simulated": "simulated: an estimate"}


def device_rows(document: JsonObject) -> list[DeviceRow]:
    """A row for each setup of a report, what means most first."""
    setups = sorted(summary.setups(document), key=lambda setup: not setup.timed)
    return [_row(fmt.printable(document["recipe"]), setup) for setup in setups]


def conditions(row: JsonObject) -> str:
    """What slows a processor, before and after the runs of a measurement: `clock 1,800 → 1,200 MHz, 51 → 80 °C`."""
    before, after = (row.get(name) or {} for name in ("before", "after"))
    changing = [
        f"{label}{_from_to(before[name], after[name])}{unit}"
        for name, label, unit in _CHANGING
        if before.get(name) is not None and after.get(name) is not None
    ]
    fixed = [f"{name} {after[name]}" for name in ("governor", "throttled") if after.get(name)]
    return fmt.printable(", ".join(changing + fixed))


def energy(row: JsonObject) -> str:
    """`12.5 µJ an inference (ina219)`: only where a source was read and the inferences stood out."""
    if not row.get("energy_uj"):
        return ""
    return fmt.printable(f"{fmt.number(row['energy_uj'])} µJ an inference ({row['energy_source']})")


def _from_to(before: float, after: float) -> str:
    pair = [fmt.number(round(value, 1)) for value in (before, after)]
    return pair[0] if pair[0] == pair[1] else " → ".join(pair)


_CHANGING = (("clock_mhz", "clock ", " MHz"), ("temperature_c", "", " °C"), ("load", "load ", ""))
"""Key, word before it, unit behind it."""


def _row(run: str, setup: Setup) -> DeviceRow:
    before_us, after_us = setup.median_us(BASELINE), setup.median_us(ARTIFACT)
    artifact = setup.of(ARTIFACT) or {}
    return DeviceRow(
        run=run,
        setup=setup,
        before=fmt.latency(before_us),
        after=fmt.latency(after_us),
        change=fmt.factor(before_us, after_us, "faster", "slower") if setup.timed else "",
        interval=fmt.interval(artifact.get("median_ci_us")),
        p90=fmt.latency(artifact.get("p90_us")),
        load=fmt.latency(artifact.get("load_us")),
        memory=memory(artifact),
        before_us=before_us,
        after_us=after_us,
        unstable=next((fmt.printable(row["unstable"]) for row in setup.rows if row.get("unstable")), ""),
    )
