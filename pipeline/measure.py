"""Devices measured side by side: each is first held against golden vectors, and one that fails harms no other."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets import BenchmarkPlan, Disagreement, Golden, TargetError
from edge_targets._reference import EXAMPLES, golden_vectors
from edge_targets._transport import end_running
from pipeline.check import Check, Status
from pipeline.verify import quantize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edge_targets import Measurement, Parity, Target
    from pipeline.artifact import Artifact
    from pipeline.dataset import Dataset
    from pipeline.devices import Device
    from pipeline.progress import Progress
    from pipeline.settings import BenchmarkSettings

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
    from edge_targets import WrongInput

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
    done: queue.SimpleQueue[tuple[int, Row | Exception]] = queue.SimpleQueue()
    targets = [_made(each) for each in devices]
    rows: dict[int, Row] = {}

    def work(place: int, device: Device, target: Target | TargetError) -> None:
        try:
            done.put((place, _row(device, target, models, against, plan)))
        # A fault of ours must not leave the main thread waiting for this one.
        except Exception as error:  # noqa: BLE001
            done.put((place, error))

    # Daemons: a device that hangs must not keep the command from ending when it is interrupted.
    threads = [
        threading.Thread(target=work, args=(place, *pair), daemon=True)
        for place, pair in enumerate(zip(devices, targets, strict=True))
    ]
    with progress.bar("benchmark", len(devices)) as bar:
        try:
            for thread in threads:
                thread.start()
            while len(rows) < len(devices):
                place, row = done.get()
                if isinstance(row, Exception):
                    raise row
                rows[place] = row
                bar.advance(1, f"{row.label} {row.status}")
        except BaseException:
            _give_up(threads)
            raise
    return tuple(rows[place] for place in range(len(devices)))


def measure_run(
    artifact: Artifact,
    baseline: Artifact,
    devices: Sequence[Device],
    settings: BenchmarkSettings,
    data: Dataset,
    progress: Progress,
) -> tuple[Row, ...]:
    """Both models of a run on its devices; the int8 one is held against golden vectors of real examples first.

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
    against = reference("int8", artifact.path, quantize(x, artifact.inputs[0]))
    models = {"float32": baseline.path, "int8": artifact.path}
    return measure(devices, models, against, BenchmarkPlan(**settings.model_dump()), progress)


def parity_checks(rows: Sequence[Row]) -> list[Check]:
    """That each device gives what the reference gives. A device that could not be asked fails its check."""
    return [_parity_check(row) for row in rows]


def _parity_check(row: Row) -> Check:
    name = f"parity.{row.label}"
    if row.parity is not None:
        layer = f"; the first layer that differs: {row.parity.first_layer}" if row.parity.first_layer else ""
        why = row.error.what if row.error is not None and row.parity.ok else row.parity.why + layer
        outcome: Status = "pass" if row.error is None else "fail"
        return Check(name, row.parity.max_steps, row.parity.allowed_steps, "steps", outcome, why)
    if row.error is not None:
        return Check(name, None, None, "steps", "fail", row.error.what)
    return Check.not_measured(name, None, "steps", row.why)


def _made(device: Device) -> Target | TargetError:
    try:
        return device.target()
    except TargetError as error:
        return error


def _row(
    device: Device,
    target: Target | TargetError,
    models: Mapping[str, Path],
    against: Reference,
    plan: BenchmarkPlan,
) -> Row:
    parity = None
    why = against.why
    try:
        if isinstance(target, TargetError):
            raise target
        if against.golden is not None and target.capabilities.evaluate:
            parity = target.check(models[against.model], against.golden, runtime=plan.runtime)
            if not parity.ok:
                raise Disagreement(device.label, parity)
        elif against.golden is not None:
            why = f"the target {device.kind} gives no outputs back"
        return Row(device.label, device.kind, parity, "" if parity else why, target.benchmark(models, plan))
    except TargetError as error:
        return Row(device.label, device.kind, parity, error=error)


def _give_up(threads: Sequence[threading.Thread]) -> None:
    """End what the threads wait for, and let them clear up."""
    end_running()
    for thread in threads:
        if thread.ident is not None:
            thread.join(GRACE_S)
