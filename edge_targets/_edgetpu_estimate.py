"""How long an Edge TPU would take for a model: a calculation, never a measurement. Whatever shows it says `simulated`.

The chip is taken for what its figures say: an array of 64×64 multipliers at 480 MHz (4 TOPS), some 8 MB of memory for
parameters, a link to the host. An operator takes the time of the array or, for most of them longer, that of moving what
flows through it; parameters beyond the memory come over the link on every call. `benchmarks/edgetpu_table.py` prints
what comes out beside the times that Coral publishes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edge_targets.tflite_cost import OperatorCost, operator_costs
from edge_targets.tflite_graph import Graph, Tensor, weight_places

if TYPE_CHECKING:
    from edge_targets._edgetpu_map import Mapped

ARRAY = 64
"""Rows and columns of multipliers."""
CLOCK_HZ = 480e6
DEPTHWISE_MACS = 128
"""A cycle. The array multiplies channels with channels, and a depthwise kernel fills little of it; fitted."""
ACTIVATION_BYTES_PER_S = 10.7e9
"""On the chip, fitted to SqueezeNet's published time, which has no other unknown."""
LINK_BYTES_PER_S: Mapping[str, float] = {"usb3": 440e6, "usb2": 40e6}
"""usb3: VGG19 has 5.3 MB more than VGG16 to stream, and is published with 12 ms more."""
UPLOAD_BYTES_PER_S = 314e6
"""Of parameters, in the first call: 4 MiB in 13.4 ms."""
CALL_S = 0.27e-3
"""No call is quicker, whatever it calculates."""
ON_CHIP_BYTES = int(7.7 * 2**20)
CPU_MACS_PER_S = 21.8e9
CPU_VALUES_PER_S = 0.38e9
"""The two come from the published times of MobileNet V1 and V2 on a desktop processor."""

# They change a shape and move nothing.
_FREE = frozenset({"RESHAPE", "EXPAND_DIMS", "SQUEEZE"})
# A count beyond this is no model's, and would not fit into a float.
_MOST = 2**62


@dataclass(frozen=True)
class Parts:
    """Of one call, in µs.

    Attributes:
        call_us: the floor of any call.
        link_us: inputs to the chip and outputs back.
        stream_us: parameters that do not fit on the chip.
        array_us: multiplying.
        memory_us: moving activations on the chip.
        cpu_us: the operators that stay on the processor.
    """

    call_us: float
    link_us: float
    stream_us: float
    array_us: float
    memory_us: float
    cpu_us: float


@dataclass(frozen=True)
class Estimate:
    """What is calculated of a model.

    Attributes:
        parts: where the time of a call goes.
        parameters_bytes: of the operators on the chip.
        streamed_bytes: those of them that come over the link on every call.
    """

    parts: Parts
    parameters_bytes: int
    streamed_bytes: int

    @property
    def total_us(self) -> float:
        """One call."""
        return float(sum(asdict(self.parts).values()))

    @property
    def first_us(self) -> float:
        """The first call, which also brings the parameters that stay on the chip."""
        return self.total_us + _us(self.parameters_bytes - self.streamed_bytes, UPLOAD_BYTES_PER_S)


def estimate(graph: Graph, mapped: Mapped, link: str = "usb3") -> Estimate:
    """Calculate how long a call takes.

    Args:
        graph: the model, from before the compiler.
        mapped: where its operators run.
        link: how the chip is connected, a key of `LINK_BYTES_PER_S`.
    """
    costs = operator_costs(graph)
    on_chip = [cost for cost, one in zip(costs, mapped.placements, strict=True) if one.runs_on != "cpu"]
    on_cpu = [cost for cost, one in zip(costs, mapped.placements, strict=True) if one.runs_on == "cpu"]
    parameters_bytes = sum(cost.bytes for cost in on_chip)
    streamed_bytes = max(0, parameters_bytes - ON_CHIP_BYTES)
    rate = LINK_BYTES_PER_S[link]
    parts = Parts(
        call_us=CALL_S * 1e6 if on_chip else 0.0,
        link_us=_us(_crossing_bytes(graph, on_chip), rate),
        stream_us=_us(streamed_bytes, rate),
        array_us=_us(sum(_cycles(graph, cost) for cost in on_chip), CLOCK_HZ),
        memory_us=_us(sum(_moved(graph, cost) for cost in on_chip), ACTIVATION_BYTES_PER_S),
        cpu_us=sum(_cpu_us(graph, cost) for cost in on_cpu),
    )
    return Estimate(parts, parameters_bytes, streamed_bytes)


def _cycles(graph: Graph, cost: OperatorCost) -> int:
    """Cycles of the array."""
    if cost.operator.kind == "DEPTHWISE_CONV_2D":
        return cost.macs // DEPTHWISE_MACS
    weights = [
        graph.tensors[cost.operator.inputs[place]]
        for place in weight_places(cost.operator)
        if place < len(cost.operator.inputs) and cost.operator.inputs[place] >= 0
    ]
    size = sum(tensor.size for tensor in weights)
    passes = cost.macs // size if size else 0
    return passes * sum(map(_tiles, weights))


def _tiles(weights: Tensor) -> int:
    """How often the array is filled to multiply once with each weight, (outputs, ..., inputs)."""
    if not weights.shape:
        return 1
    first, *between, last = weights.shape if len(weights.shape) > 1 else (1, *weights.shape)
    return math.ceil(first / ARRAY) * math.prod(between) * math.ceil(last / ARRAY)


def _moved(graph: Graph, cost: OperatorCost) -> int:
    """Values that flow through an operator, in and out."""
    if cost.operator.kind in _FREE:
        return 0
    inputs = [graph.tensors[index] for index in cost.operator.inputs if index >= 0]
    outputs = [graph.tensors[index] for index in cost.operator.outputs]
    return sum(tensor.size for tensor in (*inputs, *outputs) if tensor.data is None)


def _crossing_bytes(graph: Graph, on_chip: list[OperatorCost]) -> int:
    """What goes to the chip and comes back: everything that its operators share with others or with the outside."""
    made = {index for cost in on_chip for index in cost.operator.outputs}
    read = {index for cost in on_chip for index in cost.operator.inputs if index >= 0}
    places = {cost.operator.index for cost in on_chip}
    others = {index for one in graph.operators if one.index not in places for index in one.inputs}
    crossing = {index for index in read - made if graph.tensors[index].data is None}
    crossing |= made & (others | set(graph.outputs))
    tensors = (graph.tensors[index] for index in crossing)
    return sum(tensor.size * max(tensor.bits, 8) // 8 for tensor in tensors if not tensor.is_variable)


def _cpu_us(graph: Graph, cost: OperatorCost) -> float:
    subgraph = graph.subgraphs()[cost.subgraph]
    return _us(cost.macs, CPU_MACS_PER_S) + _us(_moved(subgraph, cost), CPU_VALUES_PER_S)


def _us(count: int, per_s: float) -> float:
    return min(count, _MOST) / per_s * 1e6
