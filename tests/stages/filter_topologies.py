"""Small models, one for each way in which channels run from layer to layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SHAPE = (8, 8, 3)


def plain(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(6, 3, activation="relu", name="a")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(layers.PReLU(shared_axes=[1, 2])(x))
    return layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, padding="same", name="b")(x))


def flatten_dense(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(5, 3, strides=2, name="a")(x)
    return layers.Dense(7, activation="relu", name="b")(layers.Flatten()(layers.Dropout(0.1)(x)))


def residual(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(6, 3, padding="same", name="a")(x)
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="b")(x)))
    x = layers.Add()([x, layers.Conv2D(6, 1, name="c")(y)])
    return layers.GlobalMaxPooling2D()(layers.ReLU()(x))


def merges(x: Any, layers: Any) -> Any:
    a, b = layers.Conv2D(6, 3, name="a")(x), layers.Conv2D(6, 3, name="b")(x)
    sums = [
        kind()([a, b]) for kind in (layers.Subtract, layers.Average, layers.Maximum, layers.Minimum, layers.Multiply)
    ]
    return layers.GlobalAveragePooling2D()(layers.Concatenate()(sums))


def dense_block(x: Any, layers: Any) -> Any:
    for name in "abc":
        y = layers.ReLU()(layers.BatchNormalization()(x)) if name != "a" else x
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same", name=name)(y)])
    return layers.Flatten()(layers.AveragePooling2D(4)(x))


def fire(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(4, 1, activation="relu", name="squeeze")(x)
    parts = [layers.Conv2D(6, size, padding="same", activation="relu", name=f"e{size}")(x) for size in (1, 3)]
    return layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="after")(layers.Concatenate(axis=3)(parts)))


def unet(x: Any, layers: Any) -> Any:
    top = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
    low = layers.Conv2D(6, 3, padding="same", activation="relu", name="b")(layers.MaxPooling2D()(top))
    up = layers.Concatenate()([top, layers.UpSampling2D()(low), layers.Conv2DTranspose(5, 2, 2, name="c")(low)])
    return layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="d")(layers.Cropping2D(1)(up)))


def depthwise_2(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(5, 1, name="a")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(layers.ZeroPadding2D()(x))
    return layers.Flatten()(layers.MaxPooling2D(4)(layers.BatchNormalization()(x)))


def separable(x: Any, layers: Any) -> Any:
    x = layers.SeparableConv2D(6, 3, depth_multiplier=2, name="a")(x)
    return layers.GlobalAveragePooling2D()(layers.SeparableConv2D(5, 3, depth_multiplier=2, name="b")(x))


def over_time(x: Any, layers: Any) -> Any:
    x = layers.Reshape((64, 3))(x)
    x = layers.BatchNormalization()(layers.Conv1D(6, 3, name="a")(x))
    x = layers.MaxPooling1D(2)(layers.SeparableConv1D(5, 3, name="b")(x))
    return layers.GlobalAveragePooling1D()(layers.Conv1DTranspose(4, 2, name="c")(x))


def squeeze_excite(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(6, 3, name="a")(x)
    gate = layers.Dense(4, activation="relu", name="b")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 6))(layers.Dense(6, activation="sigmoid", name="c")(gate))
    return layers.Flatten()(layers.Multiply()([x, gate]))


def spatial_attention(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(6, 3, name="a")(x)
    where = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="b")(x)
    return layers.GlobalAveragePooling2D()(layers.Multiply()([x, where]))


def permuted(x: Any, layers: Any) -> Any:
    x = layers.Permute((2, 1, 3))(layers.Conv2D(6, 3, name="a")(x))
    x = layers.Reshape((12, -1))(layers.Reshape((36, 6))(x))
    return layers.Dense(4, name="b")(layers.Reshape((216,))(layers.LeakyReLU()(x)))


def shared_layer(x: Any, layers: Any) -> Any:
    again = layers.Conv2D(6, 3, padding="same", name="again")
    a, b = layers.Conv2D(6, 3, padding="same", name="a")(x), layers.Conv2D(6, 1, name="b")(x)
    return layers.GlobalAveragePooling2D()(layers.Concatenate()([again(a), again(layers.ReLU()(b))]))


def two_readers(x: Any, layers: Any) -> Any:
    x = layers.Conv2D(6, 3, name="a")(x)
    side = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, name="b")(x))
    return layers.Concatenate()([layers.Flatten()(x), side, layers.GlobalAveragePooling2D()(x)])


TOPOLOGIES: tuple[Callable[[Any, Any], Any], ...] = (
    *(plain, flatten_dense, residual, merges, dense_block, fire, unet, depthwise_2, separable, over_time),
    *(squeeze_excite, spatial_attention, permuted, shared_layer, two_readers),
)


def model_of(topology: Callable[[Any, Any], Any]) -> Any:
    """A topology between an input and four outputs."""
    from pipeline._tf import keras

    keras.backend.clear_session()
    inputs = keras.layers.Input(SHAPE, name="input")
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(topology(inputs, keras.layers)))
