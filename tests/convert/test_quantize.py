"""Quantization in two steps: ranges that are the tensors' own, and operators that stay in float."""

from __future__ import annotations

import numpy as np
import pytest

from edge_targets.tflite_graph import parse_graph
from pipeline import convert
from pipeline._convert._extremes import with_extremes
from pipeline._convert._ranges import Ranges
from pipeline.draft import Draft
from pipeline.errors import ModelError

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


def test_a_range_is_of_the_tensor_alone_though_an_operator_writes_over_it() -> None:
    # TensorFlow's own calibrator gives `difference` the range of `scaled`, which is computed in its place.
    from pipeline._tf import fix_seed, keras

    fix_seed(2)
    keras.backend.clear_session()
    layers = keras.layers
    inputs = layers.Input((6,))
    difference = layers.Subtract()([layers.Dense(4, activation="sigmoid")(inputs) for _ in range(2)])
    scaled = layers.Multiply()(
        [difference, layers.Dense(4, bias_initializer=keras.initializers.Constant(20.0))(inputs)]
    )
    model = keras.Model(inputs, layers.Dense(2)(scaled))
    x = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    calibrated = convert.calibrated(Draft.of(model), x)
    [made] = (operator.outputs[0] for operator in parse_graph(calibrated).operators if operator.kind == "SUB")
    held = keras.Model(inputs, difference).predict(x, verbose=0)
    assert Ranges(calibrated).each[made] == pytest.approx((held.min(), held.max()), abs=1e-5)


def test_an_operator_that_is_kept_computes_in_float(ranges: bytes) -> None:
    graph = parse_graph(ranges)
    kept = next(operator for operator in graph.operators if operator.kind == "DEPTHWISE_CONV_2D")
    found = parse_graph(convert.quantized(ranges, kept={graph.tensors[kept.outputs[0]].name}))
    types = {operator.kind: found.tensors[operator.outputs[0]].dtype for operator in found.operators}
    assert (types["DEPTHWISE_CONV_2D"], types["CONV_2D"], types["FULLY_CONNECTED"]) == ("float32", "int8", "int8")
    assert (found.tensors[found.inputs[0]].dtype, found.tensors[found.outputs[0]].dtype) == ("int8", "int8")


def test_per_tensor_gives_each_weight_one_scale(ranges: bytes) -> None:
    graph = parse_graph(convert.quantized(ranges, per_channel=False))
    weights = [graph.tensors[operator.inputs[1]] for operator in graph.operators if "CONV" in operator.kind]
    assert [len(weight.scales) for weight in weights] == [1, 1]


def test_a_tensor_that_is_not_finite_is_named(ranges: bytes) -> None:
    with pytest.raises(ModelError, match=r"global_average_pooling2d/Mean' reaches from 0 to inf over the"):
        with_extremes(ranges, np.concatenate([X[:1], np.full_like(X[:1], 3e38)]))
