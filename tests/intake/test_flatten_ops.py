"""Operations in the graph: exact layers in their place, or a refusal that names them; Lambdas by their operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline._intake._flatten import flatten
from pipeline._intake._prove import TOLERANCE, largest_difference
from pipeline.errors import ModelError
from tests.intake.live import shaken

pytestmark = pytest.mark.tf

Compute = Callable[[Any, Any], Any]

# keras.ops and a tensor of 6 x 7 x 4 in, a tensor out.
EXACT: dict[str, Compute] = {
    "Add": lambda k, x: x + k.relu(x) + 1.5,
    "Concatenate": lambda k, x: k.concatenate([x, k.relu(x)], axis=2),
    "Divide": lambda k, x: k.divide(x, 3.0),
    "Elu": lambda k, x: k.elu(x, alpha=0.3),
    "Exp": lambda k, x: k.exp(x),
    "ExpandDims": lambda k, x: k.expand_dims(x, axis=-2),
    "Gelu": lambda k, x: k.gelu(x, approximate=False),
    "GetItem": lambda k, x: x[:, 1:, 0],
    "HardSigmoid": lambda k, x: k.hard_sigmoid(x),
    "HardSilu": lambda k, x: k.hard_silu(x),
    "LeakyRelu": lambda k, x: k.leaky_relu(x, negative_slope=0.4),
    "Max": lambda k, x: k.max(x, axis=(1, 2)),
    "Maximum": lambda k, x: k.maximum(x, -x),
    "Mean": lambda k, x: k.mean(x, axis=[-3, -2], keepdims=True),
    "Minimum": lambda k, x: k.minimum(x, k.relu6(x)),
    "Multiply": lambda k, x: 2.0 * (x * np.array([1, 2, 3, 4], "float32")) * k.mean(x, axis=(1, 2), keepdims=True),
    "Negative": lambda k, x: -x,
    "Power": lambda k, x: x**2,
    "Relu": lambda k, x: k.relu(x),
    "Relu6": lambda k, x: k.relu6(3 * x),
    "Reshape": lambda k, x: k.reshape(x, (-1, 7, 24)),
    "Selu": lambda k, x: k.selu(x),
    "Sigmoid": lambda k, x: k.sigmoid(x),
    "Silu": lambda k, x: k.silu(x),
    "Softmax": lambda k, x: k.softmax(x, axis=2),
    "Softplus": lambda k, x: k.softplus(x),
    "Softsign": lambda k, x: k.softsign(x),
    "Square": lambda k, x: k.square(x),
    "Squeeze": lambda k, x: k.squeeze(x[:, 2:3], axis=1),
    "Subtract": lambda k, x: (x - k.relu(x)) - (1.0 - (x - 0.25)),
    "Tanh": lambda k, x: k.tanh(x),
    "Transpose": lambda k, x: k.transpose(x, (0, 3, 1, 2)),
    "TrueDivide": lambda k, x: x / np.array([1, 2, 4, 8], "float32"),
}

REFUSED: dict[str, Compute] = {
    "Absolute": lambda k, x: k.absolute(x),
    "a constant on that side": lambda k, x: 1.0 / x,
    "only squares": lambda k, x: x**3,
    "it joins": lambda k, x: x + k.mean(x, axis=(1, 2)),
    "changes the shape": lambda k, x: k.mean(x, axis=(1, 2), keepdims=True) * np.ones((1, 6, 7, 4), "float32"),
    "a constant of 5000 values": lambda k, x: k.reshape(x, (-1, 168))[:, :1] + np.ones((5000,), "float32"),
    "only gelu": lambda k, x: k.gelu(x, approximate=True),
    "not over all axes": lambda k, x: k.mean(x, axis=1),
    "over axis None": lambda k, x: k.mean(x),
    "reaches into the batch": lambda k, x: k.reshape(x, (-1, 84)),
    "moves the batch": lambda k, x: k.transpose(x),
    "touches the batch": lambda k, x: k.expand_dims(x, axis=0),
    "joins along the batch": lambda k, x: k.concatenate([x, x], axis=0),
    "a part of the batch": lambda k, x: x[0],
    "Cast": lambda k, x: k.cast(x, "int32"),
}


def of_operation(compute: Compute) -> Any:
    """A Keras 3 model around an operation."""
    from pipeline._tf import keras3

    keras = keras3()
    x = keras.Input((6, 7, 4), name="x")
    return keras.Model(x, compute(keras.ops, x))


@pytest.mark.parametrize("name", EXACT)
def test_an_operation_becomes_layers_that_compute_the_same(name: str, tmp_path: Path) -> None:
    from pipeline._tf import keras3
    from pipeline.draft import Draft

    model = of_operation(EXACT[name])
    assert name in {type(operation).__name__ for operation in model.operations}
    flat = flatten(model).model
    assert largest_difference(model, flat, seed=5) <= TOLERANCE
    assert largest_difference(flat, Draft.of(flat).restore(), seed=5) <= TOLERANCE
    # What it was called with comes back out of a file in other types.
    model.save(tmp_path / "saved.keras")
    saved = flatten(keras3().models.load_model(tmp_path / "saved.keras")).model
    assert largest_difference(model, saved, seed=5) <= TOLERANCE


def test_every_operation_that_is_replayed_is_tried() -> None:
    from pipeline._intake._ops import REPLAYS

    assert set(EXACT) == set(REPLAYS)


@pytest.mark.parametrize("why", REFUSED)
def test_another_operation_is_refused_by_name(why: str) -> None:
    with pytest.raises(ModelError, match=why) as refusal:
        flatten(of_operation(REFUSED[why]))
    assert "keras.ops" in refusal.value.what and refusal.value.mend.startswith("build the model with")


def test_arithmetic_of_integers_is_refused() -> None:
    from pipeline._tf import keras3

    x = keras3().Input((4,), dtype="int32")
    with pytest.raises(ModelError, match="works on int32"):
        flatten(keras3().Model(x, x + 1))


def test_operations_of_tf_keras_stay_what_they_are() -> None:
    from pipeline._tf import keras, tf
    from pipeline.draft import Draft

    x = keras.Input((6, 7, 4))
    inner = keras.Input((6, 7, 4))
    nested = keras.Model(inner, tf.nn.relu(inner[:, 1:, 0]) * 2.0 + tf.constant([1.0, 2.0, 3.0, 4.0]), name="nested")
    model = keras.Model(x, [nested(x), tf.reduce_mean(x, axis=[1, 2])])
    flat = flatten(model).model
    assert largest_difference(model, flat, seed=5) <= TOLERANCE
    assert largest_difference(flat, Draft.of(flat).restore(), seed=5) <= TOLERANCE


def lambda_model(version: str, function: Any, **settings: Any) -> Any:
    from pipeline import _tf

    keras = _tf.keras3() if version == "keras3" else _tf.keras
    layers = [keras.Input((4,)), keras.layers.Dense(4), keras.layers.Lambda(function, name="code", **settings)]
    return shaken(keras.Sequential([*layers, keras.layers.Dense(2)]))


@pytest.mark.parametrize("version", ["keras3", "tf_keras"])
def test_a_lambda_is_refused_unless_its_code_is_trusted(version: str) -> None:
    with pytest.raises(ModelError, match="'code' is a Lambda") as refusal:
        flatten(lambda_model(version, lambda x: x * 2.0))
    assert "--trust-code" in refusal.value.mend


@pytest.mark.parametrize("version", ["keras3", "tf_keras"])
def test_a_trusted_lambda_leaves_its_operations_and_no_code(version: str) -> None:
    from pipeline._tf import tf
    from pipeline.draft import Draft

    def function(x: Any, power: float) -> Any:
        return tf.abs(x) ** power + x * 2.0 - tf.reduce_mean(x, axis=-1, keepdims=True)

    model = lambda_model(version, function, arguments={"power": 1.5})
    flat = flatten(model, trust_code=True).model
    assert largest_difference(model, flat, seed=5) <= TOLERANCE
    draft = Draft.of(flat)
    assert "Lambda" not in {type(layer).__name__ for layer in flat.layers}
    assert largest_difference(flat, draft.restore(), seed=5) <= TOLERANCE
    # Traced once more in the same session, TensorFlow counts on: our names must not.
    again = flatten(model, trust_code=True).model
    assert [layer.name for layer in again.layers] == [layer.name for layer in flat.layers]


def test_a_trusted_lambda_may_call_keras_ops() -> None:
    from pipeline._tf import keras3
    from pipeline.draft import Draft

    ops = keras3().ops
    model = lambda_model("keras3", lambda x: ops.abs(x) / (1 + ops.mean(x, axis=-1, keepdims=True)))
    flat = flatten(model, trust_code=True).model
    assert largest_difference(model, flat, seed=5) <= TOLERANCE
    assert largest_difference(flat, Draft.of(flat).restore(), seed=5) <= TOLERANCE


def test_a_lambda_that_raises_what_it_likes_is_refused() -> None:
    calls = []

    def moody(x: Any) -> Any:
        calls.append(x)
        if len(calls) > 1:
            raise KeyError("enough")
        return x

    with pytest.raises(ModelError, match="raised KeyError"):
        flatten(lambda_model("tf_keras", moody), trust_code=True)
