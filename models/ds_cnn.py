"""DS-CNN: depthwise separable convolutions for keyword spotting, in the sizes of "Hello Edge" and of MLPerf Tiny."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from models._blocks import conv, depthwise

# MLPerf Tiny drops features behind the first convolution and before its pool.
_DROPOUT = {"dropout1": 0.2, "dropout2": 0.4}


class _Size(NamedTuple):
    filters: int
    blocks: int
    stem_strides: tuple[int, int]
    first_block_strides: int


_SIZES = {
    "s": _Size(64, 4, (2, 2), 1),
    "m": _Size(172, 4, (2, 1), 2),
    "l": _Size(276, 5, (2, 1), 2),
    "mlperf_tiny": _Size(64, 4, (2, 2), 1),
}


def build(
    input_shape: tuple[int, ...], num_classes: int, *, variant: Literal["s", "m", "l", "mlperf_tiny"] = "s"
) -> Any:
    """DS-CNN for spectrograms, ending in logits.

    `s`, `m` and `l` are those of Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers" (arXiv 1711.07128):
    a 10x4 convolution, four or five blocks of a depthwise and a pointwise convolution, the mean over time and
    frequency. At (49, 10, 1) and 12 classes they have 22,604, 135,032 and 410,700 weights once batch normalization is
    folded (24,908, 141,224 and 422,844 parameters with it).

    `mlperf_tiny` is the keyword spotting model of MLPerf Tiny (Banbury et al., arXiv 2106.07597): as `s`, with dropout
    and a pool over half the input's size, which at 49 frames leaves the last row of the feature map out. 24,908
    parameters.

    Args:
        input_shape: (time, frequency) or (time, frequency, channels), at least 4x4; the published one is (49, 10, 1).
        num_classes: size of the output.
        variant: which of the four.

    Returns:
        A tf_keras model from (batch, *input_shape) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no spectrograms, or too small.
    """
    import tf_keras as keras

    _require_spectrogram(input_shape)
    layers = keras.layers
    size = _SIZES[variant]
    inputs = layers.Input(input_shape, name="input")
    x = inputs if len(input_shape) == 3 else layers.Reshape((*input_shape, 1), name="add_channel")(inputs)
    x = conv(x, size.filters, (10, 4), name="conv1", strides=size.stem_strides, activation="relu", use_bias=True)
    if variant == "mlperf_tiny":
        x = _dropout(x, "dropout1")
    for number in range(1, size.blocks + 1):
        x = _separable(x, size, number)
    x = _mlperf_pool(x, input_shape) if variant == "mlperf_tiny" else layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name="ds_cnn")


def _separable(x: Any, size: _Size, number: int) -> Any:
    strides = size.first_block_strides if number == 1 else 1
    x = depthwise(x, 3, name=f"block{number}_depthwise", strides=strides, activation="relu", use_bias=True)
    return conv(x, size.filters, 1, name=f"block{number}_pointwise", activation="relu", use_bias=True)


def _mlperf_pool(x: Any, input_shape: tuple[int, ...]) -> Any:
    import tf_keras as keras

    x = _dropout(x, "dropout2")
    x = keras.layers.AveragePooling2D((input_shape[0] // 2, input_shape[1] // 2), name="pool")(x)
    return keras.layers.Flatten(name="flatten")(x)


def _dropout(x: Any, name: str) -> Any:
    import tf_keras as keras

    return keras.layers.Dropout(_DROPOUT[name], name=name)(x)


def _require_spectrogram(input_shape: tuple[int, ...]) -> None:
    if len(input_shape) not in (2, 3) or min(input_shape[:2]) < 4 or min(input_shape) < 1:
        raise ValueError(
            "it takes spectrograms of at least 4x4, (time, frequency) or (time, frequency, channels), "
            f"and the data has {input_shape}"
        )
