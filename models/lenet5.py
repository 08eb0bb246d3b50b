"""LeNet-5, the classic 28x28 variant and the "Caffe" variant of the compression papers."""

from __future__ import annotations

from typing import Any, Literal


def build(input_shape: tuple[int, ...], num_classes: int, *, variant: Literal["classic", "caffe"] = "classic") -> Any:
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

    Returns:
        A tf_keras model from (batch, height, width, channels) to (batch, num_classes) logits.
    """
    import tf_keras as keras

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
            layers.Conv2D(20, 5, name="conv1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(50, 5, name="conv2"),
            layers.MaxPooling2D(name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(500, activation="relu", name="dense1"),
        ]
    head = layers.Dense(num_classes, name="logits")
    return keras.Sequential([layers.InputLayer(input_shape, name="input"), *body, head], name="lenet5")
