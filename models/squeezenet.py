"""SqueezeNet 1.1: AlexNet's accuracy with a fiftieth of its weights, without batch normalization."""

from __future__ import annotations

from typing import Any

from models._shapes import require_image, require_share

# Filters of the squeeze layer; each of the two expand layers has four times as many. A pool follows each group.
_GROUPS = ((16, 16), (32, 32), (48, 48, 64, 64))

# Without batch normalization the start decides: from Keras' own, signals shrink to nothing in 18 layers.
_START = "he_uniform"


def build(input_shape: tuple[int, ...], num_classes: int, *, dropout: float = 0.5) -> Any:
    """SqueezeNet 1.1 for images, ending in logits.

    After Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size" (arXiv
    1602.07360), version 1.1 of the authors' repository: a 3x3 convolution, eight fire modules, a 1x1 convolution to
    one map a class, whose mean is the logit. 1,235,496 parameters at (224, 224, 3) and 1000 classes. The authors put a
    ReLU on the class maps as well; it is left out, because logits that cannot fall below 0 die in short trainings.

    Args:
        input_shape: (height, width, channels), at least 17x17; the published one is 227.
        num_classes: size of the output.
        dropout: share of the features dropped before the class maps while training.

    Returns:
        A tf_keras model from (batch, height, width, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no images or too small, or an option is out of its range.
    """
    import tf_keras as keras

    require_image(input_shape, least=17)
    require_share(dropout=dropout)
    layers = keras.layers
    inputs = layers.Input(input_shape, name="input")
    x = layers.Conv2D(64, 3, 2, activation="relu", kernel_initializer=_START, name="conv1")(inputs)
    fire = 2  # the authors count conv1 as the first module
    for group, squeezes in enumerate(_GROUPS, start=1):
        x = layers.MaxPooling2D(3, 2, padding=_rounded_up(x), name=f"pool{group}")(x)
        for squeeze in squeezes:
            x = _fire(x, squeeze, name=f"fire{fire}")
            fire += 1
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Conv2D(num_classes, 1, name="conv10")(x)
    logits = layers.GlobalAveragePooling2D(name="logits")(x)
    return keras.Model(inputs, logits, name="squeezenet")


def _rounded_up(x: Any) -> str:
    """The padding that makes a 3x3 pool of stride 2 count a started window, as Caffe and torchvision do."""
    return "same" if x.shape[1] % 2 == 0 or x.shape[2] % 2 == 0 else "valid"


def _fire(x: Any, squeeze: int, *, name: str) -> Any:
    """A 1x1 convolution to few channels, then 1x1 and 3x3 side by side to many."""
    import tf_keras as keras

    layers = keras.layers
    like = {"activation": "relu", "padding": "same", "kernel_initializer": _START}
    x = layers.Conv2D(squeeze, 1, **like, name=f"{name}_squeeze")(x)
    narrow = layers.Conv2D(4 * squeeze, 1, **like, name=f"{name}_expand1x1")(x)
    wide = layers.Conv2D(4 * squeeze, 3, **like, name=f"{name}_expand3x3")(x)
    return layers.Concatenate(name=f"{name}_concat")([narrow, wide])
