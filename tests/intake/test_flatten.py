"""Models nested, shared, with many inputs: flat, with equal outputs, and still so after a draft's round trip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline._intake._flatten import Flat, flatten
from pipeline._intake._prove import TOLERANCE, largest_difference
from tests.intake.live import shaken

pytestmark = pytest.mark.tf


def proven(model: Any, **options: Any) -> Flat:
    """The model made flat, with equal outputs now and after the round trip that every stage makes."""
    from pipeline.draft import Draft

    shaken(model)
    flat = flatten(model, **options)
    assert largest_difference(model, flat.model, seed=3) <= TOLERANCE
    assert not [layer for layer in flat.model.layers if hasattr(layer, "layers")], "nested models are left"
    restored = Draft.of(flat.model).restore()
    assert largest_difference(flat.model, restored, seed=4) <= TOLERANCE
    assert [layer.name for layer in restored.layers] == [layer.name for layer in flat.model.layers]
    return flat


@pytest.fixture(params=["keras3", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    """Either Keras: the same models are built in both."""
    from pipeline import _tf

    return _tf.keras3() if request.param == "keras3" else _tf.keras


@pytest.fixture
def keras3() -> Any:
    from pipeline import _tf

    return _tf.keras3()


def block(keras: Any, filters: int, name: str, channels: int = 3) -> Any:
    """A small nested model with batch normalization."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, channels)),
            layers.Conv2D(filters, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="relu"),
        ],
        name=name,
    )


def test_models_nested_at_any_depth(keras: Any) -> None:
    x = inner = keras.Input((8, 8, 3), name="picture")
    for depth in range(3):
        inner = block(keras, 3, f"block{depth}")(inner)
    middle = keras.Model(x, inner, name="middle")
    outer_input = keras.Input((8, 8, 3), name="picture")
    y = keras.layers.GlobalAveragePooling2D(name="pool")(middle(outer_input))
    flat = proven(keras.Sequential([keras.Model(outer_input, y, name="outer"), keras.layers.Dense(2, name="conv")]))
    names = [layer.name for layer in flat.model.layers[1:]]
    assert names[:4] == ["conv", "bn", "relu", "outer_middle_block1_conv"]
    assert flat.renamed["outer/middle/block1/conv"] == "outer_middle_block1_conv"
    assert flat.renamed["outer/middle/block0/conv"] == "conv"
    assert names[-2:] == ["pool", "conv_1"]


def test_names_repeat_and_hold_from_one_time_to_the_next(keras: Any) -> None:
    def build() -> Any:
        x = keras.Input((8, 8, 3), name="in")
        return keras.Model(x, block(keras, 3, "a")(block(keras, 3, "b")(x)))

    one, other = flatten(build()), flatten(build())
    assert [layer.name for layer in one.model.layers] == [layer.name for layer in other.model.layers]
    assert one.renamed == other.renamed == {
        "b/conv": "conv", "b/bn": "bn", "b/relu": "relu", "a/conv": "a_conv", "a/bn": "a_bn", "a/relu": "a_relu",
    }  # fmt: skip


def test_a_name_that_tensorflow_does_not_take(keras3: Any) -> None:
    x = keras3.Input((4,), name="ein Maß")
    flat = proven(keras3.Model(x, keras3.layers.Dense(2, name="_größe 1")(x)))
    assert flat.renamed == {"ein Maß": "ein_Ma_", "_größe 1": "layer_gr__e_1"}


def test_shared_layers_stay_shared(keras: Any) -> None:
    dense = keras.layers.Dense(4, name="twin", activation="relu")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    flat = proven(keras.Model([a, b], keras.layers.Concatenate()([dense(a), dense(dense(b))])))
    assert [layer.name for layer in flat.model.layers].count("twin") == 1
    assert flat.model.count_params() == 20


def test_a_layer_shared_by_two_nested_models_is_found_under_both_paths(keras: Any) -> None:
    dense = keras.layers.Dense(4, name="twin")
    inside = [keras.Input((4,)) for _ in range(2)]
    one, other = (keras.Model(x, dense(x), name=name) for x, name in zip(inside, ("one", "other"), strict=True))
    x = keras.Input((4,))
    flat = proven(keras.Model(x, one(other(x))))
    assert flat.renamed == {"other/twin": "twin", "one/twin": "twin"}


def test_a_model_used_twice_with_several_outputs(keras: Any) -> None:
    x = keras.Input((8, 8, 3))
    shared = block(keras, 2, "shared")
    left, right = (
        shared(x),
        shared(keras.layers.ZeroPadding2D(((1, 0), (0, 0)))(keras.layers.Cropping2D(((0, 1), (0, 0)))(x))),
    )
    flat = proven(keras.Model(x, [left, right, keras.layers.Add()([left, right])]))
    assert len(flat.model.outputs) == 3
    assert sum(layer.name == "bn" for layer in flat.model.layers) == 1


def test_inputs_and_outputs_in_a_dict_come_out_in_the_order_of_their_keys(keras: Any) -> None:
    a, b = keras.Input((3,), name="z"), keras.Input((5,), name="a")
    out = {"second": keras.layers.Dense(2, name="s")(a), "first": keras.layers.Dense(3, name="f")(b)}
    flat = proven(keras.Model({"z": a, "a": b}, out))
    assert [tensor.shape[1] for tensor in flat.model.inputs] == [5, 3]
    assert [tensor.shape[1] for tensor in flat.model.outputs] == [3, 2]


def test_a_nested_model_of_several_inputs_called_by_name(keras: Any) -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((5,), name="b")
    inner = keras.Model([a, b], keras.layers.Concatenate()([keras.layers.Dense(2)(a), b]), name="inner")
    x, y = keras.Input((5,), name="x"), keras.Input((3,), name="y")
    proven(keras.Model([x, y], inner({"b": x, "a": y})))


def test_free_sizes_stay_free(keras: Any) -> None:
    x = keras.Input((None, None, 3))
    flat = proven(keras.Model(x, keras.layers.GlobalMaxPooling2D()(keras.layers.Conv2D(2, 3)(x))))
    assert flat.model.input_shape == (None, None, None, 3)


def test_attention_with_query_and_value(keras: Any) -> None:
    q, v = keras.Input((3, 4)), keras.Input((5, 4))
    attended = keras.layers.MultiHeadAttention(2, 3, name="mha")(q, value=v, key=v, use_causal_mask=False)
    flat = proven(keras.Model([q, v], keras.layers.LayerNormalization()(keras.layers.Add()([q, attended]))))
    assert flat.model.get_layer("mha").count_params() > 0


def test_self_attention_and_scores(keras3: Any) -> None:
    x = keras3.Input((5, 4))
    y, scores = keras3.layers.MultiHeadAttention(2, 2)(x, x, return_attention_scores=True)
    proven(keras3.Model(x, [y, scores]))


def test_initial_states_of_a_recurrent_layer(keras: Any) -> None:
    x, h, c = keras.Input((5, 3)), keras.Input((2,)), keras.Input((2,))
    proven(keras.Model([x, h, c], keras.layers.LSTM(2, return_sequences=True)(x, initial_state=[h, c])))


def test_the_state_of_an_encoder_starts_a_decoder(keras: Any) -> None:
    x, y = keras.Input((5, 3)), keras.Input((4, 3))
    _, state = keras.layers.GRU(2, return_state=True)(x)
    proven(keras.Model([x, y], keras.layers.GRU(2)(y, initial_state=state)))


def test_masks_reach_where_they_did(keras: Any, tmp_path: Path) -> None:
    ids = keras.Input((6,), name="ids")
    embedded = keras.layers.Embedding(4, 3, mask_zero=True)(ids)
    hidden = keras.layers.LSTM(2, return_sequences=True)(keras.layers.Dropout(0.2)(embedded))
    model = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(hidden))
    flat = flatten(shaken(model))
    ignored = np.array([[1, 2, 0, 0, 0, 0]]), np.array([[1, 2, 0, 0, 3, 0]])
    assert not np.allclose(*(flat.model(x) for x in ignored)), "the second has an id more that counts"
    # Keras 3 writes the masks that it made into the file, and makes them anew when it reads it.
    model.save(tmp_path / "masked.keras")
    proven(keras.models.load_model(tmp_path / "masked.keras"))


def test_a_mask_of_the_users_own_stays(keras: Any) -> None:
    x, mask = keras.Input((6, 3)), keras.Input((6,), dtype="bool", name="mask")
    flat = proven(keras.Model([x, mask], keras.layers.SimpleRNN(2)(x, mask=mask)))
    series = np.ones((1, 6, 3), "float32")
    masks = [np.arange(6)[None] < 6, np.arange(6)[None] < 2]
    assert not np.allclose(*(flat.model([series, each]) for each in masks))


# Keras 3 says that it cannot tell behind a nested model what was masked; inside it can.
@pytest.mark.filterwarnings("ignore:Layer 'inner' .* was passed an input with a mask:UserWarning")
def test_a_mask_goes_into_a_nested_model(keras: Any) -> None:
    inside = keras.Input((6, 3))
    inner = keras.Model(inside, keras.layers.LSTM(2)(inside), name="inner")
    x = keras.Input((6, 3))
    proven(keras.Model(x, inner(keras.layers.Masking(0.0)(x))))


def test_models_in_wrappers_are_flat_in_themselves(keras3: Any) -> None:
    x = keras3.Input((2, 8, 8, 3))
    nested = keras3.Sequential([keras3.Input((8, 8, 3)), block(keras3, 2, "b"), keras3.layers.Flatten()], name="each")
    model = shaken(keras3.Model(x, keras3.layers.TimeDistributed(nested)(x)))
    flat = flatten(model).model
    assert largest_difference(model, flat, seed=1) <= TOLERANCE
    assert [layer.name for layer in flat.layers[-1].layer.layers][1:4] == ["conv", "bn", "relu"]


def test_frozen_layers_stay_frozen(keras: Any) -> None:
    base = block(keras, 2, "base")
    base.trainable = False
    x = keras.Input((8, 8, 3))
    flat = proven(keras.Model(x, keras.layers.Conv2D(1, 1, name="head")(base(x, training=False))))
    assert {weight.name.split("/")[0] for weight in flat.model.trainable_weights} == {"head"}


def test_training_false_keeps_batch_normalization_and_dropout_as_they_are_at_inference(keras: Any) -> None:
    base = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(name="bn"), keras.layers.Dropout(0.5, name="drop")],
        name="base",
    )
    x = keras.Input((4,))
    flat = proven(keras.Model(x, keras.layers.Dropout(0.1, name="own")(base(x, training=False))))
    assert not flat.model.get_layer("bn").trainable
    assert [layer.name for layer in flat.model.layers][1:] == ["bn", "own"]
    assert flat.folded == (
        "base/drop (Dropout) left out: it is called with training=False",
        "training=False: 1 BatchNormalization frozen, as it is called",
    )


def test_an_output_that_is_an_input_and_one_that_is_inside_a_nested_model(keras: Any) -> None:
    x = keras.Input((8, 8, 3))
    inside = keras.Input((8, 8, 3))
    first = keras.layers.Conv2D(2, 3, name="first")(inside)
    inner = keras.Model(inside, [first, keras.layers.Flatten()(first)], name="inner")
    first, second = inner(x)
    proven(keras.Model(x, [second, keras.layers.ReLU()(first)]))


def test_a_subclass_with_only_its_own_training_is_still_a_graph(keras: Any) -> None:
    class Own(keras.Model):  # type: ignore[misc]  # the base is known when the test runs
        def train_step(self, data: Any) -> Any:
            raise NotImplementedError

    x = keras.Input((4,))
    proven(Own(x, keras.layers.Dense(2)(x)))


def test_custom_layers_come_from_the_users_own_class(keras3: Any) -> None:
    from pipeline._tf import keras as tf_keras

    layer: Callable[[Any], Any] = lambda k: type("Scale", (k.layers.Layer,), dict(_scale_methods()))  # noqa: E731
    x = keras3.Input((4,))
    flat = proven_custom(keras3.Model(x, layer(keras3)(3.0, name="scale")(x)), layer(tf_keras))
    assert flat.model.get_layer("scale").factor == 3.0


def proven_custom(model: Any, cls: Any) -> Flat:
    shaken(model)
    flat = flatten(model, custom={"Scale": cls})
    assert largest_difference(model, flat.model, seed=3) <= TOLERANCE
    return flat


def _scale_methods() -> dict[str, Any]:
    """The methods of a layer with a setting and a weight, the same in either Keras."""

    def init(self: Any, factor: float, **settings: Any) -> None:
        super(type(self), self).__init__(**settings)
        self.factor = factor

    def build(self: Any, shape: Any) -> None:
        self.gain = self.add_weight(name="gain", shape=(shape[-1],), initializer="ones")

    def call(self: Any, x: Any) -> Any:
        return x * self.gain * self.factor

    def config(self: Any) -> Any:
        return super(type(self), self).get_config() | {"factor": self.factor}

    return {"__init__": init, "build": build, "call": call, "get_config": config}


def pictures(keras: Any) -> Any:
    """A MobileNetV2 as people save it: nested behind augmentation and scaling, for transfer learning."""
    whole = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.35)
    # As much of it as has every kind of block; the whole takes a quarter of a minute to quantize.
    features = keras.layers.GlobalAveragePooling2D()(whole.get_layer("block_2_add").output)
    base = keras.Model(whole.input, features, name="mobilenet")
    front = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.Rescaling(1 / 256)], name="front")
    x = keras.Input((32, 32, 3))
    return keras.Model(x, keras.layers.Dense(3, name="head")(base(front(x), training=False)))


def alive(model: Any) -> Any:
    """The model with the statistics of some pictures: else they are lost among 50 layers, and any output is alike."""
    images = np.random.default_rng(0).uniform(0, 255, (16, 32, 32, 3)).astype("float32")
    normalizations = [layer for layer in model._flatten_layers() if type(layer).__name__ == "BatchNormalization"]
    momentum = normalizations[0].momentum
    for layer in normalizations:
        layer.momentum = 0.0
    model(images, training=True)
    for layer in normalizations:
        layer.momentum = momentum
    assert np.ptp(np.asarray(model(images, training=False)), axis=0).min() > 0.01, "outputs tell pictures apart"
    return model


def test_a_mobilenet_goes_into_quantization_aware_training(keras3: Any) -> None:
    from pipeline._tf import tfmot

    model = alive(pictures(keras3))
    flat = flatten(model)
    assert largest_difference(model, flat.model, seed=1) <= TOLERANCE
    assert [layer.name for layer in flat.model.layers][1:3] == ["Conv1", "bn_Conv1"], "nothing is left of the front"
    annotated = tfmot().quantization.keras.quantize_annotate_model(flat.model)
    with tfmot().quantization.keras.quantize_scope():
        aware = tfmot().quantization.keras.quantize_apply(annotated)
    assert sum(type(layer).__name__ == "QuantizeWrapperV2" for layer in aware.layers) > 25


def test_a_densely_wired_network_with_scaling_inside(keras3: Any) -> None:
    model = alive(keras3.applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3), classes=4))
    flat = flatten(model)
    assert largest_difference(model, flat.model, seed=1) <= TOLERANCE
    assert "Rescaling" in flat.kept_front[0]
