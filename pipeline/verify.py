"""Re-measures, from the final bytes alone, all that was promised. Nothing here trusts what a stage said of itself."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._errors import TargetError
from edge_targets._measurement import TIMED
from edge_targets.tflite_cost import WeightCost, total_macs, weight_costs
from edge_targets.tflite_graph import Graph, Tensor, parse_graph
from pipeline import _precision, _sqnr, cascade
from pipeline._promises import promise_checks
from pipeline._uncut import uncut_bytes, uncut_places
from pipeline.artifact import FLOATS, dequantize, quantize
from pipeline.check import Check, Layer
from pipeline.interpreter import BATCH, interpreter, stored_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from numpy.typing import NDArray

    from edge_targets._measurement import Measurement
    from pipeline.artifact import Artifact, MixedPrecision
    from pipeline.dataset import Dataset, Split
    from pipeline.draft import Draft
    from pipeline.progress import Progress
    from pipeline.settings import Budgets
    from pipeline.task import Task


_BORDERS = ("QUANTIZE", "DEQUANTIZE")
"""Operators that end what is kept out of int8."""


@dataclass(frozen=True)
class Score:
    """What a model reaches on the test split, through the interpreter.

    Attributes:
        value: the task's metric.
        details: its other figures.
        outputs: what the task's `readout` kept of what the model gave, dequantized, (n, ...).
    """

    value: float
    details: dict[str, Any]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class Proof:
    """What the final bytes show: both models' scores, the checks, the layer table, and the stages of a cascade."""

    baseline: Score
    artifact: Score
    checks: tuple[Check, ...]
    layers: tuple[Layer, ...]
    stages: cascade.Stages | None = None


def prove(
    artifact: Artifact,
    baseline: Artifact,
    draft: Draft,
    data: Dataset,
    budgets: Budgets,
    progress: Progress,
    reference: bytes | None = None,
) -> Proof:
    """Hold the int8 bytes against the stages' promises and the recipe's budgets.

    Args:
        artifact: the int8 `.tflite`.
        baseline: the float32 `.tflite`.
        draft: the draft behind the artifact; only its promises are read.
        data: its test split is looked at here, and nowhere before.
        budgets: the recipe's.
        progress: told how far it is.
        reference: the float32 `.tflite` that the artifact approximates, for the layers' SQNR; None leaves it out.
    """
    graph = cascade.graph_of(artifact)
    layers = layer_rows(graph)
    if reference is not None:
        try:
            layers = measured_layers(layers, artifact, reference, data.validation)
        except TargetError as error:
            # It only reports: a run whose promises can be checked does not end here.
            progress.note(f"no SQNR of the layers: {error.what}")
    with progress.bar("verify", 2 * data.test.size) as bar:
        before, after = (score(one, data, bar.advance) for one in (baseline, artifact))
    stages = cascade.measured(artifact, data, after.outputs, progress)
    checks = (
        *intake_checks(draft),
        *graph_checks(graph, layers, draft, artifact.mixed, artifact.precision),
        *mixed_checks(artifact.mixed),
        *agreement_checks(data.task, before.outputs, after.outputs),
        *noise_checks(layers),
        *cascade.stage_checks(stages, draft),
        *budget_checks(budgets, before.value, after.value, artifact, layers),
    )
    return Proof(before, after, checks, layers, stages)


def score(artifact: Artifact, data: Dataset, advance: Callable[[int], None]) -> Score:
    """Run a `.tflite` over the test split in the interpreter of this machine, and score what it gives."""
    task, y = data.task, data.test.targets()
    found = readout(artifact, data.test, task, advance)
    value, details = task.score(y, found), task.details(y, found)

    def held_out() -> NDArray[np.float32]:
        return readout(artifact, data.validation, task, lambda _: None)

    return Score(value, {**task.operating_point(held_out, y, found), **details}, found)


def readout(artifact: Artifact, split: Split, task: Task, advance: Callable[[int], None]) -> NDArray[np.float32]:
    """What the task keeps of every output that a model gives for a split, (n, ...).

    Args:
        artifact: the `.tflite`, float or int8, with its borders.
        split: real examples; they go through the interpreter batch by batch.
        task: its `readout` looks at each batch.
        advance: told how many examples were read.

    Raises:
        TargetError: the model did not run, or does not take these examples.
    """
    stored = stored_batches(split, artifact.inputs[0], advance)
    if artifact.cascade is None:
        outputs = dequantize(interpreter().evaluate(artifact.path, stored), artifact.outputs[0])
    else:
        outputs = cascade.decided(artifact, cascade.run(artifact, stored, artifact.cascade.threshold))
    kept, done = [], 0
    for x, _ in split.batches(BATCH):
        kept.append(task.readout(x, outputs[done : done + len(x)]))
        done += len(x)
    return np.concatenate(kept)


def layer_table(model: bytes) -> tuple[Layer, ...]:
    """Every operator with weights, read from the bytes of a `.tflite`."""
    return layer_rows(parse_graph(model))


def layer_rows(graph: Graph) -> tuple[Layer, ...]:
    """The layer table of a `.tflite` that has been read: a row for each of `weight_costs`, in that order."""
    macs = total_macs(graph)
    return tuple(_layer(cost, macs, graph.size_bytes) for cost in weight_costs(graph))


def measured_layers(
    layers: tuple[Layer, ...], artifact: Artifact, reference: bytes, held_out: Split
) -> tuple[Layer, ...]:
    """The layer table with the SQNR of each layer's output, where the float reference has the same layer.

    Args:
        layers: the artifact's, without.
        artifact: the int8 `.tflite`.
        reference: the float32 one that it approximates.
        held_out: real examples, (n, ...): the validation split, for the test split is for the scores alone.

    Raises:
        TargetError: one of the models did not run, or does not take these examples.
    """
    model = uncut_bytes(artifact)
    graphs = parse_graph(reference), parse_graph(model)
    count = min(_sqnr.examples_for(total_macs(graphs[0])), held_out.size)
    chosen = held_out.take(np.linspace(0, held_out.size - 1, count).astype(np.int64))
    x = np.concatenate([x for x, _ in chosen.batches(BATCH)])
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        paths = Path(folder, "reference.tflite"), Path(folder, "model.tflite")
        for path, content in zip(paths, (reference, model), strict=True):
            path.write_bytes(content)
        inputs = x, quantize(x, artifact.inputs[0])
        return _sqnr.with_sqnr(layers, uncut_places(artifact, graphs[1]), graphs, paths, inputs, interpreter())


def usual_inputs(held_out: Split) -> tuple[float, float]:
    """The range of inputs without the 0.1 % that lie furthest out, over some examples of a split."""
    chosen = held_out.take(np.linspace(0, held_out.size - 1, min(_sqnr.MOST_EXAMPLES, held_out.size)).astype(np.int64))
    low, high = np.percentile(np.concatenate([x for x, _ in chosen.batches(BATCH)]), [0.05, 99.95])
    return float(low), float(high)


def intake_checks(draft: Draft) -> list[Check]:
    """How far a model that was taken in is from the original, on random inputs."""
    return [
        Check.at_most(
            "intake_difference",
            step.metrics["largest_difference"],
            step.metrics["tolerance"],
            "",
            "the original's outputs against the flat model's",
        )
        for step in draft.steps
        if step.stage == "intake"
    ]


def byte_checks(
    model: bytes,
    layers: tuple[Layer, ...],
    draft: Draft,
    mixed: MixedPrecision | None = None,
    precision: str = "int8",
) -> list[Check]:
    """What the stages promised, against what the bytes show.

    Tensors of float or int16 break the promise of int8, but for those of the layers that mixed precision kept in it:
    they were chosen.
    """
    return graph_checks(parse_graph(model), layers, draft, mixed, precision)


def graph_checks(
    graph: Graph,
    layers: tuple[Layer, ...],
    draft: Draft,
    mixed: MixedPrecision | None = None,
    precision: str = "int8",
) -> list[Check]:
    """`byte_checks` of bytes that have been read."""
    graphs = graph.subgraphs()
    chosen = _touched(graphs[0], (*mixed.kept, *mixed.riders)) if mixed else frozenset[int]()
    kinds = frozenset({"int16"}) if mixed and mixed.kept_in == "int16" else FLOATS
    wider = [tensor for graph in graphs for tensor in graph.tensors if tensor.dtype in FLOATS | kinds]
    others = [tensor.name for tensor in wider if id(tensor) not in chosen or tensor.dtype not in kinds]
    shown = ", ".join(others[:3]) + (" …" if len(others) > 3 else "")
    # What is not int8 is float, but where int16 was allowed it may be that.
    unit, told = ("float tensors", "float") if kinds is FLOATS else ("other tensors", "neither int8 nor chosen")
    why = ". ".join(filter(None, (f"{told}: {shown}" if others else "", _chosen(mixed))))
    int8_only = Check.at_most("int8_only", len(others), 0, unit, why)
    checks = [int8_only if precision == "int8" else _precision.precision_check(graphs[0], precision)]
    promised = [step.promises["min_sparsity"] for step in draft.steps if "min_sparsity" in step.promises]
    if promised and "sparse" in draft.traits:
        # An early head comes later, and nobody promised zeros in it.
        seen = sparsity(tuple(layer for layer in layers if layer.name not in cascade.head_layers(draft)))
        checks.append(Check.at_least("kept_sparsity", seen, promised[-1], "share", "as the stages left it"))
    return [*checks, *promise_checks(graph, layers, draft)]


def mixed_checks(mixed: MixedPrecision | None) -> list[Check]:
    """Whether the layers that were kept out of int8 are enough, on the validation split."""
    if mixed is None:
        return []
    tried = f"{mixed.evaluations} of at most {mixed.most_evaluations} evaluations on the validation split"
    nearest = "" if mixed.met else "; no choice of layers is good enough, this one comes nearest"
    if nearest and len(mixed.kept) == len(mixed.gains):
        nearest += " with all of them: what is lost is lost in the stages before, or in the int8 input and output"
    values = f"{mixed.float_value:.4f} in float, {mixed.int8_value:.4f} in int8, {mixed.value:.4f} kept so"
    why = f"{mixed.metric}: {values}; {tried}"
    return [Check.at_most("mixed_precision_drop", mixed.drop, mixed.max_accuracy_drop, "share", why + nearest)]


def agreement_checks(task: Task, reference: NDArray[np.float32], quantized: NDArray[np.float32]) -> list[Check]:
    """How far the int8 outputs are from the float baseline's, on the same examples. These report; they set no limit."""
    error = task.output_error(reference, quantized)
    return [
        Check("agreement", task.agreement(reference, quantized), None, "share", "pass", task.agreement_meaning),
        Check("output_error", error, None, "share", "pass", task.output_error_meaning),
    ]


def noise_checks(layers: tuple[Layer, ...]) -> list[Check]:
    """The layer that int8 harms most, by name. It reports; what it means for the task is the scores' to say."""
    measured = [(layer.sqnr_db, layer.name) for layer in layers if layer.sqnr_db is not None]
    if not measured or math.isinf(min(measured)[0]):
        return []
    worst_db, name = min(measured)
    why = f"'{name}': its output against the same weights in float, on validation examples"
    return [Check("worst_layer_sqnr", worst_db, None, "dB", "pass", why)]


def budget_checks(
    budgets: Budgets, baseline_value: float, value: float, artifact: Artifact, layers: tuple[Layer, ...]
) -> list[Check]:
    """The recipe's budgets on accuracy, size and sparsity; the values are the task's metric on the test split."""
    drop = round(baseline_value - value, 9)  # 0.99 - 0.98 is a little more than 0.01 in binary
    found = [
        (Check.at_most, "max_accuracy_drop", drop, "share"),
        (Check.at_least, "min_accuracy", value, "share"),
        (Check.at_least, "min_sparsity", sparsity(layers), "share"),
        (Check.at_most, "max_size_bytes", artifact.all_bytes, "bytes"),
        (Check.at_most, "max_ota_bytes", artifact.all_ota_bytes, "bytes"),
    ]
    limits = budgets.model_dump()
    return [judge(name, seen, limits[name], unit) for judge, name, seen, unit in found if limits[name] is not None]


def latency_checks(budgets: Budgets, measurements: Sequence[Measurement]) -> list[Check]:
    """The recipe's latency budgets. Only numbers measured on the named target itself can decide one."""
    by_target = {found.target: found for found in cascade.one_after_the_other(measurements)}
    return [_latency_check(name, limit, by_target.get(name)) for name, limit in budgets.max_median_us.items()]


def sparsity(layers: tuple[Layer, ...]) -> float:
    """Share of zeros over all weights of all layers."""
    weights = sum(layer.weights for layer in layers)
    zeros = sum(round(layer.sparsity * layer.weights) for layer in layers)
    return zeros / weights if weights else 0.0


def _latency_check(target: str, limit_us: float, found: Measurement | None) -> Check:
    name = f"max_median_us.{target}"
    if found is None:
        why = f"the target '{target}' was not measured: name it in targets"
        return Check.not_measured(name, limit_us, "us", why)
    if found.provenance not in TIMED:
        return Check.not_measured(name, limit_us, "us", f"the number at hand is {found.provenance}, not measured there")
    if found.median_us is None:
        return Check.not_measured(name, limit_us, "us", f"{found.runtime} {found.runtime_version} tells no median")
    return Check.at_most(name, found.median_us, limit_us, "us", f"{found.runtime} {found.runtime_version}")


def _touched(graph: Graph, names: Collection[str]) -> frozenset[int]:
    """The tensors, by `id`, that operators of these names read or write.

    In slim models operators without weights have no names: those count that read or write such a tensor.
    """
    ends = [(one, {place for place in (*one.inputs, *one.outputs) if place >= 0}) for one in graph.operators]
    found = {place for operator, places in ends if operator.name in names for place in places}
    nameless = [places for operator, places in ends if not operator.name and operator.kind not in _BORDERS]
    while joined := [places for places in nameless if places & found and not places <= found]:
        found.update(*joined)
    return frozenset(id(graph.tensors[place]) for place in found)


def _chosen(mixed: MixedPrecision | None) -> str:
    """Which layers are not int8 on purpose, and what that costs."""
    if mixed is None or not mixed.kept:
        return ""
    named = ", ".join(f"'{name}'" for name in mixed.kept)
    cost = f"{mixed.size_bytes - mixed.int8_size_bytes:+,} bytes"
    if mixed.median_us is not None and mixed.int8_median_us is not None:
        cost += f", {mixed.median_us - mixed.int8_median_us:+.1f} µs on this machine"
    finer = " with weights of 16 bits" if mixed.weight_bits == 16 else ""
    return f"{named} in {mixed.kept_in}{finer}, chosen by mixed precision: {cost} against full int8"


def _layer(cost: WeightCost, all_macs: int, file_bytes: int) -> Layer:
    tensor, stored = cost.tensor, cost.tensor.values()
    return Layer(
        name=cost.operator.name,
        kind=cost.operator.kind,
        weights=stored.size,
        sparsity=float(np.mean(stored == _zero_points(tensor))) if stored.size else 0.0,
        distinct=len(np.unique(stored)),
        bits=tensor.bits,
        macs=cost.macs,
        macs_share=cost.macs / all_macs if all_macs else 0.0,
        bytes=cost.bytes,
        bytes_share=cost.bytes / file_bytes,
    )


def _zero_points(tensor: Tensor) -> NDArray[Any]:
    """What stands for zero in each channel, in a shape that broadcasts over the tensor."""
    points = np.asarray(tensor.zero_points or (0,))
    shape = [1] * len(tensor.shape)
    if points.size > 1:
        shape[tensor.quantized_dimension] = points.size
    return points.reshape(shape)
