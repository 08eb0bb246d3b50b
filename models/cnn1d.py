"""CNN-1D: a fully convolutional network for windows of sensor data."""

from __future__ import annotations

from typing import Any

from models._blocks import classified, conv
from models._shapes import require_positive, require_window

# Width against `filters`, and length of the kernel in time steps.
_BLOCKS = ((1, 8), (2, 5), (1, 3))


def build(input_shape: tuple[int, ...], num_classes: int, *, filters: int = 32) -> Any:
    """A fully convolutional network over time, ending in logits.

    After Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks: A Strong Baseline"
    (arXiv 1611.06455): three convolutions of 8, 5 and 3 time steps, batch normalization and ReLU behind each, the mean
    over time. The paper's is `filters` = 128: 264,962 trainable parameters at (time, 1) and 2 classes. The default is
    a quarter as wide.

    The convolutions over time are written as 2-D ones over (time, 1, channels), which is how TensorFlow Lite runs them
    in any case: so they need no reshaping in between, and TFMOT can make them quantization-aware.

    Args:
        input_shape: (time, channels), of any length.
        num_classes: size of the output.
        filters: of the first and the last convolution; the middle one has twice as many.

    Returns:
        A tf_keras model from (batch, time, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no windows, or an option is out of its range.
    """
    import tf_keras as keras

    steps, channels = require_window(input_shape)
    require_positive(filters=filters)
    inputs = keras.layers.Input(input_shape, name="input")
    x = keras.layers.Reshape((steps, 1, channels), name="add_width")(inputs)
    for number, (width, kernel) in enumerate(_BLOCKS, start=1):
        x = conv(x, width * filters, (kernel, 1), name=f"conv{number}", activation="relu", use_bias=True)
    return keras.Model(inputs, classified(x, num_classes), name="cnn1d")
