"""The blocks that several architectures of the zoo are made of.

A convolution is always followed by its batch normalization and its activation, each a layer of its own: this is the
pattern that TFMOT folds for quantization-aware training, and the converter for int8.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Activation = Literal["relu", "relu6"]
Size = int | tuple[int, int]

# Keras' own 0.99 needs about 500 steps until inference resembles training; trainings for small devices are often
# shorter than that. 0.9 is the default of PyTorch, with which most published weights of these models are trained.
_MOMENTUM = 0.9


class Stage(NamedTuple):
    """A row of an inverted-residual network's table; `strides` is that of the first of its `repeats` blocks."""

    expansion: int
    filters: int
    repeats: int
    strides: int
    kernel: int = 3


def conv(
    x: Any,
    filters: int,
    kernel: Size,
    *,
    name: str,
    strides: Size = 1,
    activation: Activation | None = "relu6",
    use_bias: bool = False,
    kernel_initializer: str = "glorot_uniform",
) -> Any:
    """A padded convolution, batch normalization, activation: `name`, `name_bn`, `name_relu`."""
    import tf_keras as keras

    convolution = keras.layers.Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        use_bias=use_bias,
        kernel_initializer=kernel_initializer,
        name=name,
    )
    return normalized(convolution(x), name=name, activation=activation)


def depthwise(
    x: Any,
    kernel: Size,
    *,
    name: str,
    strides: Size = 1,
    activation: Activation | None = "relu6",
    use_bias: bool = False,
) -> Any:
    """As `conv`, with one filter for each channel."""
    import tf_keras as keras

    convolution = keras.layers.DepthwiseConv2D(kernel, strides, padding="same", use_bias=use_bias, name=name)
    return normalized(convolution(x), name=name, activation=activation)


def normalized(x: Any, *, name: str, activation: Activation | None = "relu") -> Any:
    """Batch normalization and activation behind the layer `name`."""
    import tf_keras as keras

    x = keras.layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)
    if activation is None:
        return x
    return keras.layers.ReLU(6.0 if activation == "relu6" else None, name=f"{name}_{activation}")(x)


def inverted_residuals(x: Any, stages: tuple[Stage, ...]) -> Any:
    """The stages of an inverted-residual network in a row; blocks are named `stage2_block1`."""
    for number, stage in enumerate(stages, start=1):
        for repeat in range(1, stage.repeats + 1):
            first = repeat == 1
            block = stage if first else stage._replace(strides=1)
            x = _inverted_residual(x, block, name=f"stage{number}_block{repeat}")
    return x


def classified(x: Any, num_classes: int, dropout: float = 0.0) -> Any:
    """From feature maps to logits: the mean over the image, dropout where there is any, a dense layer."""
    import tf_keras as keras

    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def _inverted_residual(x: Any, block: Stage, *, name: str) -> Any:
    """Widen by 1x1, filter each channel, narrow by 1x1 without activation; added to its input where shapes agree."""
    import tf_keras as keras

    channels = x.shape[-1]
    y = x
    if block.expansion > 1:
        y = conv(y, channels * block.expansion, 1, name=f"{name}_expand")
    y = depthwise(y, block.kernel, name=f"{name}_depthwise", strides=block.strides)
    y = conv(y, block.filters, 1, name=f"{name}_project", activation=None)
    if block.strides > 1 or channels != block.filters:
        return y
    return keras.layers.Add(name=f"{name}_add")([x, y])
