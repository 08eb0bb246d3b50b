"""What the models of the zoo take, and what they say when they are given something else."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

pytestmark = pytest.mark.tf


@pytest.mark.parametrize(
    ("name", "input_shape", "says"),
    [
        ("mobilenet_v1", (64, 64), "images, (height, width, channels), and the data has (64, 64)"),
        ("mobilenet_v2", (0, 64, 3), "the data has (0, 64, 3)"),
        ("efficientnet_lite0", (10,), "the data has (10,)"),
        ("resnet8", (49, 10), "the data has (49, 10)"),
        ("squeezenet", (16, 64, 3), "images of at least 17x17"),
        ("ds_cnn", (49,), "spectrograms of at least 4x4"),
        ("ds_cnn", (49, 3, 1), "the data has (49, 3, 1)"),
        ("autoencoder", (), "at least one number"),
        ("cnn1d", (100,), "windows over time, (time, channels), and the data has (100,)"),
        ("gru", (0, 6), "the data has (0, 6)"),
        ("kws_transformer", (98,), "the data has (98,)"),
    ],
)
def test_impossible_inputs_are_refused_in_a_sentence(name: str, input_shape: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError) as refusal:
        _build(name, input_shape)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "input_shape", "options", "says"),
    [
        ("mobilenet_v1", (32, 32, 3), {"alpha": 0.0}, "alpha must be more than 0, and is 0"),
        ("mobilenet_v2", (32, 32, 3), {"alpha": -1.0}, "alpha must be more than 0, and is -1"),
        ("efficientnet_lite0", (32, 32, 3), {"dropout": 1.0}, "dropout must be at least 0 and less than 1, and is 1"),
        ("squeezenet", (32, 32, 3), {"dropout": -0.5}, "dropout must be"),
        ("resnet8", (32, 32, 3), {"filters": 0}, "filters must be"),
        ("autoencoder", (32,), {"depth": 0}, "depth must be"),
        ("lenet5", (28, 28, 1), {"units": 32}, "units (0 or more) and batch_norm are options of the variant caffe"),
        ("lenet5", (28, 28, 1), {"variant": "caffe", "filters_1": -1}, "filters_1, filters_2, units (0 or more)"),
        ("cnn1d", (32, 3), {"filters": -4}, "filters must be"),
        ("gru", (32, 3), {"layers": 0}, "layers must be"),
        ("kws_transformer", (32, 3), {"dim": 64, "heads": 5}, "dim (64) must be a multiple of heads (5)"),
    ],
)
def test_impossible_options_are_refused_by_name(
    name: str, input_shape: tuple[int, ...], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        _build(name, input_shape, **options)
    assert says in str(refusal.value)


@pytest.mark.parametrize("name", ["cnn1d", "gru", "kws_transformer", "ds_cnn"])
def test_spectrograms_may_have_a_channel_axis_or_none(name: str) -> None:
    flat, deep = _build(name, (12, 8)), _build(name, (12, 8, 1))
    assert flat.count_params() == deep.count_params()
    assert flat.output_shape == deep.output_shape == (None, 4)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "efficientnet_lite0", "resnet8"])
def test_images_may_be_small_and_odd(name: str) -> None:
    assert _build(name, (9, 7, 1)).output_shape == (None, 4)


def test_squeezenet_takes_the_smallest_image_that_it_names() -> None:
    assert _build("squeezenet", (17, 17, 3)).output_shape == (None, 4)


@pytest.mark.parametrize("variant", ["s", "m", "l", "mlperf_tiny"])
def test_ds_cnn_takes_the_smallest_spectrogram_that_it_names(variant: str) -> None:
    assert _build("ds_cnn", (4, 5, 1), variant=variant).output_shape == (None, 4)


@pytest.mark.parametrize("input_shape", [(640,), (32, 6), (8, 8, 3)])
def test_autoencoder_gives_back_the_shape_it_was_given(input_shape: tuple[int, ...]) -> None:
    assert _build("autoencoder", input_shape).output_shape == (None, *input_shape)


def _build(name: str, input_shape: tuple[int, ...], **options: Any) -> Any:
    return importlib.import_module(f"models.{name}").build(input_shape, 4, **options)
