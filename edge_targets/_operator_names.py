"""Which operator of a model a runtime speaks of, where it tells the time of what it made of the model.

XNNPACK runs the graph in its order, but cuts it its own way: weights become part of an operator, some operators need a
step before them, and a padding may be taken into the convolution behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_targets.tflite_cost import operator_costs
from edge_targets.tflite_graph import Graph

MOST_PAIRS = 4_000_000
"""Of a runtime's operators and the graph's: some seconds."""


@dataclass(frozen=True)
class Ran:
    """An operator as the runtime tells of it.

    Attributes:
        kind: its own word for it.
        index: of the operator in the graph, or None where a delegate made it.
        us: the time of one inference.
        calls: how often it is called in an inference.
        subgraph: which of the graph's subgraphs it is in; 0 is the main one.
    """

    kind: str
    index: int | None
    us: float
    calls: int = 1
    subgraph: int = 0


_POOLED = ("AVERAGE_POOL_2D", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")
_RESHAPED = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE")
_KINDS: dict[str, tuple[str, ...]] = {
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    # A convolution of one place is one.
    **dict.fromkeys(("Fully Connected", "Dynamic Fully Connected"), ("FULLY_CONNECTED", "CONV_2D")),
    "Batch Matrix Multiply": ("BATCH_MATMUL",),
    "Max Pooling": ("MAX_POOL_2D",),
    **dict.fromkeys(("Average Pooling", "Mean", "Sum", "Reduce Max", "Reduce Min"), _POOLED),
    "Add": ("ADD",),
    "Subtract": ("SUB",),
    "Multiply": ("MUL",),
    "Divide": ("DIV",),
    "Maximum": ("MAXIMUM",),
    "Minimum": ("MINIMUM",),
    "Squared Difference": ("SQUARED_DIFFERENCE",),
    "Softmax": ("SOFTMAX",),
    "Sigmoid": ("LOGISTIC",),
    "TanH": ("TANH",),
    "HardSwish": ("HARD_SWISH",),
    "LeakyReLU": ("LEAKY_RELU",),
    "PReLU": ("PRELU",),
    "ELU": ("ELU",),
    "GELU": ("GELU",),
    "ApproxGELU": ("GELU",),
    "Exp": ("EXP",),
    "Abs": ("ABS",),
    "Negate": ("NEG",),
    "Square Root": ("SQRT",),
    "Reciprocal Square Root": ("RSQRT",),
    "Clamp": ("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1"),
    "Constant Pad": ("PAD", "PADV2"),
    "Resize Bilinear": ("RESIZE_BILINEAR",),
    "Slice": ("SLICE", "STRIDED_SLICE", "SPLIT"),
    "Transpose": ("TRANSPOSE",),
    "Depth To Space": ("DEPTH_TO_SPACE",),
    "Space To Depth": ("SPACE_TO_DEPTH",),
    "Convert": ("QUANTIZE", "DEQUANTIZE"),
    **dict.fromkeys(("Static Reshape", "Static Expand Dims", "Fuse Dims", "Split Dims"), _RESHAPED),
    "Copy": (*_RESHAPED, "CONCATENATION"),
}
"""XNNPACK's names without their types (`Convolution (NHWC, QC8)`), and what they can be made of."""

_WEIGHS = {"Convolution", "Deconvolution", "Fully Connected", "Dynamic Fully Connected", "Batch Matrix Multiply"}


def assigned(ran: Sequence[Ran], graph: Graph) -> dict[int, Ran] | None:
    """The graph's operators, each with the time of all that the runtime made of it.

    Args:
        ran: in the order they ran.
        graph: the model.

    Returns:
        By the operator's index; operators that became part of others are not in it. None where the two do not fit
        together: what has weights in one must be found in the other.
    """
    found = _pairs(ran, graph)
    if not found:
        return None
    taken = set(found.values())
    needed = {cost.operator.index for cost in operator_costs(graph) if cost.macs and not cost.subgraph}
    heavy = {place for place, each in enumerate(ran) if each.index is None and _name(each) in _WEIGHS}
    if not needed <= taken or not heavy <= found.keys():
        return None
    times: dict[int, Ran] = {}
    for place, each in enumerate(ran):
        index = found.get(place)
        if index is None:
            index = _neighbour(place, found)
        before = times.get(index)
        us = each.us + (before.us if before else 0.0)
        times[index] = Ran(graph.operators[index].kind, index, us, max(each.calls, before.calls if before else 1))
    return dict(sorted(times.items()))


def _neighbour(place: int, found: dict[int, int]) -> int:
    """A step that no operator of the graph stands for prepares the next one; at the end it finishes the last."""
    later = [other for other in found if other > place]
    return found[min(later)] if later else found[max(found)]


def _pairs(ran: Sequence[Ran], graph: Graph) -> dict[int, int]:
    """The place of each of the runtime's operators, to the graph's: the heaviest common sequence of the two."""
    operators = graph.operators
    if len(ran) * len(operators) > MOST_PAIRS:
        return {}
    gains = [[_gain(each, operator.kind, operator.index) for operator in operators] for each in ran]
    # best[place][index]: what the pairs from there on are worth at most.
    best = [[0] * (len(operators) + 1) for _ in range(len(ran) + 1)]
    for place in reversed(range(len(ran))):
        for index in reversed(range(len(operators))):
            paired = gains[place][index] and gains[place][index] + best[place + 1][index + 1]
            best[place][index] = max(best[place + 1][index], best[place][index + 1], paired)
    pairs: dict[int, int] = {}
    place = index = 0
    while place < len(ran) and index < len(operators):
        gain = gains[place][index]
        if gain and best[place][index] == gain + best[place + 1][index + 1]:
            pairs[place] = index
            place, index = place + 1, index + 1
        elif best[place][index] == best[place + 1][index]:
            place += 1
        else:
            index += 1
    return pairs


def _gain(each: Ran, kind: str, index: int) -> int:
    """What it is worth to say that the two are the same: 0 where they cannot be. Weights count for more."""
    if each.index is not None:
        return 8 if each.index == index and each.kind == kind else 0
    if kind not in _KINDS.get(_name(each), ()):
        return 0
    return 8 if _name(each) in _WEIGHS else 1


def _name(each: Ran) -> str:
    return each.kind.partition(" (")[0]
