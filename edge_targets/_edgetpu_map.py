"""Tells, without the compiler, which operators of a `.tflite` the Edge TPU would run.

Each operator is held against the rules (`_edgetpu_table`). Then the compiler's one subgraph is cut out as TensorFlow
Lite's delegates do it (tensorflow/lite/graph_info.cc, PartitionGraphIntoIndependentNodeSubsets): everything that can
be reached before the first operator that is refused. What is refused at the very start, such as the QUANTIZE of a float
input, runs before it on the CPU.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edge_targets._edgetpu_islands import without_borders
from edge_targets._edgetpu_node import Node, Refusal, Status
from edge_targets._edgetpu_table import refusal
from edge_targets._placement import Placement
from edge_targets.tflite_graph import Graph, Operator

EDGETPU, CPU = "edgetpu", "cpu"
COMPILED = "edgetpu-custom-op"
"""The one operator that stands in a compiled model for all that runs on the Edge TPU."""
LATEST_RUNTIME = 14


@dataclass(frozen=True)
class Mapped:
    """Where every operator would run, and what the compiler would say of it.

    Attributes:
        placements: of all operators, in the order of execution, those of loops' and branches' bodies last.
        statuses: what the compiler would say, in the same order.
    """

    placements: tuple[Placement, ...]
    statuses: tuple[Status, ...]

    def counts(self, graph: Graph) -> Counter[tuple[str, str]]:
        """How many operators of each kind run where, of the main subgraph."""
        return Counter((graph.operators[one.index].kind, one.runs_on) for one in self.placements if one.subgraph == 0)


def is_compiled(graph: Graph) -> bool:
    """Whether the compiler has been over it already."""
    return any(operator.custom_code == COMPILED for operator in graph.operators)


def predict(graph: Graph, runtime: int = LATEST_RUNTIME) -> Mapped:
    """Where each operator of a model would run.

    Args:
        graph: the model; one that is compiled already tells for itself.
        runtime: the version of the Edge TPU runtime: 14 is what compiler 16.0 and the last libedgetpu have.

    Raises:
        UnusableModel: a constant's bytes do not fit its shape.
    """
    main = _compiled(graph) if is_compiled(graph) else _mapped(graph, runtime)
    bodies = [
        (Status.UNSUPPORTED, Placement(number, operator.index, CPU, _IN_BODY, _UNROLL))
        for number, body in enumerate(graph.bodies, start=1)
        for operator in body.operators
    ]
    statuses, placements = zip(*main, *bodies, strict=True) if main or bodies else ((), ())
    return Mapped(placements, statuses)


_IN_BODY = "it stands in the body of a loop or a branch, which runs on the CPU"
_UNROLL = "unroll the loop: RNN layers with unroll=True, no tf.cond, no tf.while_loop"
_Told = tuple[Status, Placement]


def _compiled(graph: Graph) -> list[_Told]:
    return [_of_compiled(operator) for operator in graph.operators]


def _of_compiled(operator: Operator) -> _Told:
    if operator.custom_code == COMPILED:
        return Status.MAPPED, Placement(0, operator.index, EDGETPU, "the compiler put it there")
    remedy = "inspect the model from before the compiler: that names the operator which ended the mapping"
    return Status.ONE_SUBGRAPH, Placement(0, operator.index, CPU, "the compiler left it to the CPU", remedy)


def _mapped(graph: Graph, runtime: int) -> list[_Told]:
    refusals = without_borders(graph, [refusal(Node(operator, graph, runtime)) for operator in graph.operators])
    chosen, before = _first_subgraph(graph, refusals)
    blockers = _blockers(graph, refusals, chosen | before)
    return [
        _placed(operator, refusals[operator.index], operator.index in chosen, blockers.get(operator.index))
        for operator in graph.operators
    ]


def _first_subgraph(graph: Graph, refusals: list[Refusal | None]) -> tuple[set[int], set[int]]:
    """The operators of the one subgraph that the Edge TPU gets, and those that run before it."""
    made = {output for operator in graph.operators for output in operator.outputs}
    ready = {tensor.index for tensor in graph.tensors if tensor.index not in made or tensor.is_variable}
    before: set[int] = set()
    if refusals and refusals[0] is not None:
        before = _reachable(graph, ready, [found is not None for found in refusals], before)
    return _reachable(graph, ready, [found is None for found in refusals], before), before


def _reachable(graph: Graph, ready: set[int], wanted: list[bool], done: set[int]) -> set[int]:
    """The wanted operators whose inputs are ready or come from others of them; what they make becomes ready."""
    found = set()
    for operator in graph.operators:
        if wanted[operator.index] and operator.index not in done and ready.issuperset(_inputs(operator)):
            found.add(operator.index)
            ready.update(operator.outputs)
    return found


def _blockers(graph: Graph, refusals: list[Refusal | None], free: set[int]) -> dict[int, Operator]:
    """For each operator that waits for one that is refused: the first such one."""
    maker = {output: operator.index for operator in graph.operators for output in operator.outputs}
    blockers: dict[int, Operator] = {}
    for operator in graph.operators:
        if operator.index in free:
            continue
        if refusals[operator.index] is not None:
            blockers[operator.index] = operator
            continue
        waits = [blockers[maker[index]] for index in _inputs(operator) if maker.get(index) in blockers]
        if waits:
            blockers[operator.index] = min(waits, key=lambda one: one.index)
    return blockers


def _placed(operator: Operator, found: Refusal | None, chosen: bool, blocker: Operator | None) -> _Told:
    if found is not None:
        return found.status, Placement(0, operator.index, CPU, found.why, found.remedy)
    if chosen:
        return Status.MAPPED, Placement(0, operator.index, EDGETPU)
    told = f"operator {blocker.index} ({blocker.custom_code or blocker.kind})" if blocker else "an operator before it"
    why = f"the Edge TPU could run it, but gets one piece of the model only, and {told} ends that piece"
    return Status.ONE_SUBGRAPH, Placement(0, operator.index, CPU, why, f"mend {told}: then this runs there too")


def _inputs(operator: Operator) -> list[int]:
    return [index for index in operator.inputs if index >= 0]
