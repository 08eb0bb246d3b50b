"""What cannot be flattened is refused by name, with what to do; and the proof sees what a wrong copy would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline._intake._double import in_double
from pipeline._intake._flatten import flatten
from pipeline._intake._prove import TOLERANCE, largest_difference
from pipeline.errors import ModelError
from tests.intake.live import shaken

pytestmark = pytest.mark.tf


@pytest.fixture(params=["keras3", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    """Either Keras."""
    from pipeline import _tf

    return _tf.keras3() if request.param == "keras3" else _tf.keras


@pytest.fixture
def keras3() -> Any:
    from pipeline import _tf

    return _tf.keras3()


def refusal(model: Any) -> ModelError:
    """What is said of a model; it says all three things."""
    with pytest.raises(ModelError) as refused:
        flatten(model)
    assert refused.value.expected and refused.value.mend
    return refused.value


def test_a_sequential_model_without_a_shape(keras: Any) -> None:
    said = refusal(keras.Sequential([keras.layers.Dense(3)], name="shapeless"))
    assert "'shapeless'" in said.what and "keras.Input(shape=...)" in said.mend


def test_a_sequential_model_that_was_built_on_data(keras: Any) -> None:
    model = keras.Sequential([keras.layers.Dense(3)])
    model(np.zeros((2, 5), "float32"))
    assert largest_difference(model, flatten(model).model, seed=0) <= TOLERANCE


def subclassed(keras: Any) -> Any:
    class Own(keras.Model):  # type: ignore[misc]  # the base is known when the test runs
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.dense = keras.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own(name="written")
    model(np.zeros((2, 5), "float32"))
    return model


def test_a_subclassed_model_alone_and_inside_another(keras: Any) -> None:
    said = refusal(subclassed(keras))
    assert "'written' of class Own" in said.what and "model.call(x)" in said.mend
    x = keras.Input((5,))
    assert "'written'" in refusal(keras.Model(x, subclassed(keras)(x))).what


def test_a_functional_model_with_a_call_of_its_own(keras: Any) -> None:
    class Twice(keras.Model):  # type: ignore[misc]  # the base is known when the test runs
        def call(self, x: Any, training: Any = None, mask: Any = None) -> Any:
            return super().call(x) * 2.0

    x = keras.Input((5,))
    assert "class Twice" in refusal(Twice(x, keras.layers.Dense(3)(x))).what


def test_a_layer_of_the_users_own(keras3: Any) -> None:
    class Dense(keras3.layers.Dense):  # type: ignore[misc]  # the base is known when the test runs
        def call(self, x: Any, training: Any = None) -> Any:
            return super().call(x) * 2.0

    said = refusal(keras3.Sequential([keras3.Input((4,)), Dense(3, name="mine")]))
    assert "'mine' is of the class Dense, which is no layer of Keras" in said.what and "--custom-objects" in said.mend


def test_weights_of_the_users_own_class_that_do_not_fit(keras3: Any) -> None:
    from pipeline._tf import keras

    class Own(keras3.layers.Layer):  # type: ignore[misc]  # the base is known when the test runs
        def build(self, shape: Any) -> None:
            self.gain = self.add_weight(name="gain", shape=(shape[-1],))

        def call(self, x: Any) -> Any:
            return x * self.gain

    model = keras3.Sequential([keras3.Input((4,)), Own(name="mine")])
    with pytest.raises(ModelError, match=r"'mine' .* a gain of shape"):
        flatten(model, custom={"Own": type("Own", (keras.layers.Layer,), {})})


# Settings that only Keras 3 knows, and that change what comes out.
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "antialias=True": lambda k: k.Resizing(3, 3, antialias=True),
    "pad_to_aspect_ratio=True": lambda k: k.Resizing(3, 3, pad_to_aspect_ratio=True),
    "data_format='channels_first'": lambda k: k.CenterCrop(3, 3, data_format="channels_first"),
    "activation 'celu'": lambda k: k.Dense(3, activation="celu"),
    "activation 'hard_sigmoid'": lambda k: k.TimeDistributed(k.Dense(3, activation="hard_sigmoid")),
    "class RMSNormalization": lambda k: k.RMSNormalization(),
    "class AutoContrast": lambda k: k.AutoContrast(),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_a_setting_is_never_dropped_silently(keras3: Any, what: str) -> None:
    model = keras3.Sequential([keras3.Input((6, 6, 6)), SETTINGS[what](keras3.layers)])
    said = refusal(model)
    assert what in said.what and repr(model.layers[-1].name) in said.what


def test_attention_with_what_only_keras_3_knows(keras3: Any) -> None:
    x = keras3.Input((5, 4))
    gated = keras3.layers.MultiHeadAttention(2, 2, use_gate=True)(x, x)
    assert "use_gate=True" in refusal(keras3.Model(x, gated)).what
    masked = keras3.layers.MultiHeadAttention(2, 2)(x, x, query_mask=keras3.ops.ones((1, 5), "bool"))
    assert "called with query_mask=" in refusal(keras3.Model(x, masked)).what


def test_a_mask_that_keras_3_ignores(keras3: Any) -> None:
    ids, state = keras3.Input((5,)), keras3.Input((2,))
    embedded = keras3.layers.Embedding(6, 4, mask_zero=True)(ids)
    model = keras3.Model([ids, state], keras3.layers.GRU(2, name="gru")(embedded, initial_state=state))
    assert "'gru'" in refusal(model).what and "mask_zero" in refusal(model).mend


def test_what_tf_keras_says_is_passed_on(keras3: Any) -> None:
    model = keras3.Sequential([keras3.Input((8, 8, 3), dtype="uint8"), keras3.layers.Conv2D(2, 3, name="conv")])
    assert "'conv'" in refusal(model).what and "uint8" in refusal(model).what


def test_gates_of_a_recurrent_layer_that_are_another_function_in_tf_keras(keras3: Any) -> None:
    lstm = keras3.layers.LSTM(3, recurrent_activation="hard_sigmoid")
    assert "'hard_sigmoid'" in refusal(keras3.Sequential([keras3.Input((5, 4)), lstm])).what


def test_a_quantized_or_an_adapted_model(keras3: Any) -> None:
    model = keras3.Sequential([keras3.Input((4,)), keras3.layers.Dense(3, name="small")])
    model.layers[0].quantize("int8")
    assert "'small'" in refusal(model).what
    model = keras3.Sequential([keras3.Input((4,)), keras3.layers.Dense(3, name="lora")])
    model.layers[0].enable_lora(2)
    assert "lora_rank=2" in refusal(model).what


def test_text_and_sparse_inputs(keras3: Any) -> None:
    x = keras3.Input((1,), dtype="string", name="words")
    assert "'words' is text" in refusal(keras3.Model(x, keras3.layers.Identity()(x))).what
    x = keras3.Input((4,), sparse=True, name="thin")
    assert "'thin' is sparse" in refusal(keras3.Model(x, keras3.layers.Dense(2)(x))).what


def test_dropout_that_is_active_at_inference() -> None:
    from pipeline._tf import keras

    x = keras.Input((4,))
    said = refusal(keras.Model(x, keras.layers.Dropout(0.5, name="mc")(x, training=True)))
    assert "'mc'" in said.what and "training=True" in said.what


def test_half_precision_is_kept(keras3: Any) -> None:
    layer = keras3.layers.Dense(3, dtype="mixed_float16", name="half")
    flat = flatten(shaken(keras3.Sequential([keras3.Input((4,)), layer]))).model
    assert flat.get_layer("half").compute_dtype == "float16" and flat.get_layer("half").variable_dtype == "float32"


def test_the_proof_sees_one_wrong_weight(keras3: Any) -> None:
    model = shaken(keras3.Sequential([keras3.Input((8, 8, 3)), keras3.layers.Conv2D(4, 3), keras3.layers.Flatten()]))
    flat = flatten(model).model
    assert largest_difference(model, flat, seed=1) <= TOLERANCE
    weights = flat.get_weights()
    weights[0][1, 1, 1, 1] += 0.01
    flat.set_weights(weights)
    assert largest_difference(model, flat, seed=1) > 10 * TOLERANCE


def test_the_proof_sees_what_is_not_a_number_and_other_shapes(keras3: Any) -> None:
    def model(units: int) -> Any:
        return shaken(keras3.Sequential([keras3.Input((4,)), keras3.layers.Dense(units)]))

    one, flat = model(3), flatten(model(3)).model
    assert largest_difference(one, flatten(model(1)).model, seed=1) == float("inf")
    flat.set_weights([w * np.nan for w in flat.get_weights()])
    assert largest_difference(one, flat, seed=1) == float("inf")


def test_rounding_of_a_network_that_amplifies_it_is_no_mistake(keras3: Any) -> None:
    """Large sums that cancel: float32 loses all digits, in another way in another order of layers."""
    keras = keras3
    x = keras.Input((64,))
    hidden = keras.layers.Dense(64, kernel_initializer=keras.initializers.RandomNormal(seed=1))(x)
    raised = keras.layers.Rescaling(1.0, 1e6)(hidden)
    model = keras.Model(x, keras.layers.Rescaling(1e4)(keras.layers.Rescaling(1.0, -1e6)(raised)))
    flat = flatten(model).model
    wrong = flatten(model).model
    wrong.set_weights([w * (1 + 1e-4) for w in wrong.get_weights()])
    assert largest_difference(model, flat, seed=1) <= TOLERANCE < largest_difference(model, wrong, seed=1)
    doubled = in_double(model)
    assert str(doubled(np.ones((1, 64)), training=False).dtype).endswith("float64'>") and doubled is not model


def test_a_model_that_cannot_be_rebuilt_is_judged_in_single_precision(keras3: Any) -> None:
    class Own(keras3.layers.Layer):  # type: ignore[misc]  # the base is known when the test runs
        def __init__(self, needed: Any, **settings: Any) -> None:
            super().__init__(**settings)

    assert in_double(keras3.Sequential([keras3.Input((4,)), Own(object())])) is None
