"""One model on many devices, each held against golden vectors first: `edgesmith benchmark`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._reference import EXAMPLES
from edge_targets._tune import tune
from edge_targets.tflite_graph import read_graph
from pipeline import devices as naming
from pipeline.artifact import sha256_of
from pipeline.errors import UsageError
from pipeline.evaluation import inputs_of
from pipeline.half import tell_of_half
from pipeline.measure import Reference, measure, reference
from pipeline.report import json_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_targets import BenchmarkPlan
    from edge_targets._tune import Combination
    from pipeline.devices import Device
    from pipeline.progress import Progress

SCHEMA = 1
"""The version of the contract. Additions keep it; anything else must raise it."""

HOST = "host"


@dataclass(frozen=True)
class Options:
    """What is asked for beside the model and the devices.

    Attributes:
        plan: how long and how often to measure.
        data: an `.npz` whose first examples `x` are the golden inputs; None takes noise.
        tune: whether to find the fastest settings of the host first, and to use them.
    """

    plan: BenchmarkPlan
    data: Path | None = None
    tune: bool = False


def benchmark(model: Path, devices: Sequence[Device], options: Options, progress: Progress) -> dict[str, Any]:
    """Check and measure a model on devices, all devices at the same time.

    Args:
        model: the `.tflite`.
        devices: where.
        options: how.
        progress: told what is done.

    Returns:
        The document that `benchmark --json` prints (docs/schemas/benchmark.schema.json). A device that failed or is
        broken has an error there and no measurement; `ok` is then False.

    Raises:
        UnusableModel: the model cannot be read or run on any of this machine's interpreters.
        UsageError, DataError: the options do not go together, or the data is not for this model.
    """
    graph = read_graph(model)
    tell_of_half(model, progress)
    tuned: list[Combination] = []
    if options.tune:
        devices, tuned = _tuned(model, devices, progress)
    inputs = None if options.data is None else inputs_of(options.data, graph, EXAMPLES)
    progress.note("golden vectors: made on this machine")
    against = reference("model", model, inputs)
    rows = measure(devices, {"model": model}, against, options.plan, progress)
    content = model.read_bytes()
    return json_object(
        {
            "schema": SCHEMA,
            "ok": all(row.error is None for row in rows),
            "model": {"path": model.name, "sha256": sha256_of(content), "size_bytes": len(content)},
            "plan": asdict(options.plan),
            "golden": _golden(against, options.data),
            "devices": [row.to_json() for row in rows],
            "tuning": [each.to_json() for each in tuned],
        }
    )


def _tuned(model: Path, devices: Sequence[Device], progress: Progress) -> tuple[list[Device], list[Combination]]:
    """The devices with the fastest settings of the host in the place of its defaults, and all that were tried."""
    if HOST not in [each.label for each in devices]:
        raise UsageError("--tune is for this machine.", expected="--target host", mend="add it, or leave --tune out")
    progress.note("tune: every interpreter, XNNPACK on and off, one thread and more")
    tried = tune(model, progress.note)
    best = replace(naming.device(tried[0].address), label=HOST)
    return [best if each.label == HOST else each for each in devices], tried


def _golden(against: Reference, data: Path | None) -> dict[str, Any]:
    golden = against.golden
    return {
        "inputs": data.name if data else "noise",
        "examples": len(golden.inputs) if golden else 0,
        "kernels": [f"{each.kernels} of {each.runtime} {each.runtime_version}" for each in golden.outputs]
        if golden
        else [],
        "missing": against.why,
    }
