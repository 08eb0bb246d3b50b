"""LeNet-5, the classic 28x28 variant and the "Caffe" variant of the compression papers."""

from __future__ import annotations

from typing import Any, Literal


def build(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    variant: Literal["classic", "caffe"] = "classic",
    filters_1: int = 0,
    filters_2: int = 0,
    units: int = 0,
    batch_norm: bool = False,
) -> Any:
    """LeNet-5 for small grey images, ending in logits.

    `classic` follows LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), as most people
    build it today for 28x28 images: two 5x5 convolutions of 6 (padded) and 16 filters, average pooling, tanh,
    dense layers of 120 and 84. 61,706 parameters at (28, 28, 1) and 10 classes.

    `caffe` is the LeNet of Caffe's MNIST example, which the compression papers (Han et al., "Deep Compression", 2015)
    call LeNet-5: 20 and 50 unpadded 5x5 filters, max pooling, one dense layer of 500. 431,080 parameters.

    Args:
        input_shape: (height, width, channels), at least 16x16.
        num_classes: size of the output.
        variant: which of the two.
        filters_1: width of the first convolution of `caffe`, for students of it; 0 leaves the paper's.
        filters_2: of the second.
        units: of the dense layer.
        batch_norm: `caffe` with batch normalization and a ReLU behind each convolution, as small students need them.

    Returns:
        A tf_keras model from (batch, height, width, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: a width below zero, or widths for `classic`.
    """
    import tf_keras as keras

    widths = (filters_1, filters_2, units)
    if min(widths) < 0 or (variant == "classic" and (any(widths) or batch_norm)):
        raise ValueError("filters_1, filters_2, units (0 or more) and batch_norm are options of the variant caffe")
    layers = keras.layers
    if variant == "classic":
        body = [
            layers.Conv2D(6, 5, padding="same", activation="tanh", name="conv1"),
            layers.AveragePooling2D(name="pool1"),
            layers.Conv2D(16, 5, activation="tanh", name="conv2"),
            layers.AveragePooling2D(name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(120, activation="tanh", name="dense1"),
            layers.Dense(84, activation="tanh", name="dense2"),
        ]
    else:
        body = [
            *_convolution("1", filters_1 or 20, batch_norm),
            *_convolution("2", filters_2 or 50, batch_norm),
            layers.Flatten(name="flatten"),
            layers.Dense(units or 500, activation="relu", name="dense1"),
        ]
    head = layers.Dense(num_classes, name="logits")
    return keras.Sequential([layers.InputLayer(input_shape, name="input"), *body, head], name="lenet5")


def _convolution(number: str, filters: int, batch_norm: bool) -> list[Any]:
    """A 5x5 convolution and its pool; Caffe's has no activation between them."""
    import tf_keras as keras

    layers = keras.layers
    between = [layers.BatchNormalization(name=f"bn{number}"), layers.ReLU(name=f"relu{number}")] if batch_norm else []
    convolution = layers.Conv2D(filters, 5, use_bias=not batch_norm, name=f"conv{number}")
    return [convolution, *between, layers.MaxPooling2D(name=f"pool{number}")]
