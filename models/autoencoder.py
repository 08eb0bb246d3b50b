"""Dense autoencoder: learns what is normal, so that what it cannot reconstruct is an anomaly."""

from __future__ import annotations

import math
from typing import Any

from models._blocks import normalized
from models._shapes import require_positive


def build(
    input_shape: tuple[int, ...], num_classes: int, *, width: int = 128, depth: int = 4, bottleneck: int = 8
) -> Any:
    """A dense autoencoder for vectors and windows of any shape, ending in the reconstruction.

    The anomaly detection model of MLPerf Tiny (Banbury et al., "MLPerf Tiny Benchmark", arXiv 2106.07597), which is
    the baseline of DCASE 2020 task 2 (Koizumi et al., arXiv 2006.05822): `depth` dense layers down to the bottleneck,
    as many up again, batch normalization and ReLU behind each. 269,992 parameters at (640,).

    Args:
        input_shape: of one example, (features,) or (time, channels) or any other; the published one is (640,).
        num_classes: not looked at: the output has the input's shape.
        width: units of each layer but the bottleneck.
        depth: layers on each side of the bottleneck.
        bottleneck: units of the narrowest layer.

    Returns:
        A tf_keras model from (batch, *input_shape) to its reconstruction of the same shape.

    Raises:
        ValueError: the input holds no numbers, or an option is out of its range.
    """
    import tf_keras as keras

    require_positive(width=width, depth=depth, bottleneck=bottleneck)
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"it takes examples of at least one number, and the data has {input_shape}")
    layers = keras.layers
    inputs = layers.Input(input_shape, name="input")
    x = inputs if len(input_shape) == 1 else layers.Flatten(name="flatten")(inputs)
    for name, units in _hidden(width, depth, bottleneck):
        x = normalized(layers.Dense(units, name=name)(x), name=name)
    x = layers.Dense(math.prod(input_shape), name="reconstruction")(x)
    outputs = x if len(input_shape) == 1 else layers.Reshape(input_shape, name="unflatten")(x)
    return keras.Model(inputs, outputs, name="autoencoder")


def _hidden(width: int, depth: int, bottleneck: int) -> list[tuple[str, int]]:
    """Name and units of every layer between input and reconstruction."""
    down = [(f"encoder{number}", width) for number in range(1, depth + 1)]
    up = [(f"decoder{number}", width) for number in range(1, depth + 1)]
    return [*down, ("bottleneck", bottleneck), *up]
