"""Conversion: int8 from border to border, equal to what TensorFlow's own path gives, and checked from the bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets.host import HostTarget
from edge_targets.tflite_graph import read_graph
from pipeline import convert
from pipeline.artifact import FLOATS
from pipeline.draft import Draft
from pipeline.errors import ModelError

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

X = np.random.default_rng(0).random((32, 16, 16, 1), np.float32)


@pytest.fixture(scope="module")
def draft() -> Draft:
    """An untrained LeNet."""
    from models.lenet5 import build
    from pipeline._tf import fix_seed

    fix_seed(2)
    return Draft.of(build((16, 16, 1), 4))


def test_the_float_baseline_gives_what_keras_gives(draft: Draft, tmp_path: Path) -> None:
    path = tmp_path / "float.tflite"
    path.write_bytes(convert.to_float32(draft))
    outputs = HostTarget().evaluate(path, [X])
    assert outputs == pytest.approx(draft.restore()(X).numpy(), abs=1e-5)


def test_post_training_int8_has_no_float_left_and_stays_close(draft: Draft, tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    path.write_bytes(convert.to_int8(draft, X))
    graph = read_graph(path)
    assert not [tensor.name for tensor in graph.tensors if tensor.dtype in FLOATS]
    inputs, outputs = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (inputs.dtype, outputs.dtype) == ("int8", "int8")
    q = np.clip(np.rint(X / inputs.scales[0]) + inputs.zero_points[0], -128, 127).astype(np.int8)
    real = (HostTarget().evaluate(path, [q]).astype(np.float32) - outputs.zero_points[0]) * outputs.scales[0]
    floats = draft.restore()(X).numpy()
    assert np.abs(real - floats).max() < 0.1 * np.ptp(floats)


def test_the_fast_path_equals_tensorflow_s_own(draft: Draft, tmp_path: Path) -> None:
    from pipeline._tf import tf

    own = tf.lite.TFLiteConverter.from_keras_model(draft.restore()).convert()
    paths = tmp_path / "own.tflite", tmp_path / "ours.tflite"
    for path, content in zip(paths, (own, convert.to_float32(draft)), strict=True):
        path.write_bytes(content)
    ours, theirs = (HostTarget().evaluate(path, [X]) for path in paths)
    assert np.array_equal(ours, theirs)


def test_converting_twice_gives_the_same_bytes(draft: Draft) -> None:
    assert convert.to_int8(draft, X) == convert.to_int8(draft, X)


WINDOWS = np.random.default_rng(1).normal(size=(32, 6, 3)).astype(np.float32)


def over_windows(body: Callable[[Any, Any], Any], shape: tuple[int | None, ...] = (6, 3)) -> Draft:
    """A draft of a model with a body of its own over windows, and one dense layer behind it."""
    from pipeline._tf import fix_seed, keras

    fix_seed(3)
    keras.backend.clear_session()
    inputs = keras.layers.Input(shape)
    return Draft.of(keras.Model(inputs, keras.layers.Dense(3)(body(inputs, keras.layers))))


def steps_apart(draft: Draft, path: Path) -> float:
    """How far the int8 bytes are from Keras at most, in steps of their output; there is no float tensor in them."""
    path.write_bytes(convert.to_int8(draft, WINDOWS))
    graph = read_graph(path)
    assert not [tensor.name for tensor in graph.tensors if tensor.dtype in FLOATS]
    inputs, outputs = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    q = np.clip(np.rint(WINDOWS / inputs.scales[0]) + inputs.zero_points[0], -128, 127).astype(np.int8)
    real = (HostTarget().evaluate(path, [q]).astype(np.float32) - outputs.zero_points[0]) * outputs.scales[0]
    return float(np.abs(real - draft.restore()(WINDOWS).numpy()).max() / outputs.scales[0])


@pytest.mark.parametrize(
    "body",
    [
        lambda x, layers: layers.LSTM(4)(x),
        lambda x, layers: layers.GRU(4)(x),
        lambda x, layers: layers.GRU(4, reset_after=False, bias_initializer="uniform")(x),
        lambda x, layers: layers.SimpleRNN(4)(x),
        # Without the repairs of the bytes, one direction is off by a third of the range.
        lambda x, layers: layers.Flatten()(
            layers.Bidirectional(layers.GRU(4, return_sequences=True, bias_initializer="ones"))(x)
        ),
    ],
    ids=["lstm", "gru", "gru with an early reset", "simple", "bidirectional"],
)
def test_recurrent_layers_go_to_int8_though_they_are_loops(body: Callable[[Any, Any], Any], tmp_path: Path) -> None:
    assert steps_apart(over_windows(body), tmp_path / "int8.tflite") < 12


@pytest.mark.parametrize(("steps", "named"), [(200, "200 steps"), (None, "an unknown number of steps")])
def test_a_window_too_long_to_unroll_is_refused(steps: int | None, named: str) -> None:
    draft = over_windows(lambda x, layers: layers.GRU(4, name="memory")(x), (steps, 3))
    with pytest.raises(ModelError, match=f"'memory' runs over {named}"):
        convert.to_int8(draft, WINDOWS)


def test_a_loop_that_nothing_unrolls_is_refused_before_it_can_end_the_process() -> None:
    def body(x: Any, layers: Any) -> Any:
        return layers.Flatten()(layers.ConvLSTM1D(2, 2)(layers.Reshape((3, 2, 3))(x)))

    with pytest.raises(ModelError, match="holds a loop or a branch"):
        convert.to_int8(over_windows(body), WINDOWS)


def test_elu_maximum_and_minimum_share_what_they_read(tmp_path: Path) -> None:
    # With operators of their own, the converter stops, or gives the tensor that all of them read a range too narrow.
    def body(x: Any, layers: Any) -> Any:
        left, right = layers.Dense(4)(layers.Flatten()(x)), layers.Dense(4)(layers.Flatten()(x))
        joined = [layers.Maximum()([left, right]), layers.Minimum()([left, right]), layers.ELU()(left)]
        return layers.Concatenate()([*joined, layers.Dense(4, activation="elu")(left)])

    assert steps_apart(over_windows(body), tmp_path / "int8.tflite") < 6
