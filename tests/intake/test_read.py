"""Every format of a Keras model: read by the Keras that wrote it, flat, with the outputs of the original."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline._intake._read import Reading, Request, read_and_flatten
from pipeline.draft import Draft
from pipeline.errors import ModelError, UsageError
from tests.intake.saved import FORMATS, inputs_for, layer_named, rewritten, save, save_all, tiny_model

pytestmark = pytest.mark.tf

Golden = Callable[[str, str], None]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_all(tmp_path_factory.mktemp("saved"))


def taken(path: Path, **fields: Any) -> Reading:
    return read_and_flatten(Request(path, path.name, **fields))


def refused(path: Path, **fields: Any) -> str:
    with pytest.raises(ModelError) as caught:
        taken(path, **fields)
    return str(caught.value).replace(str(path.parent), "FOLDER") + "\n"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_becomes_the_same_flat_model(name: str, files: dict[str, Path]) -> None:
    from pipeline._tf import keras, keras3

    reading = taken(files[name])
    original = tiny_model(keras3() if name.startswith("keras3") else keras)
    flat = Draft.from_files(reading.files).restore()
    x = inputs_for(flat)
    np.testing.assert_allclose(flat(x), original(x), atol=1e-5)
    kinds = ["InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "Flatten", "Dense"]
    assert [type(layer).__name__ for layer in flat.layers] == kinds
    assert reading.difference <= 1e-5
    assert reading.notes["format"] == FORMATS[name]
    assert reading.notes["written_by"] == f"{original.__module__.partition('.')[0]} {_version(original)}"
    assert reading.notes["layers"] == 6


def _version(model: Any) -> str:
    return str(sys.modules[type(model).__module__.partition(".")[0]].__version__)


def test_a_name_does_not_tell_the_format(files: dict[str, Path], tmp_path: Path) -> None:
    assert taken(_copied(files["tf_keras.h5"], tmp_path / "a.keras")).notes["format"] == "legacy HDF5"
    assert taken(_copied(files["keras3.keras"], tmp_path / "b.h5")).notes["format"] == "Keras 3 .keras"


def _copied(path: Path, to: Path) -> Path:
    to.write_bytes(path.read_bytes())
    return to


def test_an_old_config_that_keras_3_refuses_is_read(files: dict[str, Path], tmp_path: Path) -> None:
    import h5py

    from pipeline._tf import keras3

    path = _copied(files["tf_keras.h5"], tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layer_named(config, "depthwise")["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises((TypeError, ValueError)):
        keras3().models.load_model(path, compile=False)
    assert taken(path).notes["layers"] == 6


def test_what_a_file_says_of_training_is_not_looked_at(files: dict[str, Path], tmp_path: Path) -> None:
    from pipeline._tf import keras3

    def compile_it(config: dict[str, Any]) -> None:
        loss = {"class_name": "function", "module": "nowhere", "config": "own", "registered_name": "own"}
        config["compile_config"] = {"optimizer": "adam", "loss": loss}
        layer_named(config, "inner")["compile_config"] = {"loss": loss}

    path = rewritten(files["keras3.keras"], tmp_path / "compiled.keras", compile_it)
    with pytest.raises((TypeError, ValueError)):
        keras3().saving.load_model(path)
    assert taken(path).notes["layers"] == 6


@pytest.mark.parametrize("which", ["keras3", "tf_keras"])
def test_the_datas_shape_fills_what_a_model_leaves_free(which: str, tmp_path: Path) -> None:
    from pipeline import _tf

    keras = _tf.keras3() if which == "keras3" else _tf.keras
    layers = [keras.layers.Conv2D(2, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)]
    path = save(keras.Sequential([keras.Input((None, None, 1)), *layers]), tmp_path / "free.keras")
    reading = taken(path, input_shape=(8, 9, 1), output_shape=(4,))
    assert Draft.from_files(reading.files).restore().input_shape == (None, 8, 9, 1)
    assert Draft.from_files(taken(path).files).restore().input_shape == (None, None, None, 1)
    assert "does not take inputs of shape (2, 2, 1)" in refused(path, input_shape=(2, 2, 1), output_shape=(4,))


@pytest.mark.parametrize(
    ("name", "input_shape", "output_shape"),
    [
        ("no_channel", (6, 6), (3,)),
        ("another_size", (8, 8, 1), (3,)),
        ("other_channels", (6, 6, 3), (3,)),
        ("another_kind", (36,), (3,)),
        ("other_outputs", (6, 6, 1), (10,)),
    ],
)
def test_a_model_that_does_not_fit_the_data_says_both_shapes(
    name: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...], files: dict[str, Path], golden: Golden
) -> None:
    said = refused(files["keras3.keras"], input_shape=input_shape, output_shape=output_shape)
    golden(f"messages/intake_fit_{name}.txt", said)


def test_several_inputs_are_taken_where_no_data_is_to_fit(tmp_path: Path) -> None:
    from pipeline._tf import keras3

    keras = keras3()
    a, b = keras.Input((2,)), keras.Input((2,))
    path = save(keras.Model([a, b], [keras.layers.Add()([a, b]), a]), tmp_path / "two.keras")
    assert len(Draft.from_files(taken(path).files).restore().inputs) == 2
    assert refused(path, input_shape=(2,), output_shape=(2,)).startswith("two.keras has 2 inputs and 2 outputs.")


def test_a_flat_model_that_is_not_equal_is_refused_with_the_layer() -> None:
    from pipeline._intake._flatten import flatten
    from pipeline._intake._proven import proven
    from pipeline._tf import keras, keras3

    for original in (tiny_model(keras3()), tiny_model(keras)):
        flat = flatten(original)
        assert proven(original, flat.model, "m", flat.renamed, seed=0) <= 1e-5
        norm = flat.model.get_layer("norm")
        norm.set_weights([weight + 0.5 for weight in norm.get_weights()])
        with pytest.raises(ModelError, match=r"they differ by \d.*, from the layer 'norm' on"):
            proven(original, flat.model, "m", flat.renamed, seed=0)


def test_a_model_without_a_graph_is_refused(tmp_path: Path) -> None:
    from pipeline._tf import keras, tf

    class Own(keras.Model):  # type: ignore[misc]  # tf_keras is untyped
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own()
    model(tf.zeros((1, 3)))
    path = save(model, tmp_path / "subclassed")
    assert refused(path).startswith("subclassed holds a model of class Own that is not made of layers alone.")


NOT_MODELS: dict[str, tuple[str, bytes]] = {
    "empty": ("m.keras", b""),
    "garbage": ("m.h5", b"\x13" * 100),
    "pickle": ("m.keras", b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00}\x94K\x01K\x02s."),
    "tflite": ("m.keras", b"\x1c\x00\x00\x00TFL3" + bytes(50)),
    "gzip": ("m.keras", b"\x1f\x8b\x08" + bytes(50)),
    "git_lfs": ("m.keras", b"version https://git-lfs.github.com/spec/v1\n"),
    "onnx": ("m.onnx", b"\x08\x07\x12\x04test"),
    "pytorch": ("m.pt", b"\x00" * 20),
    "frozen_graph": ("m.pb", b"\x0a\x05"),
    "checkpoint": ("m.index", b"\x00" * 20),
    "architecture": ("m.json", b"{}"),
    "no_function": ("m.py", b"def build(): ..."),
    "unknown": ("m.xyz", b"abc"),
}


@pytest.mark.parametrize("name", NOT_MODELS)
def test_what_is_no_model_is_named(name: str, tmp_path: Path, golden: Golden) -> None:
    file, content = NOT_MODELS[name]
    path = tmp_path / file
    path.write_bytes(content)
    golden(f"messages/intake_{name}.txt", refused(path))


def test_weights_alone_are_named(tmp_path: Path, golden: Golden) -> None:
    from pipeline._tf import keras, keras3

    said = []
    for model in (tiny_model(keras3()), tiny_model(keras)):
        for name in ("m.weights.h5", "m.h5")[: 2 if model.__module__.startswith("tf_keras") else 1]:
            model.save_weights(tmp_path / name)
            said.append(refused(tmp_path / name).replace(name, "FILE"))
    assert len(set(said)) == 1
    golden("messages/intake_weights_only.txt", said[0])


@pytest.mark.parametrize("which", ["keras3", "tf_keras", "plain"])
def test_a_saved_model_without_keras_is_named(which: str, tmp_path: Path, golden: Golden) -> None:
    from pipeline._tf import keras, keras3, tf

    path = tmp_path / "exported"
    if which == "plain":
        tf.saved_model.save(tf.Module(), str(path))
    else:
        tiny_model(keras3() if which == "keras3" else keras).export(str(path))
    golden("messages/intake_exported.txt", refused(path))


def test_folders_and_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith(f"The folder {tmp_path.name} holds no model.")
    with pytest.raises(UsageError, match=r"There is no model at .*gone\.keras"):
        taken(tmp_path / "gone.keras")
    os.mkfifo(tmp_path / "pipe.keras")
    with pytest.raises(UsageError, match="There is no model at"):
        taken(tmp_path / "pipe.keras")
