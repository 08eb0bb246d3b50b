"""Writes the small models beside this file: a convolutional net as float32 and as int8, and a recurrent one.

python tests/edge_targets/data/make.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline._tf import fix_seed, keras, tf
from pipeline.convert import cut, to_float32, to_int8
from pipeline.draft import Draft

FOLDER = Path(__file__).parent


def make_conv() -> None:
    """The convolutional pair."""
    fix_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.InputLayer((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(name="flatten"),
            layers.Dense(3, name="logits"),
        ],
        name="tiny",
    )
    draft = Draft.of(model)
    FOLDER.joinpath("tiny_float32.tflite").write_bytes(to_float32(draft))
    images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    FOLDER.joinpath("tiny_int8.tflite").write_bytes(to_int8(draft, images))


def make_recurrent() -> None:
    """The recurrent one, whose state outlives a run: only conversion from Keras fuses its cell into one operator."""
    fix_seed(1)
    layers = keras.layers
    kinds = [layers.InputLayer((4, 3), batch_size=1), layers.LSTM(4, name="lstm"), layers.Dense(2, name="logits")]
    model = keras.Sequential(kinds, name="tiny")
    FOLDER.joinpath("tiny_lstm.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def make_digits() -> None:
    """A net of the demo's kind, as int8. It has biases: without one, tflite-runtime 2.14 crashes on 32-bit ARM."""
    fix_seed(1)
    layers = keras.layers
    some = keras.initializers.RandomNormal(stddev=0.1, seed=1)
    model = keras.Sequential(
        [
            layers.InputLayer((28, 28, 1), name="image"),
            layers.Conv2D(8, 5, activation="relu", bias_initializer=some, name="conv1"),
            layers.MaxPooling2D(2, name="pool1"),
            layers.Conv2D(16, 5, activation="relu", bias_initializer=some, name="conv2"),
            layers.MaxPooling2D(2, name="pool2"),
            layers.Flatten(name="flatten"),
            layers.Dense(32, activation="relu", bias_initializer=some, name="dense1"),
            layers.Dense(10, bias_initializer=some, name="logits"),
        ],
        name="digits",
    )
    images = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    FOLDER.joinpath("digits_int8.tflite").write_bytes(to_int8(Draft.of(model), images))


def make_stages() -> None:
    """A net in two stages, as int8: early scores and features, features to final scores. With biases, as above."""
    fix_seed(1)
    layers = keras.layers
    some = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    image = layers.Input((8, 8, 1), name="image")
    features = layers.Conv2D(4, 3, activation="relu", bias_initializer=some, name="conv1")(image)
    early = layers.Dense(3, bias_initializer=some, name="early_scores")(layers.Flatten()(features))
    x = layers.Conv2D(4, 3, activation="relu", bias_initializer=some, name="conv2")(features)
    final = layers.Dense(3, bias_initializer=some, name="logits")(layers.Flatten()(x))
    images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    first, rest = cut(to_int8(Draft.of(keras.Model(image, [early, final], name="stages")), images))
    FOLDER.joinpath("stages_first_int8.tflite").write_bytes(first)
    FOLDER.joinpath("stages_rest_int8.tflite").write_bytes(rest)


if __name__ == "__main__":
    make_conv()
    make_recurrent()
    make_digits()
    make_stages()
