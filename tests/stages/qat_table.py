"""Small models around every kind of layer that quantization-aware training is tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Ways = dict[str, str]
"""Name of a layer to the way it must go."""

TRAINED, OUTPUT, SAME, LEFT = "trained", "trained_output", "same_range", "post_training"


@dataclass(frozen=True)
class Case:
    """One small model.

    Attributes:
        body: from the tensor behind the first layer to the one before the last; its layers are named by what they are.
        ways: the way that each of them must go.
        input_shape: of one example.
        steps: how many steps of the int8 output it may be away from Keras, of some 255.
        floats: why some tensors stay float, where they do.
    """

    body: Callable[[Any, Any], Any]
    ways: Ways
    input_shape: tuple[int, ...] = (8, 4)
    steps: float = 6
    floats: str = ""


def model_of(case: Case) -> Any:
    """The Keras model: a first layer, the case's own, and a last layer, so that ranges meet on both sides."""
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    layers = keras.layers
    inputs = layers.Input(case.input_shape, name="input")
    before = layers.Conv2D(4, 3, padding="same") if len(case.input_shape) == 3 else layers.Dense(4)
    before._name = "before"
    x = case.body(before(inputs), layers)
    x = layers.Flatten(name="flatten")(x)
    model = keras.Model(inputs, layers.Dense(4, name="after")(x))
    # Biases that are not zero, and normalizations that have seen data: else many a mistake would not show.
    for weight in model.weights:
        if weight.shape.rank == 1:
            spread = keras.backend.random_uniform(weight.shape, 0.05, 0.3, seed=2)
            weight.assign_add(spread)
    return model


def chain(*made: tuple[str, str, dict[str, Any]]) -> Callable[[Any, Any], Any]:
    """A body of layers in a row, each given as name, class and settings."""

    def body(x: Any, layers: Any) -> Any:
        for name, kind, settings in made:
            x = getattr(layers, kind)(**settings, name=name)(x)
        return x

    return body


def merging(*kinds: str) -> tuple[Callable[[Any, Any], Any], Ways]:
    """Body and ways of a case in which each layer merges the output of the one before with that of one branch."""

    def body(x: Any, layers: Any) -> Any:
        branch = layers.Dense(4, activation="tanh", name="branch")(x)
        x = layers.Dense(4, name="trunk")(x)
        for kind in kinds:
            x = getattr(layers, kind)(**({"axes": 2} if kind == "Dot" else {}), name=kind)([x, branch])
        return x

    ways = {kind: TRAINED if kind in ("Add", "Concatenate", "Multiply", "Subtract") else OUTPUT for kind in kinds}
    return body, {"branch": TRAINED, "trunk": TRAINED, **ways}


def one(kind: str, way: str, **settings: Any) -> tuple[Callable[[Any, Any], Any], Ways]:
    """Body and ways of a case with a single layer, named by its class."""
    return chain((kind, kind, settings)), {kind: way}


def _activation(name: str) -> tuple[str, str, dict[str, Any]]:
    return f"Activation.{name}", "Activation", {"activation": name}


def _twice(x: Any, layers: Any) -> Any:
    shared = layers.Dense(4, activation="relu", name="shared")
    return shared(shared(x))


def _attention_heads(x: Any, layers: Any) -> Any:
    return layers.MultiHeadAttention(2, 4, name="MultiHeadAttention")(x, x)


def _time_distributed(x: Any, layers: Any) -> Any:
    return layers.TimeDistributed(layers.Dense(5), name="TimeDistributed")(x)


def _functions(x: Any, layers: Any) -> Any:
    return x * 2.0 + 1.0


def _bidirectional(x: Any, layers: Any) -> Any:
    return layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="Bidirectional")(x)


IMAGE = (8, 8, 3)

CASES: dict[str, Case] = {
    "moving over images": Case(
        chain(
            ("ZeroPadding2D", "ZeroPadding2D", {}),
            ("MaxPooling2D", "MaxPooling2D", {}),
            ("UpSampling2D", "UpSampling2D", {}),
            ("Cropping2D", "Cropping2D", {}),
            ("AveragePooling2D", "AveragePooling2D", {}),
            ("SpatialDropout2D", "SpatialDropout2D", {"rate": 0.2}),
            ("UpSampling2D.bilinear", "UpSampling2D", {"interpolation": "bilinear"}),
            ("GlobalMaxPooling2D", "GlobalMaxPooling2D", {}),
        ),
        dict.fromkeys(
            (
                *("ZeroPadding2D", "MaxPooling2D", "UpSampling2D", "Cropping2D", "AveragePooling2D"),
                *("SpatialDropout2D", "UpSampling2D.bilinear", "GlobalMaxPooling2D"),
            ),
            SAME,
        ),
        IMAGE,
    ),
    "moving over time": Case(
        chain(
            ("ZeroPadding1D", "ZeroPadding1D", {}),
            ("MaxPooling1D", "MaxPooling1D", {}),
            ("UpSampling1D", "UpSampling1D", {}),
            ("Cropping1D", "Cropping1D", {}),
            ("AveragePooling1D", "AveragePooling1D", {}),
            ("SpatialDropout1D", "SpatialDropout1D", {"rate": 0.2}),
            ("Permute", "Permute", {"dims": (2, 1)}),
            ("Reshape", "Reshape", {"target_shape": (2, 8)}),
            ("GaussianNoise", "GaussianNoise", {"stddev": 0.1}),
            ("GaussianDropout", "GaussianDropout", {"rate": 0.1}),
            ("Dropout", "Dropout", {"rate": 0.1}),
            ("GlobalMaxPooling1D", "GlobalMaxPooling1D", {}),
            ("RepeatVector", "RepeatVector", {"n": 3}),
        ),
        dict.fromkeys(
            (
                *(
                    "ZeroPadding1D",
                    "MaxPooling1D",
                    "UpSampling1D",
                    "Cropping1D",
                    "AveragePooling1D",
                    "SpatialDropout1D",
                ),
                *("Permute", "Reshape", "GaussianNoise", "GaussianDropout", "Dropout", "GlobalMaxPooling1D"),
                "RepeatVector",
            ),
            SAME,
        ),
    ),
    "averages over images": Case(*one("GlobalAveragePooling2D", TRAINED), IMAGE),
    "averages over time": Case(*one("GlobalAveragePooling1D", TRAINED)),
    "convolutions over images": Case(
        chain(
            ("Conv2D", "Conv2D", {"filters": 4, "kernel_size": 3, "activation": "relu"}),
            ("DepthwiseConv2D", "DepthwiseConv2D", {"kernel_size": 3, "depth_multiplier": 2}),
        ),
        {"Conv2D": TRAINED, "DepthwiseConv2D": TRAINED},
        IMAGE,
    ),
    "transposed over images": Case(
        chain(
            ("Conv2DTranspose", "Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2}),
            ("BatchNormalization", "BatchNormalization", {}),
            ("ReLU", "ReLU", {}),
        ),
        {"Conv2DTranspose": TRAINED, "BatchNormalization": OUTPUT, "ReLU": TRAINED},
        IMAGE,
    ),
    "separable over images": Case(
        chain(
            ("SeparableConv2D", "SeparableConv2D", {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}),
            ("ReLU", "ReLU", {"max_value": 6}),
        ),
        {"SeparableConv2D": OUTPUT, "ReLU": TRAINED},
        IMAGE,
    ),
    "convolutions over time": Case(
        chain(
            ("Conv1D", "Conv1D", {"filters": 5, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}),
            ("BatchNormalization", "BatchNormalization", {}),
            ("Activation.relu", "Activation", {"activation": "relu"}),
            ("DepthwiseConv1D", "DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2}),
        ),
        {"Conv1D": TRAINED, "BatchNormalization": OUTPUT, "Activation.relu": TRAINED, "DepthwiseConv1D": TRAINED},
    ),
    "separable over time": Case(*one("SeparableConv1D", OUTPUT, filters=5, kernel_size=3, activation="relu")),
    "transposed over time": Case(*one("Conv1DTranspose", TRAINED, filters=5, kernel_size=3, strides=2)),
    "einsum": Case(
        *one("EinsumDense", TRAINED, equation="bti,io->bto", output_shape=(8, 5), bias_axes="o"),
    ),
    "dense, normalized": Case(
        chain(
            ("Dense", "Dense", {"units": 6}),
            ("BatchNormalization", "BatchNormalization", {}),
            ("ReLU", "ReLU", {}),
        ),
        {"Dense": TRAINED, "BatchNormalization": TRAINED, "ReLU": TRAINED},
    ),
    "normalized behind a pool": Case(
        chain(("AveragePooling2D", "AveragePooling2D", {}), ("BatchNormalization", "BatchNormalization", {})),
        {"AveragePooling2D": SAME, "BatchNormalization": OUTPUT},
        IMAGE,
    ),
    # Its variance takes few of the 255 steps where an example has little of it.
    "LayerNormalization": Case(
        chain(("Dense", "Dense", {"units": 16}), ("LayerNormalization", "LayerNormalization", {"epsilon": 0.1})),
        {"Dense": TRAINED, "LayerNormalization": OUTPUT},
        steps=25,
    ),
    "PReLU": Case(*one("PReLU", OUTPUT, alpha_initializer="uniform", shared_axes=[1, 2]), IMAGE),
    "LeakyReLU": Case(*one("LeakyReLU", TRAINED)),
    "ELU": Case(*one("ELU", OUTPUT, alpha=0.7)),
    "Softmax": Case(*one("Softmax", TRAINED)),
    "activations": Case(
        chain(*(_activation(name) for name in ("gelu", "swish", "tanh", "hard_sigmoid", "elu"))),
        {
            **dict.fromkeys(("Activation.gelu", "Activation.swish", "Activation.tanh"), TRAINED),
            **dict.fromkeys(("Activation.hard_sigmoid", "Activation.elu"), OUTPUT),
        },
    ),
    "activations inside": Case(
        chain(
            ("Dense.elu", "Dense", {"units": 5, "activation": "elu"}),
            ("Dense.hard_sigmoid", "Dense", {"units": 5, "activation": "hard_sigmoid"}),
        ),
        {"Dense.elu": OUTPUT, "Dense.hard_sigmoid": OUTPUT},
    ),
    "merging": Case(*merging("Add", "Subtract", "Maximum", "Multiply", "Minimum", "Average", "Concatenate")),
    "attending": Case(*merging("Attention", "Dot")),
    "Rescaling": Case(*one("Rescaling", OUTPUT, scale=2.0, offset=0.5)),
    "MultiHeadAttention": Case(_attention_heads, {"MultiHeadAttention": LEFT}),
    "TimeDistributed": Case(_time_distributed, {"TimeDistributed": LEFT}),
    "functions": Case(_functions, {"tf.math.multiply": LEFT, "tf.__operators__.add": LEFT}),
    "shared": Case(_twice, {"shared": LEFT}),
    # Each step rounds what the one before has rounded.
    "LSTM": Case(*one("LSTM", LEFT, units=4), (4, 4), steps=10),
    "GRU": Case(*one("GRU", LEFT, units=4, reset_after=False), (4, 4), steps=15),
    "Bidirectional": Case(_bidirectional, {"Bidirectional": LEFT}, (4, 4), steps=10),
    "ThresholdedReLU": Case(
        *one("ThresholdedReLU", LEFT, theta=0.1), floats="it multiplies with a comparison, which is cast to float"
    ),
    "Conv3D": Case(
        chain(
            ("Reshape", "Reshape", {"target_shape": (4, 4, 2, 1)}),
            ("Conv3D", "Conv3D", {"filters": 2, "kernel_size": 2}),
        ),
        {"Reshape": SAME, "Conv3D": LEFT},
        floats="TensorFlow Lite has it in float only",
    ),
    "GroupNormalization": Case(
        *one("GroupNormalization", OUTPUT, groups=2), IMAGE, floats="its squares are computed in float", steps=25
    ),
}
"""Every model of the table, by what it is about."""
