"""Where the time of an inference goes, operator by operator, and whether each waits for arithmetic or for memory.

Two ways, and the result says which:

    litert  LiteRT's own profiler (`_on_device_profile.py`): what each operator takes within the run. It counts whole
            microseconds, so of small models it sees little.
    cut     each operator as a model of its own, all of them turn by turn with the whole; less what a call of an
            interpreter takes. It sees operators without what they do to each other's caches, and none that a
            delegate would have made of two.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_targets import _answer, _on_device_profile
from edge_targets._benchmark_profile import OperatorTime
from edge_targets._errors import DeviceError, TargetError, Unsupported, UnusableModel
from edge_targets._made_model import WHOLE_GRAPHS, Made, one_operator, taken_out
from edge_targets._operator_names import Ran, assigned
from edge_targets._roofline import roofline
from edge_targets.tflite_cost import operator_costs
from edge_targets.tflite_graph import Graph, Operator, parse_graph, read_graph

if TYPE_CHECKING:
    from edge_targets._measurement import BenchmarkPlan, Measurement
    from edge_targets._runner import Runner

SCRIPT = "edgesmith_profile.py"
LITERT, CUT = "litert", "cut"

ENOUGH, COARSE_US = 0.85, 10.0
"""Where LiteRT's profiler explains at least this share of an inference, and its operators take so long on average that
whole microseconds are fine enough, nothing else is tried; else what explains more."""

ALIKE = 3.0
"""A run that takes so many times longer or shorter under the profiler ran other kernels."""

MOST_OPERATORS = 10_000
MOST_PIECES = 300
"""Each piece holds an interpreter of its own on the device."""

MOST_PIECE_RUNS = 400


@dataclass(frozen=True)
class Profile:
    """What one way found.

    Attributes:
        method: `litert` or `cut`.
        covered: what the operators take together, as a share of the inference; the rest is the interpreter's own, or
            was not seen.
        rows: the operators in the order of execution.
    """

    method: str
    covered: float
    rows: tuple[OperatorTime, ...]


def profiled(runner: Runner, path: str, model: Path, measurement: Measurement, plan: BenchmarkPlan) -> Measurement:
    """The measurement with a profile and the device's roofline, or with the reason why it has none.

    Args:
        runner: on the device.
        path: the model there.
        model: the same, here.
        measurement: what was measured of it.
        plan: how.
    """
    try:
        content = model.read_bytes()
        graph = parse_graph(content)
        found = _profile(runner, path, content, graph, measurement, plan)
    except TargetError as error:
        return replace(measurement, no_profile=error.what)
    try:
        roofs = roofline(runner, measurement, _multiplied(graph))
    except TargetError:
        # The times stand without it.
        roofs = None
    return replace(
        measurement, profile=found.rows, profile_method=found.method, profile_covered=found.covered, roofline=roofs
    )


def joined(rows: Iterable[OperatorTime], model: Path) -> tuple[OperatorTime, ...]:
    """The rows of `benchmark_model` with the layers, MACs and bytes of the model, where the two fit together."""
    told = list(rows)
    try:
        graph = read_graph(model)
    except UnusableModel:
        return tuple(told)
    ran = [Ran(row.kind.rpartition("/")[2], _place(row, graph), row.us, row.calls) for row in told]
    found = assigned(ran, graph)
    return tuple(told) if found is None else explained(found, graph, sum(row.us for row in told))


def explained(times: Mapping[int, Ran], graph: Graph, whole_us: float) -> tuple[OperatorTime, ...]:
    """Operators of a graph with their times, each with what it computes and moves.

    Args:
        times: by the operator's index.
        graph: the model.
        whole_us: of the inference.
    """
    macs = {cost.operator.index: cost.macs for cost in operator_costs(graph) if not cost.subgraph}
    return tuple(
        OperatorTime(
            index=index,
            kind=graph.operators[index].kind,
            name=graph.operators[index].name,
            us=each.us,
            share=min(each.us / whole_us, 1.0) if whole_us else 0.0,
            calls=each.calls,
            macs=macs[index],
            bytes=moved_bytes(graph, graph.operators[index]),
        )
        for index, each in times.items()
    )


def moved_bytes(graph: Graph, operator: Operator) -> int:
    """What an operator reads, weights too, and writes."""
    touched = [*dict.fromkeys(operator.inputs), *operator.outputs]
    tensors = [graph.tensors[index] for index in touched if index >= 0]
    return sum(-(-tensor.size * tensor.bits // 8) for tensor in tensors)


def _profile(
    runner: Runner, path: str, content: bytes, graph: Graph, measurement: Measurement, plan: BenchmarkPlan
) -> Profile:
    if measurement.delegate is not None:
        raise Unsupported(f"What the delegate {Path(measurement.delegate).name} does inside is not shown.")
    told = _or_none(lambda: _told_by_litert(runner, path, graph, measurement, plan))
    if told is not None and told.covered >= ENOUGH and _average_us(told) >= COARSE_US:
        return told
    try:
        cut = _cut(runner, path, content, graph, measurement, plan)
    except TargetError:
        if told is None:
            raise
        return told
    return cut if told is None or abs(1 - cut.covered) < abs(1 - told.covered) else told


def _average_us(told: Profile) -> float:
    return sum(row.us for row in told.rows) / len(told.rows)


def _or_none(ask: Callable[[], Profile]) -> Profile | None:
    """The interface of LiteRT's profiler changes: whatever it ends in is a reason to go the other way."""
    try:
        return ask()
    except TargetError:
        return None


def _told_by_litert(runner: Runner, path: str, graph: Graph, measurement: Measurement, plan: BenchmarkPlan) -> Profile:
    # Its C library takes "reference" for "builtin" (tried with 2.3).
    if measurement.runtime != _on_device_profile.PACKAGE or measurement.kernels == "reference":
        raise Unsupported(f"{measurement.runtime} has no profiler.")
    mode = "builtin" if measurement.kernels == "builtin" else "xnnpack"
    request = {
        "script": runner.push(Path(_on_device_profile.__file__), SCRIPT),
        "model": path,
        "kernel_mode": mode,
        "num_threads": measurement.threads,
        "num_runs": plan.num_runs,
        "max_secs": plan.max_secs,
    }
    answer = runner.ask("profile", request, subject="the model", timeout_s=runner.timeout_s(plan.max_secs))
    whole_us = _answer.number(answer, "whole_us")
    median_us = measurement.must_have_median()
    # Quick runs are alike on a busy machine as well; medians are not.
    quick_us = _quickest(measurement.must_have_latencies())
    if not quick_us / ALIKE <= whole_us <= quick_us * ALIKE:
        raise DeviceError(f"Under LiteRT's profiler a run takes {whole_us:.1f} µs, and else {quick_us:.1f} µs.")
    # Both were measured in one process, the median in another: the machine may have been busier.
    factor = median_us / whole_us
    ran = [_ran(each, factor) for each in _answer.some_groups(answer, "operators", MOST_OPERATORS)]
    # Which of the graph's subgraphs a delegate's operators were in is not told.
    found = None if graph.bodies else assigned(ran, graph)
    rows = as_told(ran, graph, median_us) if found is None else explained(found, graph, median_us)
    return Profile(LITERT, sum(row.us for row in rows) / median_us, rows)


def _ran(each: _answer.Json, factor: float) -> Ran:
    index = None if _answer.yes(each, "delegated") else _answer.count(each, "index")
    us = _answer.number(each, "us") * factor
    return Ran(_answer.text(each, "kind"), index, us, subgraph=_answer.count(each, "subgraph"))


def as_told(ran: Iterable[Ran], graph: Graph, median_us: float) -> tuple[OperatorTime, ...]:
    """Rows under the runtime's own names. What a loop runs many times is one row, and the loop itself none: its time
    is that of what it runs."""
    rows: dict[object, OperatorTime] = {}
    subgraphs = graph.subgraphs()
    for place, each in enumerate(ran):
        if each.kind in WHOLE_GRAPHS:
            continue
        key = (each.kind, each.index, each.subgraph) if graph.bodies else place
        before = rows.get(key)
        us, calls = (before.us, before.calls) if before else (0.0, 0)
        us += each.us
        share = min(us / median_us, 1.0)
        rows[key] = OperatorTime(len(rows), each.kind, _layer(each, subgraphs), us, share, calls + 1)
    return tuple(replace(row, index=index) for index, row in enumerate(rows.values()))


def _layer(each: Ran, subgraphs: Sequence[Graph]) -> str:
    """The layer of an operator that no delegate ran, or ""."""
    if each.index is None or each.subgraph >= len(subgraphs):
        return ""
    operators = subgraphs[each.subgraph].operators
    known = each.index < len(operators) and operators[each.index].kind == each.kind
    return operators[each.index].name if known else ""


def _cut(
    runner: Runner, path: str, content: bytes, graph: Graph, measurement: Measurement, plan: BenchmarkPlan
) -> Profile:
    pieces = taken_out(content, graph)
    if not 0 < len(pieces) <= MOST_PIECES:
        raise Unsupported(
            f"The model has {len(pieces)} operators that can be measured on their own.", expected=f"1 to {MOST_PIECES}"
        )
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        paths = [path]
        for name, piece in {
            "call": _nearly_nothing(),
            **{str(index): piece for index, piece in pieces.items()},
        }.items():
            Path(folder, name).write_bytes(piece)
            paths.append(runner.push(Path(folder, name), f"piece-{name}.tflite"))
    parts = runner.timed(paths, measurement, most_runs=MOST_PIECE_RUNS, max_secs=plan.max_secs)
    whole_us, call_us, *alone_us = map(_quickest, parts)
    median_us = measurement.must_have_median()
    net_us = [max(us - call_us, 0.0) * median_us / whole_us for us in alone_us]
    covered = sum(net_us) / median_us
    # Operators can take longer alone than together, and never more than the whole.
    net_us = [us / max(covered, 1.0) for us in net_us]
    times = {index: Ran(graph.operators[index].kind, index, us) for index, us in zip(pieces, net_us, strict=True)}
    return Profile(CUT, covered, explained(times, graph, median_us))


def _quickest(latencies_us: Sequence[float]) -> float:
    """The mean of the quickest quarter: long runs are interrupted more often than short ones, and medians of the two
    could not be compared on a machine that has other work."""
    return statistics.mean(sorted(latencies_us)[: -(-len(latencies_us) // 4)])


def _nearly_nothing() -> bytes:
    """A model whose time is that of calling an interpreter."""
    number = Made((1, 1), "float32")
    return one_operator("ADD", "Add", [number, number, number])


def _multiplied(graph: Graph) -> str:
    """What most multiplications of the model are of."""
    macs: dict[bool, int] = {False: 0, True: 0}
    for cost in operator_costs(graph):
        first = graph.tensors[cost.operator.inputs[0]] if cost.macs and not cost.subgraph else None
        if first is not None:
            macs[first.dtype == "float32"] += cost.macs
    return "float32" if macs[True] > macs[False] else "int8"


def _place(row: OperatorTime, graph: Graph) -> int | None:
    """`benchmark_model` names an operator `[outputs]:index`; what a delegate made has an index of the delegate's."""
    digits = row.name.rpartition(":")[2]
    index = int(digits) if digits.isdecimal() and len(digits) < 6 else -1
    known = 0 <= index < len(graph.operators) and graph.operators[index].kind == row.kind
    return index if known else None
