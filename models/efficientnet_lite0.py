"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for int8."""

from __future__ import annotations

from typing import Any

from models._blocks import Stage, classified, conv, inverted_residuals
from models._shapes import require_image, require_share

_STAGES = (
    Stage(expansion=1, filters=16, repeats=1, strides=1, kernel=3),
    Stage(expansion=6, filters=24, repeats=2, strides=2, kernel=3),
    Stage(expansion=6, filters=40, repeats=2, strides=2, kernel=5),
    Stage(expansion=6, filters=80, repeats=3, strides=2, kernel=3),
    Stage(expansion=6, filters=112, repeats=3, strides=1, kernel=5),
    Stage(expansion=6, filters=192, repeats=4, strides=2, kernel=5),
    Stage(expansion=6, filters=320, repeats=1, strides=1, kernel=3),
)


def build(input_shape: tuple[int, ...], num_classes: int, *, dropout: float = 0.2) -> Any:
    """EfficientNet-Lite0 for images, ending in logits.

    After Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (arXiv 1905.11946),
    in the Lite form of tensorflow/tpu (models/official/efficientnet/lite). The image shrinks by 32. 4,652,008
    trainable parameters at (224, 224, 3) and 1000 classes (4,694,024 with the statistics of batch normalization).
    The stochastic depth of its original training is left out.

    Args:
        input_shape: (height, width, channels), of any size; the published one is 224.
        num_classes: size of the output.
        dropout: share of the features dropped before the logits while training.

    Returns:
        A tf_keras model from (batch, height, width, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no images, or an option is out of its range.
    """
    import tf_keras as keras

    require_image(input_shape)
    require_share(dropout=dropout)
    inputs = keras.layers.Input(input_shape, name="input")
    x = conv(inputs, 32, 3, name="stem", strides=2)
    x = inverted_residuals(x, _STAGES)
    x = conv(x, 1280, 1, name="head")
    return keras.Model(inputs, classified(x, num_classes, dropout), name="efficientnet_lite0")
