"""Devices measured side by side: each is first held against golden vectors, and one that fails harms no other."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edge_targets import BenchmarkPlan, Disagreement, Golden, TargetError, Unsupported, WrongInput
from edge_targets._reference import EXAMPLES, golden_vectors
from edge_targets._transport import nothing_running
from pipeline.artifact import quantize
from pipeline.check import Check, Status
from pipeline.latency import EARLY, REST, WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from edge_targets import Measurement, Parity, Target
    from pipeline.artifact import Artifact
    from pipeline.dataset import Dataset
    from pipeline.devices import Device
    from pipeline.progress import Progress
    from pipeline.settings import BenchmarkSettings

T = TypeVar("T")

# How long a device's thread may take to leave its device in order once we are interrupted.
GRACE_S = 5.0


@dataclass(frozen=True)
class Reference:
    """What outputs are held against.

    Attributes:
        model: the name of the model that is checked.
        golden: its golden vectors, or None where it can have none.
        why: then, the reason.
    """

    model: str
    golden: Golden | None
    why: str = ""


@dataclass(frozen=True)
class Row:
    """What came of one device.

    Attributes:
        label, kind: which one.
        parity: how its outputs stand to the reference's, or None.
        why: where there is no parity and no error, the reason.
        measurements: by model; empty where the device is broken or failed.
        error: what it failed with, or None.
    """

    label: str
    kind: str
    parity: Parity | None = None
    why: str = ""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    error: TargetError | None = None

    def to_json(self) -> dict[str, Any]:
        """As `benchmark --json` prints it; the measurement is that of the one model."""
        return {
            "label": self.label,
            "kind": self.kind,
            "status": self.status,
            "parity": self.parity.to_json() if self.parity else None,
            "not_checked": self.why,
            "measurement": next((each.to_json() for each in self.measurements.values()), None),
            "error": error_json(self.error),
        }

    @property
    def status(self) -> str:
        """`measured`; `broken` where its outputs are wrong; `failed` where it could not be used."""
        if self.error is None:
            return "measured"
        return "broken" if isinstance(self.error, Disagreement) else "failed"


def reference(name: str, model: Path, inputs: Any = None) -> Reference:
    """Golden vectors of a model, made here; what cannot have any (several inputs, text) goes without, and says so.

    Args:
        name: what the model is called.
        model: the `.tflite`.
        inputs: a few examples as the model takes them, raw, (n, ...); None takes noise.

    Raises:
        UnusableModel: the model cannot be loaded, or crashes the interpreter.
    """
    try:
        return Reference(name, golden_vectors(model, inputs))
    except WrongInput as error:
        if inputs is not None:
            raise
        return Reference(name, None, error.what)


def measure(
    devices: Sequence[Device],
    models: Mapping[str, Path],
    against: Reference,
    plan: BenchmarkPlan,
    progress: Progress,
) -> tuple[Row, ...]:
    """Check and measure models on devices, all devices at the same time.

    Args:
        devices: where; each has a thread of its own.
        models: name to `.tflite`; all of them run side by side on each device, so that a noisy moment hits all.
        against: the golden vectors of one of them.
        plan: how long and how often.
        progress: told what is done.

    Returns:
        A row for each device, in their order.
    """
    return side_by_side("benchmark", devices, lambda device: _row(device, models, against, plan), progress)


def side_by_side(
    doing: str, devices: Sequence[Device], work: Callable[[Device], T], progress: Progress
) -> tuple[T, ...]:
    """Do the same work for all devices at the same time.

    Args:
        doing: the word for it.
        devices: each has a thread of its own.
        work: what is done for one; device errors are part of its result.
        progress: told what is done.

    Returns:
        A result for each device, in their order.
    """
    done: queue.SimpleQueue[tuple[int, T | Exception]] = queue.SimpleQueue()
    results: dict[int, T] = {}

    def run(place: int, device: Device) -> None:
        try:
            done.put((place, work(device)))
        # A fault of ours must not leave the main thread waiting for this one.
        except Exception as error:  # noqa: BLE001
            done.put((place, error))

    # Daemons: a device that hangs must not keep the command from ending when it is interrupted.
    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(devices)]
    with progress.bar(doing, len(devices)) as bar:
        try:
            for thread in threads:
                thread.start()
            while len(results) < len(devices):
                place, result = done.get()
                if isinstance(result, Exception):
                    raise result
                results[place] = result
                bar.advance(1, devices[place].label)
        except BaseException:
            _give_up(threads)
            raise
    return tuple(results[place] for place in range(len(devices)))


def measure_run(
    artifact: Artifact,
    baseline: Artifact,
    devices: Sequence[Device],
    settings: BenchmarkSettings,
    data: Dataset,
    progress: Progress,
) -> tuple[Row, ...]:
    """The models of a run on its devices; the int8 one is held against golden vectors of real examples first.

    Args:
        artifact: the int8 `.tflite`.
        baseline: the float32 one.
        devices: the recipe's.
        settings: how latency is measured.
        data: its validation split gives the examples; the test split is for the scores alone.
        progress: told what is done.
    """
    if not devices:
        return ()
    chosen = data.validation.take(np.arange(min(EXAMPLES, data.validation.size)))
    x = np.concatenate([x for x, _ in chosen.batches(EXAMPLES)])
    names = (WHOLE,) if artifact.cascade is None else (EARLY, REST)
    against = reference(names[0], artifact.path, quantize(x, artifact.inputs[0]))
    models = {"float32": baseline.path, **dict(zip(names, (part.path for part in artifact.parts), strict=True))}
    return measure(devices, models, against, BenchmarkPlan(**settings.model_dump()), progress)


def parity_checks(rows: Sequence[Row]) -> list[Check]:
    """That each device gives what the reference gives. A device that could not be asked fails its check."""
    return [_parity_check(row) for row in rows]


def error_json(error: TargetError | None) -> dict[str, str] | None:
    """A device's error as documents hold it."""
    if error is None:
        return None
    return {"kind": type(error).__name__, "what": error.what, "expected": error.expected, "mend": error.mend}


def _parity_check(row: Row) -> Check:
    name = f"parity.{row.label}"
    parity, error = row.parity, row.error
    if error is not None and (parity is None or parity.ok):
        # What went wrong was no difference of outputs: steps and their limit would look like one.
        return Check(name, None, None, "steps", "fail", _with_remedy(error))
    if parity is None:
        return Check.not_measured(name, None, "steps", row.why)
    layer = f"; the first layer that differs: {parity.first_layer}" if parity.first_layer else ""
    outcome: Status = "pass" if error is None else "fail"
    return Check(name, parity.max_steps, parity.allowed_steps, "steps", outcome, parity.why + layer)


def _with_remedy(error: TargetError) -> str:
    return f"{error.what} To mend it: {error.mend}." if error.mend else error.what


def _row(
    device: Device,
    models: Mapping[str, Path],
    against: Reference,
    plan: BenchmarkPlan,
) -> Row:
    parity = None
    try:
        target = device.target()
        parity, why = _held(target, models, against, plan)
        if parity is not None and not parity.ok:
            raise Disagreement(device.label, parity)
        return Row(device.label, device.kind, parity, "" if parity else why, target.benchmark(models, plan))
    except TargetError as error:
        return Row(device.label, device.kind, parity, error=error)


def _held(
    target: Target, models: Mapping[str, Path], against: Reference, plan: BenchmarkPlan
) -> tuple[Parity | None, str]:
    """How a device's outputs stand to the golden ones; or why there are none to be held against them."""
    if against.golden is None:
        return None, against.why
    try:
        return target.check(models[against.model], against.golden, runtime=plan.runtime), ""
    except Unsupported as error:
        # It gives no outputs back: not at all, or not here, where it only calculates.
        return None, _with_remedy(error)


def _give_up(threads: Sequence[threading.Thread]) -> None:
    """End what the threads wait for, and let them clear up."""
    deadline = time.monotonic() + GRACE_S
    with nothing_running():
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
