"""What to put in the place of operators that the Edge TPU does not have, for someone who has the Keras model."""

from __future__ import annotations

FULLY_INT8 = (
    "convert fully to int8: a representative dataset, TFLITE_BUILTINS_INT8 alone, int8 input and output, "
    "as `edgesmith run` does"
)
SHAPE_TYPES = ("int32", "int64", "bool")
UNSUPPORTED = "end the model before it and compute it outside, on what the model gives"

_RELU = "use ReLU or ReLU(max_value=6) in its place"
_SIGMOID = "use Sigmoid times the input (Swish) or ReLU6 in its place"
_ONE_WAY = "use a recurrent layer of one direction, or convolutions over time"
_SIZES = "give every size in keras.Input, with batch_size=1, so that no shape is computed while the model runs"
_DILATED = (
    "give keras.Input batch_size=1: then the dilation stays within the convolution; or use strides and pooling in the "
    "place of dilation_rate"
)
_ATTENTION = "use convolutions or pooling in the place of attention: the Edge TPU multiplies by constant weights only"
_LOOKED_UP = "look the embedding up outside, and feed its vectors; fixed places can be cut out by slices of stride 1"
_MASKED = "use Maximum, Minimum, ReLU, or a multiplication by a mask in the place of comparisons and tf.where"

_REMEDIES: dict[str, str] = {
    **dict.fromkeys(("LEAKY_RELU", "ELU", "RELU_0_TO_1"), f"{_RELU}, or PReLU(shared_axes=[1, 2])"),
    **dict.fromkeys(("HARD_SWISH", "GELU"), _SIGMOID),
    **dict.fromkeys(("SHAPE", "RANK", "FILL", "RANGE", "BROADCAST_TO", "BROADCAST_ARGS"), _SIZES),
    **dict.fromkeys(("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), _DILATED),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN", "TOPK_V2"), "end the model in scores and pick the best of them outside"),
    **dict.fromkeys(("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"), _ONE_WAY),
    "REVERSE_V2": f"of Bidirectional layers: {_ONE_WAY}; of images: turn them outside the model",
    **dict.fromkeys(("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "SVDF"), "use LSTM, or convolutions over time"),
    **dict.fromkeys(
        ("WHILE", "IF", "CALL_ONCE"), "unroll it: RNN layers with unroll=True, no tf.cond, no tf.while_loop"
    ),
    "BATCH_MATMUL": _ATTENTION,
    **dict.fromkeys(("GATHER", "GATHER_ND", "EMBEDDING_LOOKUP"), _LOOKED_UP),
    **dict.fromkeys(("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"), _MASKED),
    **dict.fromkeys(("SELECT", "SELECT_V2", "WHERE", "LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT"), _MASKED),
    **dict.fromkeys(("EXP", "LOG"), "use Sigmoid, Tanh or ReLU in its place; Softplus is made of EXP and LOG"),
    "ADD_N": "add two at a time: keras.layers.Add in the place of tf.add_n",
    "SQRT": "use x * tf.math.rsqrt(x), which runtime 14 has",
    "ONE_HOT": "feed the vector of zeros and a one in the place of its index",
    **dict.fromkeys(("DIV",), "multiply by the reciprocal instead, as a constant"),
    **dict.fromkeys(("POW", "SQUARE"), "multiply the tensor with itself"),
    **dict.fromkeys(("ABS", "NEG"), "use maximum(x, -x) with a multiplication by -1, or ReLU"),
    "SPLIT_V": "use tf.split into equal parts, or slices",
    "UNPACK": "use slices of stride 1 (tf.split) in the place of tf.unstack",
    "MIRROR_PAD": "pad with zeros: ZeroPadding2D",
    "PADV2": "pad with zeros: ZeroPadding2D",
    "DEPTH_TO_SPACE": "use Conv2DTranspose or UpSampling2D in its place",
    "LOG_SOFTMAX": "end the model in logits and take the log-softmax outside",
    "CONV_3D": "use Conv2D over stacked frames",
    "LOCAL_RESPONSE_NORMALIZATION": "use BatchNormalization, which vanishes in the convolution before it",
    "DEQUANTIZE": FULLY_INT8,
    "CAST": f"feed the model in the type that it works on; {FULLY_INT8}",
    "CUSTOM": f"{UNSUPPORTED}; custom operators always run on the CPU",
}

_OF_TYPES: dict[str, str] = {
    # Shapes and indices, calculated while the model runs.
    **dict.fromkeys(SHAPE_TYPES, _SIZES),
    "int16": (
        "convert with int8 activations, not with the 16x8 mode (EXPERIMENTAL_…_INT16_ACTIVATIONS_INT8_WEIGHTS), "
        "nor with layers kept in int16"
    ),
}


def remedy_for_type(dtype: str) -> str:
    """What to do about an operator that works on other types than int8 and uint8."""
    return _OF_TYPES.get(dtype, FULLY_INT8)


_NEWER_VERSIONS: dict[str, str] = {
    # What makes TensorFlow's converter write them (lite/tools/versioning/op_version.cc).
    "CONV_2D": "use Conv2D with groups=1, or SeparableConv2D; or convert with an older TensorFlow",
    "FULLY_CONNECTED": (
        "convert with one scale a dense layer (_experimental_disable_per_channel_quantization_for_dense_layers), or "
        "with an older TensorFlow"
    ),
}


def remedy_for_version(kind: str) -> str:
    """What to do about a newer version of an operator than the compiler reads."""
    return _NEWER_VERSIONS.get(kind, "convert with an older TensorFlow")


def remedy_for(kind: str) -> str:
    """What to do about an operator that the Edge TPU does not have."""
    return _REMEDIES.get(kind, f"put layers that it has in its place (Conv2D, Dense, pooling, ReLU), or {UNSUPPORTED}")
