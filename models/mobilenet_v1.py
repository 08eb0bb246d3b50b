"""MobileNetV1: depthwise separable convolutions for small images and small devices."""

from __future__ import annotations

from typing import Any

from models._blocks import classified, conv, depthwise
from models._shapes import require_image, require_positive, require_share

# Filters of the pointwise convolution and stride of the depthwise one, block by block.
_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))


def build(input_shape: tuple[int, ...], num_classes: int, *, alpha: float = 1.0, dropout: float = 0.001) -> Any:
    """MobileNetV1 for images, ending in logits.

    After Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
    (arXiv 1704.04861): a 3x3 convolution and 13 blocks of a depthwise and a pointwise convolution, ReLU6. The image
    shrinks by 32. 4,253,864 parameters at (224, 224, 3), 1000 classes and alpha 1; 475,544 at alpha 0.25.

    Args:
        input_shape: (height, width, channels), of any size; the published ones are 128 to 224.
        num_classes: size of the output.
        alpha: width of every layer against the paper's; it publishes 0.25, 0.5, 0.75 and 1.
        dropout: share of the features dropped before the logits while training.

    Returns:
        A tf_keras model from (batch, height, width, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no images, or an option is out of its range.
    """
    import tf_keras as keras

    require_image(input_shape)
    require_positive(alpha=alpha)
    require_share(dropout=dropout)
    inputs = keras.layers.Input(input_shape, name="input")
    x = conv(inputs, _scaled(32, alpha), 3, name="conv1", strides=2)
    for number, (filters, strides) in enumerate(_BLOCKS, start=1):
        x = depthwise(x, 3, name=f"block{number}_depthwise", strides=strides)
        x = conv(x, _scaled(filters, alpha), 1, name=f"block{number}_pointwise")
    return keras.Model(inputs, classified(x, num_classes, dropout), name="mobilenet_v1")


def _scaled(filters: int, alpha: float) -> int:
    return max(1, int(filters * alpha))
