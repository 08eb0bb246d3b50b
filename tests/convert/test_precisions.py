"""Each precision: the bytes are what was asked for, they compute what Keras does, and what cannot be is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets.host import HostTarget
from edge_targets.tflite_graph import parse_graph
from pipeline import convert
from pipeline._convert._aeq import by_ai_edge_quantizer
from pipeline._convert._ranges import Ranges
from pipeline._precision import precision_check
from pipeline.artifact import TensorSpec, dequantize, quantize
from pipeline.draft import Draft
from pipeline.errors import DataError, ModelError
from pipeline.settings import ConvertSettings

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

X = np.random.default_rng(0).normal(size=(24, 12, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def draft() -> Draft:
    """Operators that need one scale around them, one with a fixed scale, and layers of more than 1024 weights."""
    from pipeline._tf import fix_seed, keras

    fix_seed(2)
    keras.backend.clear_session()
    layers = keras.layers
    inputs = layers.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="first")(inputs)
    x = layers.Concatenate()([x, layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)])
    x = layers.MaxPool2D()(layers.Conv2D(16, 3, name="second")(x))
    return Draft.of(keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(layers.Flatten()(x))))


@pytest.fixture(scope="module")
def ranges(draft: Draft) -> bytes:
    return convert.calibrated(draft, X)


def distance(model: bytes, draft: Draft, path: Path) -> float:
    """How far the outputs are from Keras' at most."""
    path.write_bytes(model)
    graph = parse_graph(model)
    first, last = (TensorSpec.of(graph.tensors[index]) for index in (graph.inputs[0], graph.outputs[0]))
    outputs = dequantize(HostTarget().evaluate(path, [quantize(X, first)]), last)
    return float(np.abs(outputs - draft.restore()(X).numpy()).max())


AEQ = {"backend": "ai_edge_quantizer"}


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"precision": "int16x8"}, 0.02),
        ({"precision": "int16x8", "calibration": "mse"}, 0.02),
        ({"precision": "float16"}, 0.002),
        ({"precision": "dynamic"}, 0.03),
        ({"precision": "int4", **AEQ}, 0.5),
        ({"precision": "int16x8", **AEQ}, 0.02),
        ({"precision": "dynamic", **AEQ}, 0.03),
    ],
)
def test_bytes_are_of_the_precision_and_compute_what_keras_does(
    draft: Draft, settings: dict[str, Any], most: float, tmp_path: Path
) -> None:
    model = convert.to_tflite(draft, X, ConvertSettings(**settings))
    assert precision_check(parse_graph(model), settings["precision"]).status == "pass"
    assert distance(model, draft, tmp_path / "model.tflite") < most


@pytest.mark.parametrize("calibration", ["percentile", "mse", "entropy"])
@pytest.mark.parametrize("backend", ["tensorflow", "ai_edge_quantizer"])
def test_int8_by_every_calibration(draft: Draft, calibration: Any, backend: Any, tmp_path: Path) -> None:
    model = convert.to_tflite(draft, X, ConvertSettings(calibration=calibration, backend=backend))
    assert not [tensor.name for tensor in parse_graph(model).tensors if tensor.dtype.startswith("float")]
    assert distance(model, draft, tmp_path / "model.tflite") < 0.2


def test_the_second_quantizer_gives_the_numbers_of_the_first(draft: Draft, ranges: bytes, tmp_path: Path) -> None:
    theirs = by_ai_edge_quantizer(ranges, X, precision="int8")
    distances = [distance(model, draft, tmp_path / "model.tflite") for model in (convert.quantized(ranges), theirs)]
    assert distances[1] == pytest.approx(distances[0], abs=0.03)
    # Its own moving average is another calibration, and not this one.
    assert by_ai_edge_quantizer(ranges, X, precision="int8", own_calibration=True) != theirs


def test_both_quantizers_agree_to_the_last_bit_where_a_split_needs_one_scale(tmp_path: Path) -> None:
    from pipeline._tf import fix_seed, keras

    fix_seed(2)
    keras.backend.clear_session()
    inputs = keras.layers.Input((3, 4))
    gru = Draft.of(keras.Model(inputs, keras.layers.GRU(5, bias_initializer="random_uniform")(inputs)))
    x = np.random.default_rng(1).normal(size=(40, 3, 4)).astype(np.float32)
    calibrated, path = convert.calibrated(gru, x), tmp_path / "model.tflite"
    outputs: list[NDArray[Any]] = []
    for model in (convert.quantized(calibrated), by_ai_edge_quantizer(calibrated, x, precision="int8")):
        path.write_bytes(model)
        outputs.append(HostTarget().evaluate(path, [quantize(x, TensorSpec.of(parse_graph(model).tensors[0]))]))
    assert np.array_equal(outputs[0], outputs[1])


def test_tensors_around_operators_of_one_scale_get_one_range(ranges: bytes) -> None:
    found = Ranges(ranges)
    kinds = {operator.kind: operator for operator in parse_graph(ranges).operators}
    joined = [*kinds["CONCATENATION"].inputs, *kinds["CONCATENATION"].outputs]
    [together] = [group for group in found.groups.values() if joined[0] in group]
    assert set(joined) <= set(together)
    assert not any(kinds["SOFTMAX"].outputs[0] in group for group in found.groups.values())
    # Ranges that agree need no operator between them.
    narrow = found.written(dict.fromkeys(found.groups, (-0.5, 0.5)))
    graph = parse_graph(convert.quantized(narrow))
    scales = {graph.tensors[operator.outputs[0]].scales[0] for operator in graph.operators}
    assert "QUANTIZE" not in {operator.kind for operator in graph.operators}
    assert scales == {np.float32(1 / 255), np.float32(1 / 256)}


def test_an_operator_without_int16_is_named_with_what_can_replace_it() -> None:
    from pipeline._tf import keras

    for layer, told in (
        (keras.layers.PReLU(name="slope"), "PRELU of 'slope'"),
        (keras.layers.LayerNormalization(name="normal"), "RSQRT of 'normal"),
    ):
        keras.backend.clear_session()
        inputs = keras.layers.Input((6,))
        model = keras.Model(inputs, keras.layers.Dense(3)(layer(inputs)))
        examples = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
        with pytest.raises(ModelError, match=told) as caught:
            convert.to_tflite(Draft.of(model), examples, ConvertSettings(precision="int16x8"))
        assert "in the place of" in caught.value.mend


def test_unusable_examples_stop_every_conversion(draft: Draft) -> None:
    with pytest.raises(DataError, match="not finite"):
        convert.to_tflite(draft, np.full_like(X, np.nan), ConvertSettings())
    with pytest.raises(DataError, match=r"shape \(6, 12, 3\)"):
        convert.to_tflite(draft, X[:, :6], ConvertSettings(precision="float16"))


def test_a_check_fails_where_the_bytes_are_of_another_precision(ranges: bytes) -> None:
    graph = parse_graph(convert.quantized(ranges))
    for precision in ("int16x8", "float16", "int4"):
        check = precision_check(graph, precision)
        assert (check.name, check.status) == ("precision", "fail")
        assert "others: '" in check.why
    assert precision_check(parse_graph(ranges), "dynamic").value == 2
