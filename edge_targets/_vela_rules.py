"""What Vela places on an Ethos-U55 or U65: decided from a graph, without Vela.

From `vela --supported-ops-report` of Vela 5.2.0, "Ethos-U55 and Ethos-U65 TFLite": the table of operators and the
constraints that a model from Keras can break. Where Vela is installed it is asked, and has the last word.
"""

from __future__ import annotations

from edge_targets._mcu_remedies import FULLY_INT8, remedy_for
from edge_targets.tflite_graph import Graph, Operator, Tensor

_OPERATORS = """
ABS ADD ARG_MAX AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION CONV_2D DEPTHWISE_CONV_2D ELU EXP EXPAND_DIMS
FULLY_CONNECTED GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD
PADV2 PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RSQRT SLICE SOFTMAX SPLIT SPLIT_V SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM
TANH TILE TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK
"""
OPERATORS = frozenset(_OPERATORS.split())
# All others say "32-bit feature-maps are not supported."
_WIDE = """
ADD ARG_MAX BATCH_MATMUL EXPAND_DIMS FULLY_CONNECTED MIRROR_PAD MUL NEG RESHAPE SQUEEZE SUB SUM TRANSPOSE
"""
_TAKES_INT32 = frozenset(_WIDE.split())
_TYPES = frozenset(("int8", "uint8", "int16", "int32", "int64"))
_UNQUANTIZED = frozenset(["ARG_MAX", "EXPAND_DIMS", "MIRROR_PAD", "PAD", "PADV2", "QUANTIZE", "TRANSPOSE"])
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_RESIZES = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
_FACTORS = (2, 4, 8)
_MOST_AXES = 8
# Whose data is not their first input.
_DATA = {"SPLIT": 1, "TRANSPOSE_CONV": 2}
_DYNAMIC = "give every size in keras.Input, so that no shape is computed while the model runs"
_Why = tuple[str, str] | None


def why_not_compiled(graph: Graph) -> tuple[str, str] | None:
    """Why Vela takes nothing of a model, and what would mend it: on int4 it ends with SIGFPE."""
    narrow = [tensor.name for part in graph.subgraphs() for tensor in part.tensors if tensor.dtype == "int4"]
    return (f"Vela compiles no model with int4 in it ('{narrow[0]}')", FULLY_INT8) if narrow else None


def why_not_on_npu(graph: Graph, operator: Operator) -> tuple[str, str] | None:
    """Why an operator stays on the processor, and what would mend it; None where it does not, as far as is known."""
    name = operator.custom_code or operator.kind
    if operator.kind not in OPERATORS:
        return f"Ethos-U has no {name}", remedy_for(operator.kind)
    if not operator.outputs or _data(operator) < 0:
        return "it has no input or no output", remedy_for(operator.kind)
    maps = _feature_maps(graph, operator)
    rules = (_sizes(maps), _types(operator.kind, maps), _quantized(operator.kind, maps))
    return next((one for one in rules if one), None) or _specific(graph, operator, maps)


def _feature_maps(graph: Graph, operator: Operator) -> list[Tensor]:
    """What it computes from and what it gives."""
    return [graph.tensors[_data(operator)]] + [graph.tensors[index] for index in operator.outputs]


def _data(operator: Operator) -> int:
    """The tensor that it computes from; -1 where it has none."""
    place = _DATA.get(operator.kind, 0)
    return operator.inputs[place] if place < len(operator.inputs) else -1


def _sizes(maps: list[Tensor]) -> _Why:
    for tensor in maps:
        if any(place > 0 for place in tensor.open_dimensions):
            return f"'{tensor.name}' has an open size beyond its batch", _DYNAMIC
        if not tensor.shape:
            return f"'{tensor.name}' has no shape", _DYNAMIC
    return None


def _types(kind: str, maps: list[Tensor]) -> _Why:
    for tensor in maps:
        if tensor.dtype not in _TYPES:
            return f"Ethos-U works on int8, and '{tensor.name}' is {tensor.dtype}", FULLY_INT8
    inputs = maps[0].dtype
    if inputs == "int64" or (inputs == "int32" and kind not in _TAKES_INT32):
        # Most of them are shapes.
        return f"its {inputs} input '{maps[0].name}' is too wide for Ethos-U", _DYNAMIC
    return None


def _quantized(kind: str, maps: list[Tensor]) -> _Why:
    if kind in _UNQUANTIZED:
        return None
    for tensor in maps:
        if not tensor.scales:
            return f"'{tensor.name}' has no quantization", FULLY_INT8
        if any(not scale > 0 for scale in tensor.scales):
            return f"'{tensor.name}' has a scale that is not positive", FULLY_INT8
        if len(tensor.scales) > 1:
            return f"'{tensor.name}' is quantized by channel, which only weights may be", FULLY_INT8
    return None


def _specific(graph: Graph, operator: Operator, maps: list[Tensor]) -> _Why:
    if operator.kind in _WEIGHTED:
        return _weights(graph, operator)
    if operator.kind in _RESIZES:
        return _resize(operator, maps[0], maps[1])
    if operator.kind == "MEAN":
        return _mean(graph, operator, maps[0])
    return None


def _weights(graph: Graph, operator: Operator) -> _Why:
    weights = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 and operator.inputs[1] >= 0 else None
    if weights is not None and weights.dtype not in ("int8", "uint8"):
        return f"its weights are {weights.dtype}, and Ethos-U takes 8 bits", FULLY_INT8
    return None


def _resize(operator: Operator, taken: Tensor, given: Tensor) -> _Why:
    if len(taken.shape) != 4 or len(given.shape) != 4:
        return "Ethos-U resizes pictures of four dimensions only", remedy_for(operator.kind)
    before, after = taken.shape[1:3], given.shape[1:3]
    if before in ((1, 1), after):
        return None
    less = 1 if operator.options.get("AlignCorners") else 0
    sides = [(a - less, b - less) for a, b in zip(before, after, strict=True)]
    factors = {b / a if a > 0 else 0.0 for a, b in sides}
    allowed = (2,) if operator.options.get("HalfPixelCenters") else _FACTORS
    if len(factors) == 1 and factors <= set(map(float, allowed)):
        return None
    told = " or ".join(map(str, allowed))
    return f"Ethos-U resizes both sides by {told}, and not {before} to {after}", remedy_for(operator.kind)


def _mean(graph: Graph, operator: Operator, taken: Tensor) -> _Why:
    axes = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 and operator.inputs[1] >= 0 else None
    if axes is None or axes.data is None:
        return "the axes of its mean are computed while the model runs", _DYNAMIC
    if taken.shape[0] != 1 and len(taken.shape) == 4:
        return f"it takes a mean of a batch of {taken.shape[0]}", "convert with batch 1"
    depth = len(taken.shape) - 1
    if axes.size > _MOST_AXES or 1 in taken.shape[1:] or depth not in {axis % (depth + 1) for axis in _listed(axes)}:
        return None
    return "it takes a mean over channels, with height and width above 1", "take the mean over height and width first"


def _listed(axes: Tensor) -> list[int]:
    return [int(axis) for axis in axes.values().reshape(-1)]
