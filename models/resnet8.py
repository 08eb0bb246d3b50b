"""ResNet-8: the image classification model of MLPerf Tiny."""

from __future__ import annotations

from typing import Any

from models._blocks import classified, conv
from models._shapes import require_image, require_positive

# Narrower than the paper's by four, and one stack fewer.
_STACKS = ((1, 1), (2, 2), (4, 2))  # width against the first stack, stride


def build(input_shape: tuple[int, ...], num_classes: int, *, filters: int = 16) -> Any:
    """ResNet-8 for small images, ending in logits.

    The residual network of He et al., "Deep Residual Learning for Image Recognition" (arXiv 1512.03385), as MLPerf
    Tiny cuts it for CIFAR-10 (Banbury et al., "MLPerf Tiny Benchmark", arXiv 2106.07597): a 3x3 convolution and three
    stacks of one residual block. The image shrinks by 4. 78,666 parameters at (32, 32, 3) and 10 classes.

    Args:
        input_shape: (height, width, channels), of any size; the published one is 32.
        num_classes: size of the output.
        filters: width of the first stack; the second and third have two and four times as many.

    Returns:
        A tf_keras model from (batch, height, width, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no images, or an option is out of its range.
    """
    import tf_keras as keras

    require_image(input_shape)
    require_positive(filters=filters)
    inputs = keras.layers.Input(input_shape, name="input")
    x = _conv(inputs, filters, name="conv1")
    for number, (width, strides) in enumerate(_STACKS, start=1):
        x = _residual(x, width * filters, strides, name=f"stack{number}")
    return keras.Model(inputs, classified(x, num_classes), name="resnet8")


def _residual(x: Any, filters: int, strides: int, *, name: str) -> Any:
    import tf_keras as keras

    y = _conv(x, filters, name=f"{name}_conv1", strides=strides)
    y = _conv(y, filters, name=f"{name}_conv2", linear=True)
    if strides > 1:
        shortcut = keras.layers.Conv2D(
            filters, 1, strides, padding="same", kernel_initializer="he_normal", name=f"{name}_shortcut"
        )
        x = shortcut(x)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _conv(x: Any, filters: int, *, name: str, strides: int = 1, linear: bool = False) -> Any:
    # MLPerf Tiny's convolutions keep a bias although batch normalization follows; it counts among the 78,666.
    return conv(
        x,
        filters,
        3,
        name=name,
        strides=strides,
        activation=None if linear else "relu",
        use_bias=True,
        kernel_initializer="he_normal",
    )
