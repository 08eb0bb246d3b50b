"""MobileNetV2: inverted residuals with linear bottlenecks."""

from __future__ import annotations

from typing import Any

from models._blocks import Stage, classified, conv, inverted_residuals
from models._shapes import require_image, require_positive, require_share

_STAGES = (
    Stage(expansion=1, filters=16, repeats=1, strides=1),
    Stage(expansion=6, filters=24, repeats=2, strides=2),
    Stage(expansion=6, filters=32, repeats=3, strides=2),
    Stage(expansion=6, filters=64, repeats=4, strides=2),
    Stage(expansion=6, filters=96, repeats=3, strides=1),
    Stage(expansion=6, filters=160, repeats=3, strides=2),
    Stage(expansion=6, filters=320, repeats=1, strides=1),
)


def build(input_shape: tuple[int, ...], num_classes: int, *, alpha: float = 1.0, dropout: float = 0.2) -> Any:
    """MobileNetV2 for images, ending in logits.

    After Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381): a 3x3
    convolution, 17 inverted residuals, a 1x1 convolution, ReLU6. The image shrinks by 32. 3,538,984 parameters at
    (224, 224, 3), 1000 classes and alpha 1; 1,691,208 at alpha 0.35.

    Args:
        input_shape: (height, width, channels), of any size; the published ones are 96 to 224.
        num_classes: size of the output.
        alpha: width of the layers against the paper's, rounded to multiples of 8; the last convolution keeps its
            1280 filters below 1. Published are 0.35, 0.5, 0.75, 1, 1.3 and 1.4.
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
    stages = tuple(stage._replace(filters=_scaled(stage.filters, alpha)) for stage in _STAGES)
    inputs = keras.layers.Input(input_shape, name="input")
    x = conv(inputs, _scaled(32, alpha), 3, name="conv1", strides=2)
    x = inverted_residuals(x, stages)
    x = conv(x, _scaled(1280, max(alpha, 1.0)), 1, name="conv_last")
    return keras.Model(inputs, classified(x, num_classes, dropout), name="mobilenet_v2")


def _scaled(filters: int, alpha: float) -> int:
    """The multiple of 8 nearest to filters * alpha, and never less than 90 % of it (as in the paper's own code)."""
    wanted = filters * alpha
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8
