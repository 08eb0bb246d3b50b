"""Quantization in two steps: the same numbers as in one, and operators that stay in float."""

from __future__ import annotations

import numpy as np
import pytest

from edge_targets.tflite_graph import parse_graph
from pipeline import convert
from pipeline.draft import Draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

X = np.random.default_rng(0).random((16, 12, 12, 3), np.float32)


@pytest.fixture(scope="module")
def draft() -> Draft:
    """A convolution, a depthwise one and a dense layer, untrained."""
    from pipeline._tf import fix_seed, keras

    fix_seed(2)
    keras.backend.clear_session()
    layers = keras.layers
    inputs = layers.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="first")(inputs)
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return Draft.of(keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x)))


@pytest.fixture(scope="module")
def ranges(draft: Draft) -> bytes:
    return convert.calibrated(draft, X)


def test_two_steps_give_the_model_of_one(draft: Draft, ranges: bytes) -> None:
    # `slim` leaves out the metadata, which alone comes in another order.
    assert convert.slim(convert.quantized(ranges)) == convert.slim(convert.to_int8(draft, X))


def test_an_operator_that_is_kept_computes_in_float(ranges: bytes) -> None:
    graph = parse_graph(ranges)
    kept = next(operator for operator in graph.operators if operator.kind == "DEPTHWISE_CONV_2D")
    found = parse_graph(convert.quantized(ranges, keep_float={graph.tensors[kept.outputs[0]].name}))
    types = {operator.kind: found.tensors[operator.outputs[0]].dtype for operator in found.operators}
    assert (types["DEPTHWISE_CONV_2D"], types["CONV_2D"], types["FULLY_CONNECTED"]) == ("float32", "int8", "int8")
    assert (found.tensors[found.inputs[0]].dtype, found.tensors[found.outputs[0]].dtype) == ("int8", "int8")


def test_per_tensor_gives_each_weight_one_scale(ranges: bytes) -> None:
    graph = parse_graph(convert.quantized(ranges, per_channel=False))
    weights = [graph.tensors[operator.inputs[1]] for operator in graph.operators if "CONV" in operator.kind]
    assert [len(weight.scales) for weight in weights] == [1, 1]
