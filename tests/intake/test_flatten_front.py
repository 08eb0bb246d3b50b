"""The front end: augmentation falls away, scaling moves into weights exactly or stays and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline._intake._flatten import Flat, flatten
from pipeline._intake._prove import TOLERANCE, largest_difference
from pipeline.errors import ModelError
from tests.intake.live import shaken

pytestmark = pytest.mark.tf

Build = Callable[[Any], Any]

IMAGE, SERIES, ROW = (6, 7, 4), (8, 4), (4,)


@pytest.fixture(params=["keras3", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    """Either Keras."""
    from pipeline import _tf

    return _tf.keras3() if request.param == "keras3" else _tf.keras


@pytest.fixture
def keras3() -> Any:
    from pipeline import _tf

    return _tf.keras3()


def row_of(keras: Any, shape: tuple[int, ...], *layers: Any, dtype: str = "float32") -> Any:
    return shaken(keras.Sequential([keras.Input(shape, dtype=dtype), *layers]))


def proven(model: Any, **options: Any) -> Flat:
    flat = flatten(model, **options)
    assert largest_difference(model, flat.model, seed=2) <= TOLERANCE
    return flat


def kinds(flat: Flat) -> list[str]:
    return [type(layer).__name__ for layer in flat.model.layers[1:]]


SCALES: dict[str, Build] = {
    "one value": lambda k: k.Rescaling(1 / 255),
    "with offset": lambda k: k.Rescaling(1 / 127.5, offset=-1.0),
    "per channel": lambda k: k.Rescaling([0.1, 0.2, 0.3, 0.4], offset=[1.0, -1.0, 2.0, -2.0]),
    "normalization": lambda k: k.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 0.0]),
    "inverted": lambda k: k.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 4.0, 9.0, 2.0], invert=True),
}
TAKERS: dict[str, tuple[tuple[int, ...], Build]] = {
    "Conv2D": (IMAGE, lambda k: k.Conv2D(3, (2, 3), strides=2)),
    "without bias": (IMAGE, lambda k: k.Conv2D(3, 3, use_bias=False, bias_initializer="ones")),
    "in groups": (IMAGE, lambda k: k.Conv2D(6, 3, groups=2, activation="relu")),
    "Conv1D": (SERIES, lambda k: k.Conv1D(3, 3, dilation_rate=2)),
    "DepthwiseConv2D": (IMAGE, lambda k: k.DepthwiseConv2D(3, depth_multiplier=2)),
    "DepthwiseConv1D": (SERIES, lambda k: k.DepthwiseConv1D(3, use_bias=False)),
    "Dense": (ROW, lambda k: k.Dense(3, activation="tanh")),
    "Dense on a series": (SERIES, lambda k: k.Dense(3, use_bias=False)),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("scale", SCALES)
def test_scaling_moves_into_the_weights_behind_it(keras3: Any, scale: str, taker: str) -> None:
    shape, build = TAKERS[taker]
    layer = build(keras3.layers)
    flat = proven(row_of(keras3, shape, SCALES[scale](keras3.layers), layer))
    assert kinds(flat) == [type(layer).__name__]
    assert len(flat.folded) == 1 and flat.folded[0].endswith(f"folded into {layer.name}") and not flat.kept_front


def test_scaling_of_tf_keras_moves_too() -> None:
    from pipeline._tf import keras

    layers = [keras.layers.Rescaling(1 / 127.5, offset=-1.0), keras.layers.Conv2D(3, 3, use_bias=False)]
    flat = proven(row_of(keras, IMAGE, *layers))
    assert kinds(flat) == ["Conv2D"]


def test_what_was_measured_of_the_data_moves_into_the_weights(keras: Any) -> None:
    from pipeline.draft import Draft

    norm = keras.layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(5, 3, (50, 4)).astype("float32"))
    model = keras.Sequential([keras.Input((4,)), norm, keras.layers.Dense(3)])
    assert kinds(proven(model)) == ["Dense"]
    unfolded = proven(model, fold=False)
    assert largest_difference(unfolded.model, Draft.of(unfolded.model).restore(), seed=2) <= TOLERANCE
    assert kinds(unfolded) == ["Normalization", "Dense"]
    assert unfolded.kept_front == (
        f"{norm.name} (Normalization) kept: weights that are yet to be trained take it in badly",
    )


def test_several_in_a_row_move_as_one_through_nested_models(keras: Any) -> None:
    inner = keras.Sequential(
        [keras.Input(IMAGE), keras.layers.Rescaling(2.0, 1.0, name="b"), keras.layers.Conv2D(2, 3, name="conv")],
        name="inner",
    )
    flat = proven(row_of(keras, IMAGE, keras.layers.Rescaling(0.5, -3.0, name="a"), inner))
    assert flat.folded == ("a (Rescaling) folded into inner/conv", "inner/b (Rescaling) folded into inner/conv")


def test_a_pure_scale_moves_behind_padding_an_offset_does_not(keras: Any) -> None:
    def model(offset: float) -> Any:
        layers = [keras.layers.Rescaling(0.1, offset, name="r"), keras.layers.Conv2D(2, 3, padding="same")]
        return row_of(keras, IMAGE, *layers)

    assert kinds(proven(model(0.0))) == ["Conv2D"]
    flat = proven(model(-1.0))
    assert kinds(flat) == ["Rescaling", "Conv2D"]
    assert flat.kept_front == ("r (Rescaling) kept: its offset is not exact behind the zeros that padding='same' adds",)


KEPT: dict[str, Build] = {
    "is no layer whose weights": lambda k: k.ReLU(),
    "constraint or regularizer": lambda k: k.Conv2D(2, 3, kernel_regularizer="l2"),
    "is no layer whose weights could": lambda k: k.SeparableConv2D(2, 3),
}


@pytest.mark.parametrize("why", KEPT)
def test_scaling_stays_where_it_cannot_move(keras3: Any, why: str) -> None:
    flat = proven(row_of(keras3, IMAGE, keras3.layers.Rescaling(0.1, 1.0), KEPT[why](keras3.layers)))
    assert kinds(flat)[0] == "Rescaling" and why in flat.kept_front[0] and not flat.folded


def test_scaling_stays_where_its_output_or_the_layer_behind_it_has_other_uses(keras3: Any) -> None:
    x, z = keras3.Input(ROW), keras3.Input(ROW)
    scaled, dense = keras3.layers.Rescaling(0.1, name="r")(x), keras3.layers.Dense(4)
    twice = proven(shaken(keras3.Model(x, [dense(scaled), scaled])))
    assert "used 2 times" in twice.kept_front[0]
    shared = proven(shaken(keras3.Model([x, z], [dense(scaled), dense(z)])))
    assert "shared" in shared.kept_front[0]


def test_scaling_of_whole_numbers_stays(keras: Any) -> None:
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(2, 3)]
    flat = proven(row_of(keras, IMAGE, *layers, dtype="uint8"))
    assert "uint8" in flat.kept_front[0]


def test_scaling_along_other_axes_stays(keras3: Any) -> None:
    flat = proven(row_of(keras3, IMAGE, keras3.layers.Normalization(axis=(1, 3)), keras3.layers.Conv2D(2, 3)))
    assert "other axes" in flat.kept_front[0]


def test_other_layers_in_front_stay_and_are_named(keras: Any) -> None:
    layers = [keras.layers.Resizing(8, 8, name="size"), keras.layers.CenterCrop(4, 4, name="crop")]
    flat = proven(row_of(keras, IMAGE, *layers, keras.layers.Conv2D(2, 3)))
    assert [sentence.split()[0] for sentence in flat.kept_front] == ["size", "crop"]


def test_augmentation_falls_away_and_scaling_behind_it_still_moves(keras: Any) -> None:
    augment = keras.Sequential(
        [keras.Input(IMAGE), keras.layers.RandomFlip(name="flip"), keras.layers.RandomRotation(0.1, name="turn")],
        name="augment",
    )
    model = row_of(keras, IMAGE, augment, keras.layers.Rescaling(0.1, 1.0), keras.layers.Conv2D(2, 3))
    flat = proven(model)
    assert kinds(flat) == ["Conv2D"]
    assert flat.folded[:2] == tuple(
        f"augment/{name} left out: it does nothing at inference"
        for name in ("flip (RandomFlip)", "turn (RandomRotation)")
    )


def test_augmentation_that_casts_is_refused(keras3: Any) -> None:
    with pytest.raises(ModelError, match="turns uint8 into float32"):
        flatten(row_of(keras3, IMAGE, keras3.layers.RandomBrightness(0.1), keras3.layers.Conv2D(2, 3), dtype="uint8"))
