"""GRU: a small recurrent network for windows of sensor data."""

from __future__ import annotations

from typing import Any

from models._shapes import require_positive, require_share, require_window


def build(
    input_shape: tuple[int, ...], num_classes: int, *, units: int = 32, layers: int = 1, dropout: float = 0.0
) -> Any:
    """Gated recurrent units over time, ending in logits.

    After Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (arXiv 1406.1078), in the form of
    Keras (`reset_after`, as in cuDNN). A layer has 3 * units * (inputs + units + 2) parameters.

    The recurrence is unrolled: TensorFlow Lite has no GRU operator, and its converter takes no loop to int8. So the
    operators grow with the window's length, and the file with them (14 operators, about 8 kB a step and layer);
    keep windows to some 100 steps.

    Args:
        input_shape: (time, channels).
        num_classes: size of the output.
        units: width of each layer.
        layers: recurrent layers on top of each other.
        dropout: share of the features dropped behind each layer while training.

    Returns:
        A tf_keras model from (batch, time, channels) to (batch, num_classes) logits.

    Raises:
        ValueError: the inputs are no windows, or an option is out of its range.
    """
    import tf_keras as keras

    steps, channels = require_window(input_shape)
    require_positive(units=units, layers=layers)
    require_share(dropout=dropout)
    inputs = keras.layers.Input(input_shape, name="input")
    x = inputs if len(input_shape) == 2 else keras.layers.Reshape((steps, channels), name="flatten_bands")(inputs)
    for number in range(1, layers + 1):
        x = _recurrent(units, sequences=number < layers, name=f"gru{number}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout{number}")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name="gru")


def _recurrent(units: int, *, sequences: bool, name: str) -> Any:
    import tf_keras as keras

    # PyTorch's start. With Keras' zeros the first step needs no reset gate; the converter then drops one output of that
    # step's SPLIT, cannot tell its range, and leaves the operator in float.
    spread = keras.initializers.RandomUniform(-(units**-0.5), units**-0.5)
    return keras.layers.GRU(units, return_sequences=sequences, unroll=True, bias_initializer=spread, name=name)
