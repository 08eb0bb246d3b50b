"""How well a `.tflite` does on devices, by labelled examples: `edgesmith evaluate`."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from edge_targets import TargetError, WrongInput
from edge_targets.tflite_graph import Graph, read_graph
from pipeline import _yaml
from pipeline._mistakes import mistake, recipe_error
from pipeline.artifact import FLOATS, TensorSpec, dequantize, quantize, sha256_of
from pipeline.choice import name_and_settings, settings_class
from pipeline.data._npz_reading import NpzArchive, open_npz
from pipeline.errors import DataError, UsageError
from pipeline.half import tell_of_half
from pipeline.interpreter import BATCH
from pipeline.measure import error_json, side_by_side
from pipeline.report import json_object
from pipeline.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pipeline.devices import Device
    from pipeline.progress import Progress

SCHEMA = 1
"""The version of the contract. Additions keep it; anything else must raise it."""


@dataclass(frozen=True)
class Examples:
    """Labelled examples for a model.

    Attributes:
        stored: as the model takes them, raw, (n, ...).
        y: their targets, (n, ...).
    """

    stored: NDArray[Any]
    y: NDArray[Any]


def evaluate(
    model: Path, data: Path, task: Task, devices: Sequence[Device], progress: Progress, *, limit: int | None = None
) -> dict[str, Any]:
    """Score a model on devices, all devices at the same time.

    Args:
        model: a `.tflite` of one input.
        data: an `.npz` with `x` and `y`; `x` as the float model took it, or as the `.tflite` stores it.
        task: what the outputs mean.
        devices: where.
        progress: told what is done.
        limit: only so many examples, the first; None takes all.

    Returns:
        The document that `evaluate --json` prints (docs/schemas/evaluation.schema.json).

    Raises:
        DataError: the examples are not for this model or this task.
        UnusableModel: the model cannot be read.
    """
    graph = read_graph(model)
    tell_of_half(model, progress)
    found = labelled(data, graph, limit)
    output = TensorSpec.of(graph.tensors[graph.outputs[0]])
    # A few examples need not show every class: the model says how many there are.
    y = task.check_targets(found.y, "given", output.shape[-1] if len(output.shape) > 1 else 1)
    examples = Examples(found.stored, y)
    rows = side_by_side(
        "evaluate", devices, lambda device: _row(device, model, task, examples, graph, output), progress
    )
    content = model.read_bytes()
    return json_object(
        {
            "schema": SCHEMA,
            "ok": all(row["error"] is None for row in rows),
            "model": {"path": model.name, "sha256": sha256_of(content), "size_bytes": len(content)},
            "data": {"path": data.name, "examples": len(y)},
            "task": task.task_name(),
            "metric": task.metric,
            "unit": task.unit,
            "devices": list(rows),
        }
    )


def task_of(text: str) -> Task:
    """The task that `classification` or `{classification: {output: single}}` names.

    Raises:
        UsageError: it names none, or has wrong settings.
    """
    where = f"--task {text}"
    try:
        name, settings = name_and_settings(_yaml.parse(text).value)
        cls = settings_class("pipeline.tasks", name)
        read = cls.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        raise recipe_error(where, [mistake(each, each["loc"], "", cls) for each in error.errors()]) from None
    except ValueError as error:
        raise UsageError(f"{where}: {error}", expected="a task's name, or {NAME: {SETTING: VALUE}}") from None
    if not isinstance(read, Task):
        raise UsageError(f"{where} names no task.", expected="a task's name, or {NAME: {SETTING: VALUE}}")
    return read


def labelled(path: Path, graph: Graph, limit: int | None = None) -> Examples:
    """The examples `x` and their targets `y` of an `.npz`.

    Raises:
        DataError: they are not there, or not what the model takes.
    """
    with open_npz(path) as archive:
        x, y = (_first(archive, key, limit) for key in ("x", "y"))
    if len(x) != len(y):
        raise DataError(f"{path} has {len(x)} examples in x and {len(y)} in y.", expected="as many of both")
    return Examples(stored_inputs(x, graph, str(path)), y)


def inputs_of(path: Path, graph: Graph, limit: int) -> NDArray[Any]:
    """The first examples `x` of an `.npz`, as a model takes them, (n, ...).

    Raises:
        DataError: they are not there, or not what the model takes.
    """
    with open_npz(path) as archive:
        return stored_inputs(_first(archive, "x", limit), graph, str(path))


def stored_inputs(x: NDArray[Any], graph: Graph, where: str) -> NDArray[Any]:
    """Examples as a model takes them: those in its own type as they are, others quantized as real numbers.

    A missing last axis of one channel is added.

    Raises:
        DataError: they have another shape, or are no numbers.
        WrongInput: the model has several inputs.
    """
    if len(graph.inputs) != 1:
        raise WrongInput(f"The model has {len(graph.inputs)} inputs.", expected="a model of one input")
    spec = TensorSpec.of(graph.tensors[graph.inputs[0]])
    one = spec.shape[1:]
    if x.shape[1:] != one and (*x.shape[1:], 1) == one:
        x = x[..., None]
    if x.shape[1:] != one or x.dtype.kind not in "biuf" or not len(x):
        raise DataError(
            f"The examples in {where} are {x.dtype} {x.shape}.",
            expected=f"numbers of shape (n, {', '.join(map(str, one))})",
        )
    if x.dtype == spec.dtype:
        return x
    if spec.dtype not in FLOATS and not 0 < spec.scale < math.inf:
        raise DataError(f"The examples in {where} are {x.dtype}, the model takes {spec.dtype}.", expected=spec.dtype)
    with np.errstate(over="ignore"):
        real = x.astype(np.float32)
    if not np.isfinite(real).all():
        raise DataError(f"The examples in {where} hold numbers that are not finite.", expected="finite numbers")
    return quantize(real, spec)


def _first(archive: NpzArchive, key: str, limit: int | None) -> NDArray[Any]:
    """The first rows of an array, no more of them read than it takes."""
    kept: list[NDArray[Any]] = []
    for chunk in archive.chunks(key):
        left = None if limit is None else limit - sum(map(len, kept))
        kept.append(chunk[:left])
        if left is not None and left <= len(chunk):
            break
    return np.concatenate(kept) if kept else np.zeros((0,), archive.header(key).dtype)


def _row(
    device: Device, model: Path, task: Task, examples: Examples, graph: Graph, output: TensorSpec
) -> dict[str, Any]:
    row: dict[str, Any] = {"label": device.label, "kind": device.kind, "value": None, "details": {}, "seconds": None}
    started = time.monotonic()
    try:
        raw = device.target().evaluate(model, _batches(examples.stored))
        outputs = dequantize(raw, output)
        readable = np.concatenate(list(_readouts(task, examples.stored, outputs, TensorSpec.of(_input(graph)))))
        row |= {"value": task.score(examples.y, readable), "details": task.details(examples.y, readable)}
        return row | {"seconds": time.monotonic() - started, "error": None}
    except TargetError as error:
        return row | {"error": error_json(error)}


def _input(graph: Graph) -> Any:
    return graph.tensors[graph.inputs[0]]


def _batches(stored: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(stored), BATCH):
        yield stored[start : start + BATCH]


def _readouts(
    task: Task, stored: NDArray[Any], outputs: NDArray[np.float32], spec: TensorSpec
) -> Iterator[NDArray[np.float32]]:
    """What the task keeps of each batch; it sees the inputs in real units, as in training."""
    for start in range(0, len(stored), BATCH):
        batch = slice(start, start + BATCH)
        yield task.readout(dequantize(stored[batch], spec), outputs[batch])
