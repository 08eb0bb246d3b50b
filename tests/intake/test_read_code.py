"""Code: that of a model file is not run unless it is trusted, and a user's own layers are found in his file."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline._intake._custom import custom_objects
from pipeline._intake._read import Reading, Request, read_and_flatten
from pipeline.draft import Draft
from pipeline.errors import EdgesmithError, UsageError
from pipeline.intake import register_custom_objects
from tests.intake.live import shaken
from tests.intake.saved import inputs_for, save

pytestmark = pytest.mark.tf

Golden = Callable[[str, str], None]


def taken(path: Path, **fields: Any) -> Reading:
    return read_and_flatten(Request(path, path.name, **fields))


def refused(path: Path, **fields: Any) -> str:
    with pytest.raises(EdgesmithError) as caught:
        taken(path, **fields)
    return str(caught.value).replace(str(path.parent), "FOLDER") + "\n"


# Lambda layers


@pytest.fixture
def unsafe_deserialization() -> Iterator[None]:
    """tf_keras' one switch for trusted code, as it was."""
    import importlib

    lib: Any = importlib.import_module("tf_keras.src.saving.serialization_lib")
    before = lib.in_safe_mode()
    yield
    lib.SAFE_MODE.safe_mode = before


@pytest.mark.parametrize("file", ["keras3.keras", "keras3.h5", "tf_keras.keras", "tf_keras.h5", "saved"])
def test_a_lambda_runs_only_where_it_is_trusted(
    file: str, tmp_path: Path, golden: Golden, unsafe_deserialization: None
) -> None:
    from pipeline import _tf

    keras = _tf.keras3() if file.startswith("keras3") else _tf.keras
    inputs = keras.Input((3,))
    doubled = keras.layers.Lambda(lambda x: x * 2.0, output_shape=(3,), name="doubler")(inputs)
    path = save(shaken(keras.Model(inputs, keras.layers.Dense(2)(doubled))), tmp_path / file)
    golden("messages/intake_lambda.txt", refused(path).replace(file, "FILE"))
    flat = Draft.from_files(taken(path, trust_code=True).files)
    assert "Lambda'" not in flat.architecture
    assert '"Lambda"' not in flat.architecture  # what comes out holds operations, and no code


@pytest.mark.parametrize("file", ["tf_keras.keras", "keras3.keras"])
def test_the_code_of_a_refused_lambda_has_not_run(file: str, tmp_path: Path) -> None:
    from pipeline import _tf

    marker = tmp_path / "marker"
    keras = _tf.keras3() if file.startswith("keras3") else _tf.keras
    inputs = keras.Input((3,))
    code = f"lambda x: (__import__('pathlib').Path({str(marker)!r}).touch(), x)[1]"
    outputs = keras.layers.Lambda(eval(code), output_shape=(3,))(inputs)
    path = save(keras.Model(inputs, outputs), tmp_path / file)
    marker.unlink(missing_ok=True)
    assert "holds Python code" in refused(path)
    assert not marker.exists()


# Custom objects

SCALE = """
    from {package} import layers
    import {package} as everything
    from helper import initial
    {before}

    {decorator}
    class Scale(layers.Layer):
        def __init__(self, axis=-1, **kwargs):
            super().__init__(**kwargs)
            self.axis = axis

        def build(self, input_shape):
            self.scale = self.add_weight(
                name="scale", shape=(input_shape[self.axis],), initializer=initial()
            )
            self.built = True

        def call(self, inputs):
            return tf.nn.relu(inputs) * {times}

        def get_config(self):
            return {{**super().get_config(), "axis": self.axis}}
"""


def own_layers(
    folder: Path,
    package: str = "keras",
    decorator: str = "",
    before: str = "import tensorflow as tf",
    times: str = "self.scale",
) -> Path:
    """A user's file with a layer of his own, and a helper beside it."""
    folder.joinpath("helper.py").write_text("def initial():\n    return 'ones'\n")
    path = folder / "own.py"
    source = textwrap.dedent(SCALE).format(package=package, decorator=decorator, before=before, times=times)
    path.write_text(source)
    return path


def saved_with(path: Path, flavour: Any, into: Path) -> Path:
    from pipeline import _tf

    keras = _tf.keras3() if flavour == "keras" else _tf.keras
    own = custom_objects(path, flavour)
    inputs = keras.Input((4,))
    return save(shaken(keras.Model(inputs, keras.layers.Dense(2)(own["Scale"](name="mine")(inputs)))), into)


@pytest.mark.parametrize("package", ["keras", "tensorflow.keras"])
@pytest.mark.parametrize("decorator", ["", '@everything.utils.register_keras_serializable("mine")'])
@pytest.mark.parametrize(("flavour", "file"), [("keras", "m.keras"), ("tf_keras", "m.h5"), ("tf_keras", "saved")])
def test_a_users_own_layers_are_found(package: str, decorator: str, flavour: str, file: str, tmp_path: Path) -> None:
    from pipeline import _tf

    custom = own_layers(tmp_path, package, decorator)
    path = saved_with(custom, flavour, tmp_path / file)
    reading = taken(path, custom=custom)
    register_custom_objects(custom)
    flat = Draft.from_files(reading.files).restore()
    assert isinstance(flat.get_layer("mine"), _tf.keras.layers.Layer)
    assert {type(layer).__name__ for layer in flat.layers} == {"InputLayer", "Scale", "Dense"}
    keras = _tf.keras3() if flavour == "keras" else _tf.keras
    if file != "saved":
        with keras.saving.custom_object_scope(custom_objects(custom, flavour)):  # type: ignore[arg-type]
            original = keras.saving.load_model(path, compile=False)
        np.testing.assert_allclose(flat(inputs_for(flat)), original(inputs_for(flat)), atol=1e-5)


def test_a_layer_that_is_not_in_the_file_is_named(tmp_path: Path, golden: Golden) -> None:
    path = saved_with(own_layers(tmp_path), "keras", tmp_path / "m.keras")
    assert "names the class 'own.Scale' in the layer 'mine', which is none of Keras'" in refused(path)
    other = tmp_path / "other.py"
    other.write_text("class Shift: ...\ndef swish2(x): ...\n")
    golden("messages/intake_custom_other_file.txt", refused(path, custom=other))


def test_layers_that_only_keras_3_can_run_are_named(tmp_path: Path, golden: Golden) -> None:
    def said(before: str, times: str) -> str:
        custom = own_layers(tmp_path, before=before, times=times)
        return refused(saved_with(custom, "keras", tmp_path / "m.keras"), custom=custom)

    golden(
        "messages/intake_custom_ops_import.txt", said("from keras import ops\nimport tensorflow as tf", "self.scale")
    )
    golden("messages/intake_custom_ops_call.txt", said("import tensorflow as tf", "everything.ops.abs(self.scale)"))


def test_layers_that_do_not_tell_their_settings_are_named(tmp_path: Path, golden: Golden) -> None:
    custom = own_layers(tmp_path)
    custom.write_text(custom.read_text().replace("axis=-1", "axis").replace('"axis": self.axis', ""))
    from pipeline import _tf

    keras = _tf.keras3()
    inputs = keras.Input((4,))
    own = custom_objects(custom, "keras")
    path = save(keras.Model(inputs, own["Scale"](-1, name="mine")(inputs)), tmp_path / "m.keras")
    golden("messages/intake_custom_no_config.txt", refused(path, custom=custom))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("1 / 0", "own.py cannot be run: own.py, line 1: ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("import nil", "nil"),
    ],
)
def test_a_file_that_fails_is_named(source: str, said: str, tmp_path: Path) -> None:
    custom = tmp_path / "own.py"
    custom.write_text(source)
    with pytest.raises(UsageError, match=said):
        custom_objects(custom, "tf_keras")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file of custom objects at"):
        register_custom_objects(tmp_path / "gone.py")


def test_running_a_users_file_leaves_nothing_behind(tmp_path: Path) -> None:
    import sys

    import keras
    import tensorflow as tf

    from pipeline import _tf

    before, path = dict(sys.modules), list(sys.path)
    tmp_path.joinpath("models").mkdir()
    tmp_path.joinpath("models", "__init__.py").write_text("SIZE = 1\n")
    custom = own_layers(tmp_path, before="import models\nassert models.SIZE == 1\nimport tensorflow as tf")
    assert custom_objects(custom, "tf_keras")["Scale"].__mro__[1].__module__.startswith("tf_keras.")
    assert custom_objects(custom, "keras")["Scale"].__mro__[1].__module__.startswith("keras.")
    assert sys.path == path
    assert {name: module for name, module in sys.modules.items() if name in before} == before
    assert not {"own", "helper"} & set(sys.modules)
    assert (keras, tf) == (_tf.keras3(), _tf.tf)


def test_a_file_that_ends_the_process_is_told(tmp_path: Path) -> None:
    custom = tmp_path / "own.py"
    custom.write_text("raise SystemExit('bye')")
    with pytest.raises(UsageError, match=r"own\.py, line 1: SystemExit: bye"):
        custom_objects(custom, "tf_keras")
