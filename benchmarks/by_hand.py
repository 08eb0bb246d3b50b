"""The demo's recipe by hand: plain Keras, TFMOT and the converter, as one would write it in a notebook.

The other side of `overhead.py`. It trains the same model on the same data for as many steps, and measures the same
accuracy through the interpreter; it checks nothing and keeps nothing.

    python benchmarks/by_hand.py SEED
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter

keras.utils.set_random_seed(int(sys.argv[1]))
data = np.load("examples/data/mnist_8k_2k.npz")
order = np.random.permutation(8000)
x_all, y_all = data["x_train"][order, ..., None] / np.float32(255), data["y_train"][order].astype("int64")
x_train, y_train, held_out = x_all[800:], y_all[800:], (x_all[:800], y_all[:800])
x_test, y_test = data["x_test"][..., None] / np.float32(255), data["y_test"]
steps = -(-len(x_train) // 64)


def fit(model: Any, rate: float, epochs: int, callbacks: Sequence[Any] = ()) -> None:
    """Train with a learning rate that falls to zero."""
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps * epochs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, ["accuracy"])
    model.fit(x_train, y_train, 64, epochs, verbose=0, validation_data=held_out, callbacks=list(callbacks))


layers = keras.layers
model = keras.Sequential(
    [
        layers.InputLayer((28, 28, 1)),
        layers.Conv2D(20, 5),
        layers.MaxPooling2D(),
        layers.Conv2D(50, 5),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(500, activation="relu"),
        layers.Dense(10),
    ]
)
fit(model, 0.002, 8)
baseline = tf.lite.TFLiteConverter.from_keras_model(model).convert()
frequency = steps * 5 // 60
ramp = tfmot.sparsity.keras.PolynomialDecay(0.0, 0.85, 0, steps * 5 // frequency * frequency, frequency=frequency)
pruned = tfmot.sparsity.keras.prune_low_magnitude(model, pruning_schedule=ramp)
fit(pruned, 0.002, 10, [tfmot.sparsity.keras.UpdatePruningStep()])
stripped = tfmot.sparsity.keras.strip_pruning(pruned)
annotated = tfmot.quantization.keras.quantize_annotate_model(stripped)
scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
aware = tfmot.quantization.keras.quantize_apply(annotated, scheme)
fit(aware, 0.0003, 3)
converter = tf.lite.TFLiteConverter.from_keras_model(aware)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.inference_input_type = converter.inference_output_type = tf.int8
content = converter.convert()

interpreter = Interpreter(model_content=content)
interpreter.allocate_tensors()
source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
scale, zero_point = source["quantization"]
stored = np.clip(np.round(x_test / scale) + zero_point, -128, 127).astype(np.int8)
right = 0
for place in range(len(stored)):
    interpreter.set_tensor(source["index"], stored[place : place + 1])
    interpreter.invoke()
    right += int(interpreter.get_tensor(sink["index"])[0].argmax() == y_test[place])
print(right / len(stored))
