"""Conversion: int8 from border to border, equal to what TensorFlow's own path gives, and checked from the bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_targets.host import HostTarget
from edge_targets.tflite_graph import read_graph
from pipeline import convert, verify
from pipeline.draft import Draft

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
    assert not [tensor.name for tensor in graph.tensors if tensor.dtype in verify.FLOATS]
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
