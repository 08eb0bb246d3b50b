"""The nouns of devices: `Target`, what it can do, what it is, what it measured, and every error it can raise.

    TargetError              exit 3
    ├── Unsupported                    this target does not do what it was asked for
    ├── DeviceError                    the device fell silent, or answered what cannot be trusted
    │   ├── Timeout                    it took longer than it was given; what ran there was ended
    │   └── Disagreement               it gives other outputs than the reference: none of its figures means anything
    ├── ToolMissing                    a program or package that this target needs is not there
    ├── UnusableModel                  a model that cannot be read or loaded, or that crashes the interpreter
    ├── WrongInput                     examples of another shape or type than the model takes
    └── WrongAddress                   exit 2: a text or a setting that names no device of this kind

The tree has the same shape as `pipeline/errors.py` and shares nothing with it: targets know nothing of recipes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from edge_targets._noise import Noise, TensorPair
from edge_targets._parity import compare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_targets._benchmark_profile import OperatorTime
    from edge_targets._golden import Golden
    from edge_targets._npu import NpuEstimate
    from edge_targets._parity import Deployment, Outputs, Parity
    from edge_targets._roofline import Roofline

Provenance = Literal["device", "host", "emulated", "simulated"]
# From what means most to what means least.
PROVENANCES: tuple[Provenance, ...] = ("device", "host", "emulated", "simulated")
Runtime = Literal["auto", "ai_edge_litert", "tflite_runtime", "tensorflow"]
Kernels = Literal["auto", "xnnpack", "builtin", "reference"]


class TargetError(Exception):
    """The root: a sentence on what happened, and if it helps, what was expected and how to mend it.

    Args:
        what: what happened, in one sentence that names the thing.
        expected: what would have been right.
        mend: what the user can do now.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, expected: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.mend = mend

    def __str__(self) -> str:
        lines = [self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.mend:
            lines.append(f"  to mend it: {self.mend}")
        return "\n".join(lines)


class Unsupported(TargetError):
    """This target does not do what it was asked for."""


class DeviceError(TargetError):
    """The device fell silent, or answered what cannot be trusted."""


class Timeout(DeviceError):
    """The device took longer than it was given; what ran there was ended."""


class Disagreement(DeviceError):
    """The device gives other outputs than the reference: it, or what runs there, is broken.

    Where a device is used (`benchmark`, `deploy`) it is a fault of the device, exit 3; in a report, a failed check.

    Args:
        target: the device's label.
        parity: what was found.
    """

    def __init__(self, target: str, parity: Parity) -> None:
        layer = f" The first layer that differs is '{parity.first_layer}'." if parity.first_layer else ""
        super().__init__(
            f"'{target}' gives other outputs than the reference: {parity.why}.{layer}",
            expected="the same outputs for the same inputs",
            mend="update the interpreter there, or the emulator; figures of this device would mean nothing",
        )
        self.parity = parity


class ToolMissing(TargetError):
    """A program or package that this target needs is not there."""


class UnusableModel(TargetError):
    """A model that cannot be read or loaded, or that crashes the interpreter."""


class WrongInput(TargetError):
    """Examples of another shape or type than the model takes."""


class WrongAddress(TargetError):
    """A text or a setting that names no device of this kind."""

    exit_code = 2


def weaker(*found: Provenance) -> Provenance:
    """The provenance that means least: a probe can take a claim down, and nothing lifts it up."""
    return max(found, key=PROVENANCES.index)


@dataclass(frozen=True)
class Capabilities:
    """What a target can do. The public verbs of `Target` check it before any work.

    Attributes:
        benchmark: it measures latency.
        evaluate: it gives back the model's outputs.
        deploy: it keeps a model for use after we are gone.
        delegates: names of the delegates that it can hand operators to.
    """

    benchmark: bool = False
    evaluate: bool = False
    deploy: bool = False
    delegates: tuple[str, ...] = ()


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
        energy: also measure joules, where a power source can be read: three seconds a model there, nothing elsewhere.
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


@dataclass(frozen=True)
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
    delegate: str | None
    warmup_runs: int
    runs: int
    latencies_us: tuple[float, ...]
    median_us: float | None
    median_ci_us: tuple[float, float] | None
    p90_us: float | None
    p90_ci_us: tuple[float, float] | None
    p99_us: float | None
    p99_ci_us: tuple[float, float] | None
    mean_us: float | None
    min_us: float | None
    peak_rss_bytes: int | None
    load_us: float | None
    first_us: float | None
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


class Target(ABC):
    """A kind of device. One file a target; the file's name is the target's.

    The public verbs check what was declared and what was given, call one private hook each, and let nothing but
    `TargetError` out. A new target writes the hooks of the capabilities that it declares.

    Its settings are the keyword-only parameters of its `__init__`: annotated, each with a default. Recipes, profiles
    and the command line check what they are given against these annotations.

    Class attributes:
        name: the file's name.
        provenance: what stands behind its figures, at best: what a probe finds can only be weaker.
        capabilities: which verbs it has.

    Attributes:
        label: what the user calls this device; its measurements bear it. The target's name where none was given.
    """

    name: ClassVar[str]
    provenance: ClassVar[Provenance]
    capabilities: ClassVar[Capabilities]
    label: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.label = cls.__module__.rsplit(".", 1)[-1]

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """The settings that the text behind `NAME:` stands for, as plain values, not yet checked.

        Raises:
            WrongAddress: it is no address of such a device.
        """
        raise WrongAddress(f"The target '{cls.name}' takes no address, and was given '{address}'.", expected=cls.name)

    def info(self) -> DeviceInfo:
        """What the device is.

        Raises:
            TargetError: the device could not be asked.
        """
        with self._one_error_tree("info"):
            return self._info()

    def prepare(self, model: Path) -> Path:
        """Make of a `.tflite` the file that this target runs: the same one, or one compiled for it.

        Raises:
            TargetError: it cannot be made.
        """
        _must_exist(model)
        with self._one_error_tree("prepare"):
            return self._prepare(model)

    def deploy(self, bundle: Path) -> Deployment:
        """Put a bundle on the device to stay: checked, self-tested, then switched to in one step.

        Args:
            bundle: the folder with `bundle.json`.

        Raises:
            Disagreement: the self-test gave other outputs than the golden ones; what was there before still is.
            TargetError: it is not there now; what was there before still is.
        """
        self._require("deploy")
        if not bundle.is_dir():
            raise TargetError(f"There is no bundle {bundle}.", expected="a folder with a bundle.json")
        with self._one_error_tree("deploy"):
            return self._deploy(bundle)

    def rollback(self, name: str) -> Deployment:
        """Switch back to the version that was in use before.

        Args:
            name: what the model was deployed as.

        Raises:
            TargetError: there is none, or it could not be switched to; what was in use still is.
        """
        self._require("deploy")
        with self._one_error_tree("roll back"):
            return self._rollback(name)

    def deployed(self, name: str) -> Deployment | None:
        """What is in use under a name, once its files there are as they were deployed; None where nothing is.

        Raises:
            TargetError: it is damaged, or the device cannot be asked.
        """
        self._require("deploy")
        with self._one_error_tree("tell what is deployed"):
            return self._deployed(name)

    def benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        """Measure several models in one run, turn by turn, so that what disturbs one disturbs all alike.

        Args:
            models: name to `.tflite`; the names are yours.
            plan: how long and how often.

        Returns:
            one measurement a model, in the order given.

        Raises:
            UnusableModel: a model cannot be loaded, or crashes the interpreter.
            TargetError: anything else that kept the figures from being had.
        """
        self._require("benchmark")
        if not models:
            raise TargetError(f"Nothing was given to benchmark on {self.name}.", expected="at least one model")
        for model in models.values():
            _must_exist(model)
        with self._one_error_tree("benchmark"):
            found = self._benchmark(models, plan)
            return {name: replace(one, target=self.label) for name, one in found.items()}

    def evaluate(self, model: Path, batches: Iterable[NDArray[Any]], *, runtime: Runtime = "auto") -> NDArray[Any]:
        """Run a model of one input over many examples, one by one, its state reset before each.

        Args:
            model: the `.tflite`.
            batches: examples as the model takes them, raw: (b, ...) of any b, in the model's input type. They are
                read once and never all held.
            runtime: which interpreter.

        Returns:
            the model's first output for each example, raw, (n, ...) in its output type.

        Raises:
            WrongInput: examples of another shape or type than the model takes, or none at all.
            UnusableModel: the model cannot be loaded, or crashes the interpreter.
            TargetError: anything else that kept the outputs from being had.
        """
        self._require("evaluate")
        _must_exist(model)
        with self._one_error_tree("evaluate"):
            return self._evaluate(model, batches, runtime)

    def check(self, model: Path, golden: Golden, *, runtime: Runtime = "auto") -> Parity:
        """Run a model over golden inputs, and hold its outputs against the golden ones.

        Returns:
            what was found. Where `ok` is False, this device's figures mean nothing (`Disagreement` says so).

        Raises:
            WrongInput: the golden inputs are not what the model takes.
            UnusableModel: the model cannot be loaded, or crashes the interpreter.
            TargetError: anything else that kept the outputs from being had.
        """
        self._require("evaluate")
        _must_exist(model)
        with self._one_error_tree("check"):
            from edge_targets._golden import output_step

            found = self._outputs(model, golden.inputs, runtime)
            parity = compare(found, golden.outputs, output_step(model, found.values))
            layer = "" if parity.ok else self._first_layer(model, golden, found, runtime)
            return replace(parity, first_layer=layer)

    def noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        *,
        runtime: Runtime = "auto",
    ) -> list[Noise]:
        """Run two models of one input over the same examples, and measure how far tensors inside them are apart.

        The interpreter's own kernels run, without delegates: those would hide what is inside.

        Args:
            models: the reference, and the one that is held against it.
            inputs: the same examples as each of them takes them, raw, (n, ...).
            pairs: the tensors to compare.
            runtime: which interpreter.

        Returns:
            what was found of each pair, in their order.

        Raises:
            WrongInput: examples of another shape or type than the models take, or not as many for each.
            UnusableModel: a model cannot be loaded, or crashes the interpreter.
            TargetError: anything else.
        """
        self._require("evaluate")
        for model in models:
            _must_exist(model)
        if len(inputs[0]) != len(inputs[1]) or not len(inputs[0]):
            counts = f"{len(inputs[0])} and {len(inputs[1])} examples were given"
            raise WrongInput(f"To compare two models, {counts}.", expected="as many for each, and at least one")
        with self._one_error_tree("compare tensors"):
            return self._noise(models, inputs, pairs, runtime) if pairs else []

    @abstractmethod
    def _info(self) -> DeviceInfo:
        """The hook of `info`."""

    def _prepare(self, model: Path) -> Path:
        """The hook of `prepare`: most targets run the file as it is."""
        return model

    def _deploy(self, bundle: Path) -> Deployment:
        """The hook of `deploy`."""
        self._refuse("deploy")

    def _rollback(self, name: str) -> Deployment:
        """The hook of `rollback`."""
        self._refuse("deploy")

    def _deployed(self, name: str) -> Deployment | None:
        """The hook of `deployed`."""
        self._refuse("deploy")

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        """The hook of `benchmark`."""
        self._refuse("benchmark")

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        """The hook of `evaluate`."""
        self._refuse("evaluate")

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        """The hook of `check`: run the model over inputs (n, ...), and tell which kernels ran."""
        self._refuse("evaluate")

    def _tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
        """Run a model of many outputs over one example (1, ...): the bytes of them all, one after another, (bytes,).

        With it a failed `check` names the first layer that differs; a target may leave it out.
        """
        raise Unsupported(f"The target '{self.name}' gives a model's first output only.")

    def _noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        runtime: Runtime,
    ) -> list[Noise]:
        """The hook of `noise`; a target that evaluates may leave it out."""
        raise Unsupported(f"The target '{self.name}' does not show what is inside a model.", expected="the target host")

    def _first_layer(self, model: Path, golden: Golden, found: Outputs, runtime: Runtime) -> str:
        """The first layer whose output differs here; "" where that cannot be found out, which is no reason to fail."""
        from edge_targets._first_layer import first_layer

        try:
            return first_layer(model, golden, found, lambda opened, example: self._tensors(opened, example, runtime))
        except TargetError:
            return ""

    def _require(self, verb: Literal["benchmark", "evaluate", "deploy"]) -> None:
        if not getattr(self.capabilities, verb):
            self._refuse(verb)

    def _refuse(self, verb: str) -> NoReturn:
        verbs = [name for name in ("benchmark", "evaluate", "deploy") if getattr(self.capabilities, name)]
        raise Unsupported(
            f"The target '{self.name}' does not {verb}.", expected=f"one of: {', '.join(['info', 'prepare', *verbs])}"
        )

    @contextmanager
    def _one_error_tree(self, verb: str) -> Iterator[None]:
        try:
            yield
        except TargetError:
            raise
        # Hooks are anyone's code: whatever escapes them, callers have one tree to catch.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise TargetError(f"The target '{self.name}' failed to {verb}: {reason}") from error


def _must_exist(model: Path) -> None:
    if not model.is_file():
        raise UnusableModel(f"There is no model file {model}.", expected="a .tflite file")
