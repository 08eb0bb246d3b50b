"""Parameter counts and outputs against what others have published of the same architectures."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.tf

Floats = NDArray[np.float64]
DrawWeights = Callable[[Any], list[Floats]]


def test_mobilenet_v1_has_the_parameters_of_keras_applications() -> None:
    # keras.io/api/applications/mobilenet: 4.3M; `MobileNet(weights=None).count_params()`. The paper says 4.2M.
    assert _build("mobilenet_v1", (224, 224, 3), 1000).count_params() == 4_253_864
    assert _build("mobilenet_v1", (224, 224, 3), 1000, alpha=0.25).count_params() == 475_544


def test_mobilenet_v2_has_the_parameters_of_keras_applications() -> None:
    # keras.io/api/applications/mobilenet: 3.5M; `MobileNetV2(weights=None).count_params()`. The paper says 3.4M.
    assert _build("mobilenet_v2", (224, 224, 3), 1000).count_params() == 3_538_984
    assert _build("mobilenet_v2", (224, 224, 3), 1000, alpha=0.35).count_params() == 1_691_208


def test_efficientnet_lite0_has_the_published_parameters() -> None:
    # tensorflow/tpu, models/official/efficientnet/lite/README.md: 4.7M. KerasHub's preset
    # efficientnet_lite0_ra_imagenet: 4,652,008, without the statistics of batch normalization.
    model = _build("efficientnet_lite0", (224, 224, 3), 1000)
    assert _numbers(model.trainable_weights) == 4_652_008
    assert model.count_params() == 4_694_024


def test_squeezenet_has_the_parameters_of_torchvision() -> None:
    # torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.meta["num_params"]
    assert _build("squeezenet", (224, 224, 3), 1000).count_params() == 1_235_496


def test_resnet8_has_the_parameters_of_mlperf_tiny() -> None:
    # mlcommons/tiny, benchmark/training/image_classification/keras_model.py, resnet_v1_eembc with 16 filters
    assert _build("resnet8", (32, 32, 3), 10).count_params() == 78_666


def test_ds_cnn_has_the_parameters_of_mlperf_tiny() -> None:
    # mlcommons/tiny, benchmark/training/keyword_spotting/keras_model.py, ds_cnn. NXP's eIQ model zoo
    # (keyword-spotting_DSCNN) counts 23,756 of them as trainable.
    model = _build("ds_cnn", (49, 10, 1), 12, variant="mlperf_tiny")
    assert model.count_params() == 24_908
    assert _numbers(model.trainable_weights) == 23_756


@pytest.mark.parametrize(
    ("variant", "memory_kb", "weights"), [("s", 38.6, 22_604), ("m", 189.2, 135_032), ("l", 497.6, 410_700)]
)
def test_ds_cnn_takes_the_memory_of_hello_edge(variant: str, memory_kb: float, weights: int) -> None:
    # arXiv 1711.07128, table 4, column "memory": 8-bit weights with batch normalization folded into them, and the
    # largest input and output that a layer holds at the same time.
    model = _build("ds_cnn", (49, 10, 1), 12, variant=variant)
    kernels = [layer for layer in model.layers if hasattr(layer, "bias")]
    folded = sum(layer.count_params() for layer in kernels)
    live = max(math.prod(layer.input_shape[1:]) + math.prod(layer.output_shape[1:]) for layer in kernels)

    assert folded == weights
    assert round((folded + live) / 1000, 1) == memory_kb


def test_autoencoder_has_the_parameters_of_mlperf_tiny() -> None:
    # mlcommons/tiny, benchmark/training/anomaly_detection/keras_model.py with inputDim 640
    assert _build("autoencoder", (640,), 640).count_params() == 269_992


def test_kws_transformer_has_the_parameters_of_kwt_1() -> None:
    # ARM-software/keyword-transformer, models_data_v2_12_labels/kwt1/model_summary.txt. Two of its vectors of 64 only
    # occur in a sum with a third one, and are left inside that.
    assert _build("kws_transformer", (98, 40), 12, layers=12).count_params() + 2 * 64 == 607_308


def test_cnn1d_has_the_parameters_of_the_paper() -> None:
    # arXiv 1611.06455, figure 1(b): kernels of 8, 5 and 3, 128, 256 and 128 filters, batch normalization. It gives no
    # sum.
    convolutions = (8 * 1 + 1) * 128 + (5 * 128 + 1) * 256 + (3 * 256 + 1) * 128
    normalization, dense = 2 * (128 + 256 + 128), (128 + 1) * 2
    model = _build("cnn1d", (100, 1), 2, filters=128)
    assert _numbers(model.trainable_weights) == convolutions + normalization + dense


def test_gru_has_the_parameters_of_its_formula() -> None:
    # Keras' documentation of GRU with reset_after: two biases for each of the three gates.
    assert _build("gru", (10, 6), 4, units=32).count_params() == 3 * 32 * (6 + 32 + 2) + (32 + 1) * 4


@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes", "options", "millions"),
    [
        ("mobilenet_v1", (224, 224, 3), 1000, {}, 569),  # arXiv 1704.04861, table 4
        ("mobilenet_v1", (224, 224, 3), 1000, {"alpha": 0.5}, 149),  # arXiv 1704.04861, table 6
        ("mobilenet_v2", (224, 224, 3), 1000, {}, 300),  # arXiv 1801.04381, table 4
        ("mobilenet_v2", (224, 224, 3), 1000, {"alpha": 1.4}, 585),  # arXiv 1801.04381, table 4
        ("efficientnet_lite0", (224, 224, 3), 1000, {}, 407),  # tensorflow/tpu, efficientnet/lite/README.md
        ("squeezenet", (224, 224, 3), 1000, {}, 350),  # torchvision.models.SqueezeNet1_1_Weights, "GFLOPS": 0.35
        ("ds_cnn", (49, 10, 1), 12, {"variant": "s"}, 5.4 / 2),  # arXiv 1711.07128, table 4: "ops", two to each
        ("ds_cnn", (49, 10, 1), 12, {"variant": "m"}, 19.8 / 2),
        ("ds_cnn", (49, 10, 1), 12, {"variant": "l"}, 56.9 / 2),
    ],
)
def test_multiplications_are_the_published_ones(
    name: str, input_shape: tuple[int, ...], num_classes: int, options: dict[str, Any], millions: float
) -> None:
    # Parameters do not show where an image shrinks; multiply-adds do. Some sources count additions of biases as well.
    model = _build(name, input_shape, num_classes, **options)
    assert _multiplications(model) / 1e6 == pytest.approx(millions, rel=0.06)


def test_mobilenets_compute_what_keras_applications_compute(draw_weights: DrawWeights) -> None:
    from pipeline._tf import keras

    applications = keras.applications
    for name, reference in (("mobilenet_v1", applications.MobileNet), ("mobilenet_v2", applications.MobileNetV2)):
        theirs = reference((64, 64, 3), alpha=0.5, weights=None, classes=10, classifier_activation=None)
        ours = _build(name, (64, 64, 3), 10, alpha=0.5)
        _assert_same_function(ours, theirs, draw_weights(theirs))


def test_cnn1d_computes_what_convolutions_over_time_compute(draw_weights: DrawWeights) -> None:
    from pipeline._tf import keras

    layers = keras.layers
    theirs = keras.Sequential([layers.InputLayer((40, 3))])
    for filters, kernel in ((8, 8), (16, 5), (8, 3)):
        theirs.add(layers.Conv1D(filters, kernel, padding="same"))
        theirs.add(layers.BatchNormalization())
        theirs.add(layers.ReLU())
    theirs.add(layers.GlobalAveragePooling1D())
    theirs.add(layers.Dense(4))
    _assert_same_function(_build("cnn1d", (40, 3), 4, filters=8), theirs, draw_weights(theirs))


def test_kws_transformer_computes_what_the_paper_says(draw_weights: DrawWeights) -> None:
    model = _build("kws_transformer", (5, 3), 2, dim=8, heads=2, layers=2, mlp_dim=16)
    model.set_weights(draw_weights(model))
    frames = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)

    x = _affine(model, "embedding", np.concatenate([np.zeros((1, 3)), frames]))
    for name in ("layer1", "layer2"):
        x = _post_norm_layer(model, name, x)
    expected = _affine(model, "logits", x[0])

    np.testing.assert_allclose(model.predict(frames[None], verbose=0)[0], expected, rtol=1e-4, atol=1e-4)


def _post_norm_layer(model: Any, name: str, x: Floats) -> Floats:
    """An encoder layer of two heads after Vaswani et al. (arXiv 1706.03762); the query's weights hold the scale."""
    from scipy.special import erf, softmax

    query, key, value = (np.split(_affine(model, f"{name}_{part}", x), 2, axis=1) for part in ("query", "key", "value"))
    heads = [softmax(q @ k.T, axis=1) @ v for q, k, v in zip(query, key, value, strict=True)]
    x = _norm(model, f"{name}_attention_norm", x + _affine(model, f"{name}_out", np.concatenate(heads, axis=1)))
    hidden = _affine(model, f"{name}_mlp1", x)
    return _norm(model, f"{name}_mlp_norm", x + _affine(model, f"{name}_mlp2", hidden * (1 + erf(hidden / 2**0.5)) / 2))


def _affine(model: Any, layer: str, x: Floats) -> Floats:
    kernel, *bias = model.get_layer(layer).get_weights()
    return np.asarray(x @ kernel + (bias[0] if bias else 0))


def _norm(model: Any, layer: str, x: Floats) -> Floats:
    gamma, beta = model.get_layer(layer).get_weights()
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(centred.var(axis=1, keepdims=True) + 1e-6) * gamma + beta)


def _build(name: str, input_shape: tuple[int, ...], num_classes: int, **options: Any) -> Any:
    return importlib.import_module(f"models.{name}").build(input_shape, num_classes, **options)


def _multiplications(model: Any) -> int:
    """Every number of a kernel, once for each place of its output."""
    kernels = [(layer, layer.weights[0].shape) for layer in model.layers if hasattr(layer, "bias")]
    return sum(math.prod(shape) * math.prod(layer.output_shape[1:-1]) for layer, shape in kernels)


def _numbers(weights: list[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _assert_same_function(ours: Any, theirs: Any, weights: list[Floats]) -> None:
    theirs.set_weights(weights)
    shapes = [weight.shape for weight in ours.get_weights()]
    ours.set_weights([weight.reshape(shape) for weight, shape in zip(weights, shapes, strict=True)])
    examples = np.random.default_rng(1).normal(size=(4, *theirs.input_shape[1:])).astype(np.float32)
    expected = theirs.predict(examples, verbose=0)

    assert np.ptp(expected, axis=0).min() > 0.01  # else nothing of the input has reached the output
    np.testing.assert_allclose(ours.predict(examples, verbose=0), expected, rtol=1e-4, atol=1e-4)
