"""What TensorFlow Lite Micro has kernels for, and for which types: decided from a graph, without running it.

The tables are what the package tflite-micro 0.dev20261023182759 answers when it is asked for each operator in turn
(`tests/edge_targets/test_tflm.py` asks it again); a firmware may register fewer of them.
"""

from __future__ import annotations

from edge_targets._mcu_remedies import FULLY_INT8, remedy_for
from edge_targets.tflite_graph import Graph, Operator, Tensor, weight_places

_BUILTIN = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER
GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND
LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD
PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH
SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV
UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
KERNELS = frozenset(_BUILTIN.split())
_CUSTOM = """
CIRCULAR_BUFFER TFLite_Detection_PostProcess SignalDelay SignalEnergy SignalFftAutoScale SignalFilterBank
SignalFilterBankLog SignalFilterBankSpectralSubtraction SignalFilterBankSquareRoot SignalFramer SignalIrfft
SignalOverlapAdd SignalPCAN SignalRfft SignalStacker SignalWindow
"""
CUSTOM_KERNELS = frozenset(_CUSTOM.split())
_TAKES_UINT8 = frozenset(("QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE", "SQUEEZE", "IF", "WHILE", "CALL_ONCE"))
_WITHOUT_INT16 = """
BATCH_TO_SPACE_ND EXP GATHER L2_NORMALIZATION LOG MIRROR_PAD PRELU REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR
SPACE_TO_BATCH_ND
"""
NO_INT16 = frozenset(_WITHOUT_INT16.split())
# Types that none of its kernels computes with.
_NEVER = frozenset(("float16", "float64", "bfloat16", "complex64", "complex128", "string", "variant", "uint64"))
_FLOATS = ("float32", "float16", "bfloat16")
# FILL and these take their sizes from a constant: nothing is allocated while the model runs.
_CONSTANT_SIZES = {"FILL": 0, "RESHAPE": 1, "BROADCAST_TO": 1, "RESIZE_BILINEAR": 1, "RESIZE_NEAREST_NEIGHBOR": 1}


def why_no_kernel(graph: Graph, operator: Operator) -> tuple[str, str] | None:
    """Why TFLM cannot run an operator, and what would mend it; None where it can, as far as a graph tells."""
    name = operator.custom_code or operator.kind
    known = operator.custom_code in CUSTOM_KERNELS if operator.kind == "CUSTOM" else operator.kind in KERNELS
    computed = [graph.tensors[index] for index in (*operator.inputs[:1], *operator.outputs[:1]) if index >= 0]
    if not known:
        # What calculates with sizes is gone once they are given.
        of_sizes = bool(computed) and all(tensor.dtype in ("int32", "int64", "bool") for tensor in computed)
        remedy = remedy_for("SHAPE" if of_sizes else operator.kind)
        return f"TensorFlow Lite Micro has no kernel for {name}", remedy
    of_types = _of_types(operator.kind, computed) or _of_weights(graph, operator)
    return of_types or _in_four_bits(graph, operator) or _of_sizes(graph, operator)


def _of_types(kind: str, tensors: list[Tensor]) -> tuple[str, str] | None:
    for tensor in tensors:
        if tensor.dtype in _NEVER:
            return f"TensorFlow Lite Micro does not compute with {tensor.dtype} ('{tensor.name}')", FULLY_INT8
        if tensor.dtype == "uint8" and kind not in _TAKES_UINT8:
            return f"its kernel in TensorFlow Lite Micro takes int8, and '{tensor.name}' is uint8", FULLY_INT8
        if tensor.dtype == "int16" and kind in NO_INT16:
            return f"its kernel in TensorFlow Lite Micro takes no int16 ('{tensor.name}')", FULLY_INT8
    return None


def _of_weights(graph: Graph, operator: Operator) -> tuple[str, str] | None:
    """Float data with integer weights: what `dynamic range` quantization makes."""
    data = graph.tensors[operator.inputs[0]] if operator.inputs and operator.inputs[0] >= 0 else None
    if data is None or data.dtype not in _FLOATS or operator.kind == "EMBEDDING_LOOKUP":
        return None
    places = [place for place in weight_places(operator) if place < len(operator.inputs) and place > 0]
    weights = [graph.tensors[operator.inputs[place]] for place in places if operator.inputs[place] >= 0]
    stored = next((one for one in weights if one.dtype not in _FLOATS), None)
    if stored is None:
        return None
    why = f"it takes floats and {stored.dtype} weights: TensorFlow Lite Micro has no such hybrid kernels"
    return why, FULLY_INT8


def _in_four_bits(graph: Graph, operator: Operator) -> tuple[str, str] | None:
    if operator.kind != "FULLY_CONNECTED" or len(operator.inputs) < 2 or operator.inputs[1] < 0:
        return None
    weights = graph.tensors[operator.inputs[1]]
    if weights.dtype != "int4" or len(weights.scales) < 2:
        return None
    why = "its int4 weights have a scale for each channel, which TensorFlow Lite Micro takes of convolutions alone"
    return why, "give each weight one scale (`granularity: per_tensor`), or convert to int8"


def _of_sizes(graph: Graph, operator: Operator) -> tuple[str, str] | None:
    place = _CONSTANT_SIZES.get(operator.kind)
    if place is None or place >= len(operator.inputs) or operator.inputs[place] < 0:
        return None
    if graph.tensors[operator.inputs[place]].data is not None or operator.kind == "RESHAPE":
        return None
    return "its size is computed while the model runs, and memory is laid out before", remedy_for("SHAPE")
