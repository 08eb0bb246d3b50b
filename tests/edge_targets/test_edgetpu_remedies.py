"""The remedies for what the Edge TPU refuses, carried out in Keras: with each, the layer is on the Edge TPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_targets._edgetpu_map import predict
from edge_targets._placement import Placement
from edge_targets.tflite_graph import parse_graph
from pipeline._tf import keras, tf

pytestmark = pytest.mark.tf

layers = keras.layers
Layer = Callable[[Any], Any]
IMAGE, SERIES, VECTOR = (16, 16, 8), (5, 16), (16,)

# The remedy's words; the shape of an example; the batch that Keras is given and the layer, as they were and as mended.
MENDED: dict[str, tuple[tuple[int, ...], tuple[int | None, Layer], tuple[int | None, Layer]]] = {
    "PReLU(shared_axes=[1, 2])": (
        IMAGE,
        (None, lambda x: layers.LeakyReLU()(layers.Conv2D(8, 3)(x))),
        (None, lambda x: layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3)(x))),
    ),
    "batch_size=1: then the dilation stays": (
        IMAGE,
        (None, layers.Conv2D(8, 3, dilation_rate=2)),
        (1, layers.Conv2D(8, 3, dilation_rate=2)),
    ),
    "Conv1D with a kernel of 1": (SERIES, (1, layers.Dense(8)), (1, layers.Conv1D(8, 1))),
    "with batch 1": (VECTOR, (8, layers.Dense(8)), (1, layers.Dense(8))),
    "SeparableConv2D": (
        IMAGE,
        (None, layers.Conv2D(8, 3, groups=2)),
        (None, layers.SeparableConv2D(8, 3)),
    ),
    "MaxPooling2D(pool_size=1, strides=2)": (
        IMAGE,
        (None, lambda x: x[:, ::2, ::2]),
        (None, layers.MaxPooling2D(pool_size=1, strides=2)),
    ),
    "x * tf.math.rsqrt(x)": (IMAGE, (None, tf.sqrt), (None, lambda x: x * tf.math.rsqrt(x))),
    "keras.layers.Add": (
        IMAGE,
        (None, lambda x: tf.add_n([x, x, x])),
        (None, lambda x: layers.Add()([x, x, x])),
    ),
    "put the activation before this layer": (
        IMAGE,
        (None, lambda x: layers.ReLU()(layers.AveragePooling2D()(x))),
        (None, lambda x: layers.AveragePooling2D()(layers.ReLU()(x))),
    ),
    "Sigmoid times the input": (
        IMAGE,
        (None, tf.nn.gelu),
        (None, lambda x: x * tf.sigmoid(x)),
    ),
    "in the place of comparisons": (
        IMAGE,
        (None, lambda x: tf.where(x > 0.5, x, 0.5 * tf.ones_like(x))),
        (None, lambda x: tf.maximum(x, 0.5)),
    ),
    "maximum(x, -x) with a multiplication by -1": (
        IMAGE,
        (None, lambda x: tf.abs(x - 0.5)),
        (None, lambda x: tf.maximum(x - 0.5, (x - 0.5) * -1.0)),
    ),
    "slices of stride 1": (SERIES, (1, lambda x: tf.unstack(x, axis=1)[0]), (1, lambda x: x[:, 0:1])),
}


def placed(shape: tuple[int, ...], batch: int | None, layer: Layer) -> list[Placement]:
    """Where the operators of a model of one layer would run, converted as people convert for the Edge TPU."""
    inputs = keras.Input(shape, batch_size=batch)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, layer(inputs)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    examples = np.random.default_rng(0).random((4, batch or 1, *shape), np.float32)
    converter.representative_dataset = lambda: ([each] for each in examples)
    # With a way out into floats for what has no int8 kernel.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return list(predict(parse_graph(bytes(converter.convert()))).placements)


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning")
@pytest.mark.parametrize("remedy", MENDED)
def test_a_remedy_brings_the_layer_onto_the_edge_tpu(remedy: str) -> None:
    shape, before, after = MENDED[remedy]
    assert any(remedy in one.remedy for one in placed(shape, *before) if one.runs_on == "cpu")
    assert {one.runs_on for one in placed(shape, *after)} == {"edgetpu"}
