"""Made the models in this folder: `python tests/edge_targets/data/make_models.py` from the project's root.

    conv_float32.tflite   a tiny convolutional net, 8x8x1 to 10 classes
    conv_int8.tflite      the same after quantization-aware wrapping, all int8
    lstm_float32.tflite   a tiny recurrent net, 4 steps of 3 to 2 classes, with state that outlives a run

Weights are random with a fixed seed. The tests read the files; they are made again only when this script changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent


def converter_of(model: Any, shape: tuple[int, ...]) -> Any:
    """A converter of the frozen graph, the way that the pipeline converts."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    call = tf.function(lambda x: model(x, training=False))
    traced = call.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="input"))
    frozen = convert_variables_to_constants_v2(traced, lower_control_flow=False)
    return tf.lite.TFLiteConverter.from_concrete_functions([frozen])


def make_conv() -> None:
    """The convolutional pair."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    from tf_keras import Sequential, layers

    kinds = [
        layers.Conv2D(4, 3),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, activation="relu"),
        layers.Flatten(),
        layers.Dense(10),
        layers.Softmax(),
    ]
    model = Sequential([layers.Input((8, 8, 1)), *kinds], name="tiny")
    shape = (1, 8, 8, 1)
    FOLDER.joinpath("conv_float32.tflite").write_bytes(converter_of(model, shape).convert())

    aware = tfmot.quantization.keras.quantize_model(model)
    rng = np.random.default_rng(0)
    for _ in range(50):  # lets the ranges settle
        aware(rng.random((32, 8, 8, 1), dtype=np.float32), training=True)
    converter = converter_of(aware, shape)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    FOLDER.joinpath("conv_int8.tflite").write_bytes(converter.convert())


def make_lstm() -> None:
    """The recurrent one: only conversion from Keras fuses its cell."""
    import tensorflow as tf
    from tf_keras import Sequential, layers

    kinds = [layers.Input((4, 3), batch_size=1), layers.LSTM(4), layers.Dense(2)]
    model = Sequential(kinds, name="tiny")
    FOLDER.joinpath("lstm_float32.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


if __name__ == "__main__":
    from tf_keras import utils

    utils.set_random_seed(1)
    make_conv()
    make_lstm()
