"""What to put in the place of operators that a microcontroller does not have, for someone with the Keras model."""

from __future__ import annotations

FULLY_INT8 = (
    "convert fully to int8: a representative dataset, TFLITE_BUILTINS_INT8 alone, int8 input and output, "
    "as `edgesmith run` does"
)
_SIZES = "give every size in keras.Input, with batch_size=1, so that no shape is computed while the model runs"
_OUTSIDE = "end the model before it and compute it outside, on what the model gives"
_REMEDIES: dict[str, str] = {
    **dict.fromkeys(("SHAPE", "RANK", "FILL", "RANGE", "BROADCAST_TO", "BROADCAST_ARGS"), _SIZES),
    **dict.fromkeys(
        ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"),
        "give keras.Input batch_size=1: then the dilation stays within the convolution; or use strides and pooling",
    ),
    **dict.fromkeys(
        ("GATHER", "GATHER_ND", "EMBEDDING_LOOKUP"),
        "look the embedding up outside, and feed its vectors; or use slices",
    ),
    **dict.fromkeys(
        ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "SELECT_V2", "WHERE"),
        "use Maximum, Minimum, ReLU, or a multiplication by a mask in the place of comparisons and tf.where",
    ),
    "ADD_N": "add two at a time: keras.layers.Add in the place of tf.add_n",
    "DEPTH_TO_SPACE": "use Conv2DTranspose or UpSampling2D in its place",
    "SQRT": "use x * tf.math.rsqrt(x)",
    "DIV": "multiply by the reciprocal instead, as a constant",
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE", "CAST"), FULLY_INT8),
    **dict.fromkeys(
        ("LSTM", "RNN", "UNIDIRECTIONAL_SEQUENCE_RNN"), "use keras.layers.LSTM of one direction, or Conv1D"
    ),
    **dict.fromkeys(
        ("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"), "use an LSTM of one direction, or Conv1D"
    ),
    **dict.fromkeys(("RELU_N1_TO_1", "RELU_0_TO_1", "GELU"), "use ReLU or ReLU(max_value=6) in its place"),
    **dict.fromkeys(("CONV_3D", "CONV_3D_TRANSPOSE"), "use Conv2D over stacked frames"),
    **dict.fromkeys(("TOPK_V2", "ARG_MAX", "ARG_MIN"), "end the model in scores and pick the best of them outside"),
    **dict.fromkeys(
        ("WHILE", "IF", "CALL_ONCE"), "unroll it: RNN layers with unroll=True, no tf.cond, no tf.while_loop"
    ),
    **dict.fromkeys(
        ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), "resize by 2, 4 or 8 (UpSampling2D), several times if need be"
    ),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "use ReLU, or clip both sides to the same range before it"),
    "SELECT": "use tf.where on newer versions (SELECT_V2), or a multiplication by a mask",
    "TILE": "repeat by Concatenate or UpSampling2D",
    "POW": "multiply the tensor with itself",
    "LOCAL_RESPONSE_NORMALIZATION": "use BatchNormalization, which vanishes in the convolution before it",
    "CUSTOM": f"{_OUTSIDE}; a custom operator needs a kernel of your own in the firmware",
}


def remedy_for(kind: str) -> str:
    """What to do about an operator that is not there."""
    return _REMEDIES.get(kind, f"put layers that it has in its place (Conv2D, Dense, pooling, ReLU), or {_OUTSIDE}")
