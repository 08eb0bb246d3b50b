"""The nouns of a measurement: how it is asked for, where it was made, what it found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_targets._errors import TargetError, Unsupported

if TYPE_CHECKING:
    from edge_targets._benchmark_profile import OperatorTime
    from edge_targets._npu import NpuEstimate
    from edge_targets._roofline import Roofline

Provenance = Literal["device", "host", "emulated", "simulated"]
# From what means most to what means least.
PROVENANCES: tuple[Provenance, ...] = ("device", "host", "emulated", "simulated")
# Those whose latencies mean something for the target.
TIMED: tuple[Provenance, ...] = ("device", "host")
# The keys of a measurement that must be alike before two latencies say anything about two models.
SETUP = ("provenance", "runtime", "runtime_version", "kernels", "delegate", "threads")
Runtime = Literal["auto", "ai_edge_litert", "tflite_runtime", "tensorflow"]
Kernels = Literal["auto", "xnnpack", "builtin", "reference"]


def weaker(*found: Provenance) -> Provenance:
    """The provenance that means least: a probe can take a claim down, and nothing lifts it up."""
    return max(found, key=PROVENANCES.index)


@dataclass(frozen=True)
class DeviceInfo:
    """The facts about a device that a latency depends on. Its host name is nobody's business and is not here.

    Attributes:
        machine: processor architecture, `aarch64`.
        cpu_model: the processor as it names itself, or "" where it does not.
        cores: how many cores the process may use.
        memory_bytes: physical memory.
        os: the system and its version.
        python: version of the Python that ran the interpreter.
        emulator: the program that stands in for the processor, `qemu-aarch64-static`, or "" where none was found.
        governor: what sets the processor's clock, `performance`; "" where the system does not tell.
        temperature_c: of the warmest zone, in degrees Celsius, or None.
        power: what may slow it: battery, throttling; "" where the system does not tell.
    """

    machine: str
    cpu_model: str
    cores: int
    memory_bytes: int
    os: str
    python: str
    emulator: str = ""
    governor: str = ""
    temperature_c: float | None = None
    power: str = ""


@dataclass(frozen=True)
class BenchmarkPlan:
    """How to measure; the names are those of `benchmark_model`.

    The warm-up goes on beyond `warmup_runs` until the runs get no faster, up to ten times as many. Runs go on until
    each model has `num_runs` samples, `min_secs` a model have passed and each median is known to within `goal`, but
    never for longer than `max_secs` a model: a slow model then has fewer samples, and its measurement says how many. A
    model of a microsecond ends at 50,000 samples.

    Attributes:
        num_threads: threads of the interpreter.
        warmup_runs: runs a model that are not counted; they too end after `max_secs` a model.
        num_runs: least number of samples a model.
        min_secs: least seconds a model.
        max_secs: most seconds a model.
        runtime: which interpreter; "auto" takes the first of ai_edge_litert, tflite_runtime, tensorflow.
        goal: how far the ends of the median's interval may be from it, as a share.
        cold_starts: fresh processes a model, whose median is its cold load and memory; without any, neither is told.
        profile: also measure what each operator takes, and what the device can do at best.
        energy: also measure joules, where a power source can be read: some seconds a model there, nothing elsewhere.
    """

    num_threads: int = 1
    warmup_runs: int = 20
    num_runs: int = 200
    min_secs: float = 0.5
    max_secs: float = 10.0
    runtime: Runtime = "auto"
    goal: float = 0.02
    cold_starts: int = 3
    profile: bool = False
    energy: bool = True

    def __post_init__(self) -> None:
        right = {
            "num_threads": self.num_threads >= 1,
            "warmup_runs": self.warmup_runs >= 0,
            "num_runs": self.num_runs >= 1,
            "min_secs": 0 <= self.min_secs < math.inf,
            "max_secs": max(self.min_secs, 0.001) <= self.max_secs < math.inf,
            "goal": 0 < self.goal < math.inf,
            "cold_starts": 0 <= self.cold_starts <= 100,
        }
        for name in (name for name, holds in right.items() if not holds):
            raise TargetError(
                f"A benchmark cannot have {name} = {getattr(self, name)}.",
                expected="num_threads and num_runs from 1, warmup_runs and min_secs from 0, max_secs from min_secs, "
                "goal above 0, cold_starts from 0 to 100",
            )


@dataclass(frozen=True)
class Conditions:
    """What a latency depends on and changes from minute to minute; None or "" where the system does not tell.

    Attributes:
        clock_mhz: mean clock of the processors.
        temperature_c: of the warmest zone, in degrees Celsius.
        governor: what sets the clock.
        load: processes that wanted to run over the last minute, on average.
        throttled: flags of a Raspberry Pi's firmware, in hexadecimal digits.
    """

    clock_mhz: float | None
    temperature_c: float | None
    governor: str
    load: float | None
    throttled: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One model's latency on one target, with all that the figure depends on.

    A percentile is None where the samples are too few for its confidence interval to end inside them, or where the
    tool that measured does not tell it.
    The intervals hold at 95 % for independent samples; a processor that changes its clock makes them optimistic.

    Attributes:
        target: name of the target.
        model: name that the model was given in the run.
        provenance: what stands behind the figure: real hardware, this machine, an emulator or a calculation.
        runtime, runtime_version: the interpreter.
        kernels: `xnnpack` where its delegate runs all of the graph, `xnnpack+builtin` where it runs part of it,
            `builtin` where the interpreter's own run it all, `reference` where those are its plain ones, `unknown`
            where the interpreter does not tell.
        threads: threads of the interpreter.
        delegate: the delegate that was asked for, or None.
        warmup_runs, runs: how many runs were not counted, and how many were.
        latencies_us: each counted run, in order; () where the tool that measured gives statistics only.
        median_us, p90_us, p99_us: percentiles by nearest rank (the median of an even count is the middle pair's mean).
        median_ci_us, p90_ci_us, p99_ci_us: their 95 % confidence intervals, from order statistics.
        mean_us, min_us: of the counted runs; None where a calculation covers a part of the model only.
        peak_rss_bytes: what the process gained in resident memory from just before it loaded the model to the
            highest point until its first run ended. The interpreter's own code, as far as it is touched for the first
            time, is in it: some 3 MB. The median of fresh processes; None where the system does not tell.
        load_us: cold load: time to build the interpreter and allocate its tensors in a fresh process. The file is
            in the page cache by then. The median of fresh processes.
        first_us: the first run after that, likewise.
        device: where it ran.
        max_us, std_us, p5_us, p95_us: where a tool tells them itself.
        profile: what each operator takes of one inference, in order; None where that was not asked for.
        profile_method: what gave it: `litert` (its own profiler), `benchmark_model`, or `cut` (each operator alone).
        profile_covered: what the operators take together, as a share of the median; above 1 for operators that take
            longer alone than together.
        no_profile: why there is none though it was asked for.
        roofline: what the device can do at best.
        energy_uj: microjoules of one inference beyond what the device draws when it idles, or None.
        energy_source: what told it, or "" where nothing can be read.
        idle_mw: what the device drew just before, at rest.
        unstable: why the figures would be others at another time; "" where nothing speaks for that.
        before, after: the conditions around the runs; None where they were not looked at.
        arena_bytes: memory for all its tensors on a microcontroller, as its interpreter allocates it; None elsewhere.
        npu: what a compiler calculates for neural processors, the one that `median_us` is of first.
    """

    target: str
    model: str
    provenance: Provenance
    runtime: str
    runtime_version: str
    kernels: str
    threads: int
    delegate: str | None = None
    warmup_runs: int = 0
    runs: int = 0
    latencies_us: tuple[float, ...] = ()
    median_us: float | None = None
    median_ci_us: tuple[float, float] | None = None
    p90_us: float | None = None
    p90_ci_us: tuple[float, float] | None = None
    p99_us: float | None = None
    p99_ci_us: tuple[float, float] | None = None
    mean_us: float | None = None
    min_us: float | None = None
    peak_rss_bytes: int | None = None
    load_us: float | None = None
    first_us: float | None = None
    device: DeviceInfo
    max_us: float | None = None
    std_us: float | None = None
    p5_us: float | None = None
    p95_us: float | None = None
    profile: tuple[OperatorTime, ...] | None = None
    profile_method: str = ""
    profile_covered: float | None = None
    no_profile: str = ""
    roofline: Roofline | None = None
    energy_uj: float | None = None
    energy_source: str = ""
    idle_mw: float | None = None
    unstable: str = ""
    before: Conditions | None = None
    after: Conditions | None = None
    arena_bytes: int | None = None
    npu: tuple[NpuEstimate, ...] = ()

    def must_have_median(self) -> float:
        """The median, in µs, for what cannot do without it.

        Raises:
            Unsupported: what measured does not tell it.
        """
        if self.median_us is None:
            raise Unsupported(
                f"On '{self.target}', {self.runtime} gives no median.",
                expected="a runner that tells the median",
                mend="take a newer version of it, or the Python runner",
            )
        return self.median_us

    def must_have_latencies(self) -> tuple[float, ...]:
        """Each counted run, in µs, for what cannot do without them.

        Raises:
            Unsupported: what measured gives statistics only.
        """
        if not self.latencies_us:
            raise Unsupported(
                f"On '{self.target}', {self.runtime} gives statistics, and no single latencies.",
                expected="a runner that gives each run's latency",
                mend="take the Python runner",
            )
        return self.latencies_us

    def to_json(self, *, latencies: bool = False) -> dict[str, Any]:
        """The measurement as `report.json` holds it.

        Args:
            latencies: also give every single latency.
        """
        facts = asdict(self)
        if not latencies:
            del facts["latencies_us"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}
