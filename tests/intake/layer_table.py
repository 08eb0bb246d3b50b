"""Every layer that Keras 3 and tf_keras share: how to build it, with the settings that matter, and on what input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A layer is built by a function of `keras.layers`, because Keras is not imported where a test module is.
Build = Callable[[Any], Any]

IMAGE, VIDEO, SERIES, ROW, IDS = (6, 7, 4), (5, 6, 7, 2), (8, 4), (5,), (6,)


@dataclass(frozen=True)
class Case:
    """One way to build a layer.

    Attributes:
        build: builds it.
        shapes: of its inputs, without the batch.
        dtype: of its inputs.
        as_list: whether the inputs go in as one list; else one by one.
    """

    build: Build
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"
    as_list: bool = True


def on(shape: tuple[int, ...], *builds: Build, dtype: str = "float32") -> list[Case]:
    """Ways to build a layer of one input."""
    return [Case(build, (shape,), dtype) for build in builds]


def joining(*builds: Build, shapes: tuple[tuple[int, ...], ...] = (IMAGE, IMAGE)) -> list[Case]:
    """Ways to build a layer that takes a list of inputs."""
    return [Case(build, shapes) for build in builds]


def called(*builds: Build, shapes: tuple[tuple[int, ...], ...]) -> list[Case]:
    """Ways to build a layer that takes several inputs one by one."""
    return [Case(build, shapes, as_list=False) for build in builds]


def _global_pools() -> dict[str, list[Case]]:
    return {
        f"Global{kind}Pooling{n}D": on(shape, *_keeping(f"Global{kind}Pooling{n}D"))
        for kind in ("Average", "Max")
        for n, shape in ((1, SERIES), (2, IMAGE), (3, VIDEO))
    }


def _keeping(name: str) -> tuple[Build, Build]:
    return lambda k: getattr(k, name)(), lambda k: getattr(k, name)(keepdims=True)


def _pools() -> dict[str, list[Case]]:
    return {
        f"{kind}Pooling{n}D": on(shape, *_pooling(f"{kind}Pooling{n}D"))
        for kind in ("Average", "Max")
        for n, shape in ((1, SERIES), (2, IMAGE), (3, VIDEO))
    }


def _pooling(name: str) -> tuple[Build, ...]:
    return (
        lambda k: getattr(k, name)(2),
        lambda k: getattr(k, name)(3, strides=1, padding="same"),
        lambda k: getattr(k, name)(2, strides=3),
    )


def _quiet(name: str, *args: Any) -> Build:
    return lambda k: getattr(k, name)(*args)


LAYERS: dict[str, list[Case]] = {
    "Activation": on(
        ROW,
        *(_quiet("Activation", name) for name in ("elu", "exponential", "gelu", "hard_sigmoid", "hard_silu")),
        *(_quiet("Activation", name) for name in ("leaky_relu", "linear", "log_softmax", "mish", "relu", "relu6")),
        *(_quiet("Activation", name) for name in ("selu", "sigmoid", "silu", "softmax", "softplus", "softsign")),
        *(_quiet("Activation", name) for name in ("tanh", "hard_swish", "swish")),
    ),
    "ActivityRegularization": on(ROW, lambda k: k.ActivityRegularization(l1=0.1, l2=0.2)),
    "Add": joining(lambda k: k.Add()),
    "AdditiveAttention": joining(
        lambda k: k.AdditiveAttention(),
        lambda k: k.AdditiveAttention(use_scale=False),
        shapes=((3, 4), (8, 4)),
    ),
    "AlphaDropout": on(ROW, _quiet("AlphaDropout", 0.4)),
    "Attention": joining(
        lambda k: k.Attention(),
        lambda k: k.Attention(use_scale=True, score_mode="concat"),
        shapes=((3, 4), (8, 4)),
    ),
    "Average": joining(lambda k: k.Average()),
    "BatchNormalization": [
        *on(
            IMAGE,
            lambda k: k.BatchNormalization(),
            lambda k: k.BatchNormalization(scale=False, center=False, epsilon=0.1, momentum=0.5),
            lambda k: k.BatchNormalization(axis=2),
            lambda k: k.BatchNormalization(renorm=True),
            lambda k: k.BatchNormalization(gamma_regularizer="l2", beta_constraint="non_neg"),
        ),
        *on(ROW, lambda k: k.BatchNormalization(center=False)),
    ],
    "Bidirectional": on(
        SERIES,
        lambda k: k.Bidirectional(k.LSTM(3)),
        lambda k: k.Bidirectional(k.GRU(3, return_sequences=True), merge_mode="sum"),
        lambda k: k.Bidirectional(k.LSTM(3), backward_layer=k.GRU(3, go_backwards=True)),
        lambda k: k.Bidirectional(k.SimpleRNN(3, return_sequences=True), merge_mode="ave"),
    ),
    "CategoryEncoding": [
        *on((1,), lambda k: k.CategoryEncoding(8, output_mode="one_hot"), dtype="int32"),
        *on(IDS, lambda k: k.CategoryEncoding(8, output_mode="multi_hot"), dtype="int32"),
    ],
    "CenterCrop": on(IMAGE, lambda k: k.CenterCrop(4, 3)),
    "Concatenate": joining(
        lambda k: k.Concatenate(), lambda k: k.Concatenate(axis=3), shapes=(IMAGE, (6, 7, 2), IMAGE)
    ),
    "Conv1D": on(
        SERIES,
        lambda k: k.Conv1D(3, 3, activation="relu"),
        lambda k: k.Conv1D(3, 2, padding="causal", dilation_rate=2),
        lambda k: k.Conv1D(4, 3, strides=2, padding="same", groups=2, use_bias=False),
        lambda k: k.Conv1D(3, 1, activation=k.LeakyReLU(negative_slope=0.2)),
    ),
    "Conv1DTranspose": on(
        SERIES,
        lambda k: k.Conv1DTranspose(3, 3),
        lambda k: k.Conv1DTranspose(3, 3, strides=2, padding="same", activation="silu"),
        lambda k: k.Conv1DTranspose(3, 3, dilation_rate=2, use_bias=False),
    ),
    "Conv2D": on(
        IMAGE,
        lambda k: k.Conv2D(3, 3, activation="relu6"),
        lambda k: k.Conv2D(4, (2, 3), strides=2, padding="same", groups=2),
        lambda k: k.Conv2D(3, 3, dilation_rate=(1, 2), use_bias=False, activation="hard_silu"),
        lambda k: k.Conv2D(3, 3, kernel_regularizer="l2", kernel_constraint="max_norm", bias_initializer="ones"),
    ),
    "Conv2DTranspose": on(
        IMAGE,
        lambda k: k.Conv2DTranspose(3, 3),
        lambda k: k.Conv2DTranspose(3, (2, 3), strides=2, padding="same", activation="tanh"),
        lambda k: k.Conv2DTranspose(3, 3, strides=2, output_padding=1, use_bias=False),
    ),
    "Conv3D": on(
        VIDEO,
        lambda k: k.Conv3D(3, 2),
        lambda k: k.Conv3D(2, 2, strides=2, padding="same", use_bias=False, activation="selu"),
    ),
    "Conv3DTranspose": on(
        VIDEO,
        lambda k: k.Conv3DTranspose(3, 2),
        lambda k: k.Conv3DTranspose(2, 2, strides=2, padding="same", use_bias=False),
    ),
    "ConvLSTM1D": on(
        (3, 6, 2),
        lambda k: k.ConvLSTM1D(2, 3),
        lambda k: k.ConvLSTM1D(2, 3, padding="same", return_sequences=True, go_backwards=True),
    ),
    "ConvLSTM2D": on(
        (3, 5, 5, 2),
        lambda k: k.ConvLSTM2D(2, 3),
        lambda k: k.ConvLSTM2D(2, 2, strides=2, use_bias=False, return_sequences=True),
    ),
    "ConvLSTM3D": on((2, 4, 4, 4, 1), lambda k: k.ConvLSTM3D(2, 2)),
    "Cropping1D": on(SERIES, lambda k: k.Cropping1D((1, 2))),
    "Cropping2D": on(IMAGE, lambda k: k.Cropping2D(((1, 2), (0, 1)))),
    "Cropping3D": on(VIDEO, lambda k: k.Cropping3D((1, 2, 1))),
    "Dense": [
        *on(
            ROW,
            lambda k: k.Dense(3),
            lambda k: k.Dense(3, activation="softmax", use_bias=False),
            lambda k: k.Dense(3, activation="hard_sigmoid"),
            lambda k: k.Dense(3, activation="gelu", kernel_initializer="he_normal"),
        ),
        *on(SERIES, lambda k: k.Dense(2, activation="mish")),
    ],
    "DepthwiseConv1D": on(
        SERIES,
        lambda k: k.DepthwiseConv1D(3),
        lambda k: k.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2, use_bias=False),
    ),
    "DepthwiseConv2D": on(
        IMAGE,
        lambda k: k.DepthwiseConv2D(3, activation="relu"),
        lambda k: k.DepthwiseConv2D((2, 3), padding="same", depth_multiplier=2, use_bias=False),
        lambda k: k.DepthwiseConv2D(3, strides=2),
        lambda k: k.DepthwiseConv2D(2, dilation_rate=2),
    ),
    "Discretization": on(
        ROW,
        lambda k: k.Discretization(bin_boundaries=[-0.5, 0.0, 0.7]),
        lambda k: k.Discretization(bin_boundaries=[-0.5, 0.7], output_mode="multi_hot"),
    ),
    "Dot": joining(lambda k: k.Dot(axes=2), lambda k: k.Dot(axes=(2, 2), normalize=True), shapes=((3, 4), (8, 4))),
    "Dropout": on(ROW, _quiet("Dropout", 0.4), lambda k: k.Dropout(0.3, noise_shape=(None, 1), seed=4)),
    "ELU": on(ROW, lambda k: k.ELU(alpha=0.7)),
    "EinsumDense": on(
        SERIES,
        lambda k: k.EinsumDense("abc,cd->abd", output_shape=(None, 3), bias_axes="d", activation="relu"),
        lambda k: k.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3)),
    ),
    "Embedding": on(
        IDS,
        lambda k: k.Embedding(9, 3),
        lambda k: k.Embedding(9, 3, mask_zero=True, embeddings_regularizer="l1"),
        dtype="int32",
    ),
    "Flatten": on(IMAGE, lambda k: k.Flatten()),
    "GRU": on(
        SERIES,
        lambda k: k.GRU(3),
        lambda k: k.GRU(3, reset_after=False, return_sequences=True),
        lambda k: k.GRU(3, use_bias=False, go_backwards=True, activation="relu", dropout=0.2),
        lambda k: k.GRU(3, return_state=True, unroll=True),
    ),
    "GRUCell": on(
        SERIES,
        lambda k: k.RNN(k.GRUCell(3)),
        lambda k: k.RNN(k.GRUCell(3, reset_after=False), return_sequences=True),
    ),
    "GaussianDropout": on(ROW, _quiet("GaussianDropout", 0.4)),
    "GaussianNoise": on(ROW, _quiet("GaussianNoise", 0.4)),
    "GroupNormalization": on(
        IMAGE,
        lambda k: k.GroupNormalization(2),
        lambda k: k.GroupNormalization(-1, scale=False, epsilon=0.1),
    ),
    "Identity": on(ROW, lambda k: k.Identity()),
    "InputLayer": on(ROW, lambda k: k.InputLayer(shape=ROW)),
    "LSTM": on(
        SERIES,
        lambda k: k.LSTM(3),
        lambda k: k.LSTM(3, return_sequences=True, go_backwards=True, recurrent_activation="tanh"),
        lambda k: k.LSTM(3, return_state=True, unit_forget_bias=False, use_bias=False),
    ),
    "LSTMCell": on(SERIES, lambda k: k.RNN(k.LSTMCell(3), return_state=True)),
    "LayerNormalization": on(
        SERIES,
        lambda k: k.LayerNormalization(),
        lambda k: k.LayerNormalization(axis=(1, 2), scale=False, epsilon=0.1),
    ),
    "LeakyReLU": on(ROW, lambda k: k.LeakyReLU(), lambda k: k.LeakyReLU(negative_slope=0.1)),
    "Masking": on(SERIES, lambda k: k.Masking(mask_value=0.5)),
    "Maximum": joining(lambda k: k.Maximum()),
    "Minimum": joining(lambda k: k.Minimum()),
    "MultiHeadAttention": called(
        lambda k: k.MultiHeadAttention(2, 3),
        lambda k: k.MultiHeadAttention(2, 3, value_dim=4, use_bias=False, output_shape=5),
        shapes=((3, 4), (8, 4)),
    ),
    "Multiply": joining(lambda k: k.Multiply(), shapes=(IMAGE, (1, 1, 4))),
    "Normalization": [
        *on(
            ROW,
            lambda k: k.Normalization(),
            lambda k: k.Normalization(axis=None),
            lambda k: k.Normalization(mean=[1, 2, 3, 4, 5], variance=[2, 3, 4, 5, 6], invert=True),
        ),
        *on(IMAGE, lambda k: k.Normalization(axis=(1, 3))),
    ],
    "PReLU": on(IMAGE, lambda k: k.PReLU(), lambda k: k.PReLU(shared_axes=(1, 2))),
    "Permute": on(IMAGE, lambda k: k.Permute((3, 1, 2))),
    "RNN": on(
        SERIES,
        lambda k: k.RNN(k.SimpleRNNCell(3), return_sequences=True, return_state=True),
        lambda k: k.RNN([k.LSTMCell(3), k.GRUCell(2)]),
    ),
    "ReLU": on(ROW, lambda k: k.ReLU(), lambda k: k.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2)),
    "RepeatVector": on(ROW, lambda k: k.RepeatVector(3)),
    "Rescaling": on(IMAGE, lambda k: k.Rescaling(1 / 255), lambda k: k.Rescaling([1, 2, 3, 4], offset=-1)),
    "Reshape": on(IMAGE, lambda k: k.Reshape((7, -1))),
    "Resizing": on(
        IMAGE,
        lambda k: k.Resizing(4, 5),
        lambda k: k.Resizing(9, 9, interpolation="nearest", crop_to_aspect_ratio=True),
    ),
    "SeparableConv1D": on(
        SERIES,
        lambda k: k.SeparableConv1D(3, 3),
        lambda k: k.SeparableConv1D(3, 2, padding="same", depth_multiplier=2, use_bias=False),
    ),
    "SeparableConv2D": on(
        IMAGE,
        lambda k: k.SeparableConv2D(3, 3, activation="relu"),
        lambda k: k.SeparableConv2D(3, 2, strides=2, padding="same", depth_multiplier=2, use_bias=False),
    ),
    "SimpleRNN": on(SERIES, lambda k: k.SimpleRNN(3), lambda k: k.SimpleRNN(3, use_bias=False, return_sequences=True)),
    "SimpleRNNCell": on(SERIES, lambda k: k.RNN(k.SimpleRNNCell(3, activation="relu"))),
    "Softmax": on(SERIES, lambda k: k.Softmax(), lambda k: k.Softmax(axis=1)),
    "SpatialDropout1D": on(SERIES, _quiet("SpatialDropout1D", 0.4)),
    "SpatialDropout2D": on(IMAGE, _quiet("SpatialDropout2D", 0.4)),
    "SpatialDropout3D": on(VIDEO, _quiet("SpatialDropout3D", 0.4)),
    "SpectralNormalization": [
        *on(IMAGE, lambda k: k.SpectralNormalization(k.Conv2D(3, 3))),
        *on(ROW, lambda k: k.SpectralNormalization(k.Dense(3), power_iterations=2)),
    ],
    "StackedRNNCells": on(SERIES, lambda k: k.RNN(k.StackedRNNCells([k.LSTMCell(3), k.SimpleRNNCell(2)]))),
    "Subtract": joining(lambda k: k.Subtract()),
    "TimeDistributed": on(
        VIDEO,
        lambda k: k.TimeDistributed(k.Conv2D(3, 2)),
        lambda k: k.TimeDistributed(k.BatchNormalization()),
        lambda k: k.TimeDistributed(k.Flatten()),
    ),
    "UnitNormalization": on(ROW, lambda k: k.UnitNormalization()),
    "UpSampling1D": on(SERIES, lambda k: k.UpSampling1D(3)),
    "UpSampling2D": on(IMAGE, lambda k: k.UpSampling2D((2, 3)), lambda k: k.UpSampling2D(2, interpolation="bilinear")),
    "UpSampling3D": on(VIDEO, lambda k: k.UpSampling3D(2)),
    "ZeroPadding1D": on(SERIES, lambda k: k.ZeroPadding1D((1, 2))),
    "ZeroPadding2D": on(IMAGE, lambda k: k.ZeroPadding2D(((1, 2), (0, 3)))),
    "ZeroPadding3D": on(VIDEO, lambda k: k.ZeroPadding3D((1, 2, 1))),
    **_global_pools(),
    **_pools(),
}

SPECIAL = {
    "Lambda": "refused, unless its code is trusted: then the TensorFlow operations that it is made of take its place",
    "Layer": "the base of layers; a class of your own is taken from the file given with `--custom-objects`",
    "Wrapper": "the base of wrappers, computes nothing",
}

_ARITHMETIC = "of two tensors of one rank, or `Rescaling` where one side is a constant"

OPERATIONS = {
    "Add": f"`Add` {_ARITHMETIC}",
    "Concatenate": "`Concatenate`, but not along the batch",
    "Divide": "`Rescaling`, by a constant only",
    "Elu": "`ELU`",
    "Exp": "`Activation`",
    "ExpandDims": "`Reshape`, but not in front of the batch",
    "Gelu": "`Activation`, with approximate=False only",
    "GetItem": "`SlicingOpLambda`, with the whole batch only",
    "HardSigmoid": "`Rescaling`, `ReLU`, `Rescaling`",
    "HardSilu": "`Rescaling`, `ReLU`, `Rescaling`, `Multiply`",
    "LeakyRelu": "`LeakyReLU`",
    "Max": "`GlobalMaxPooling`, over all axes but batch and channels",
    "Maximum": "`Maximum` of two tensors of one rank",
    "Mean": "`GlobalAveragePooling`, over all axes but batch and channels",
    "Minimum": "`Minimum` of two tensors of one rank",
    "Multiply": f"`Multiply` {_ARITHMETIC}",
    "Negative": "`Rescaling`",
    "Power": "`Multiply` with itself, for squares only",
    "Relu": "`ReLU`",
    "Relu6": "`ReLU`",
    "Reshape": "`Reshape`, within each item of the batch",
    "Selu": "`Activation`",
    "Sigmoid": "`Activation`",
    "Silu": "`Activation`",
    "Softmax": "`Softmax`",
    "Softplus": "`Activation`",
    "Softsign": "`Activation`",
    "Square": "`Multiply` with itself",
    "Squeeze": "`Reshape`, but not of the batch",
    "Subtract": f"`Subtract` {_ARITHMETIC}",
    "Tanh": "`Activation`",
    "Transpose": "`Permute`, with the batch first",
    "TrueDivide": "`Rescaling`, by a constant only",
}
