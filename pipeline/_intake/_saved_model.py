"""SavedModels without TensorFlow's loader: layers from the notes of Keras in the folder, weights from its checkpoint.

The graph in `saved_model.pb` is never read. It may hold any operation of TensorFlow, those that write files too.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pipeline._intake._archive import MOST_JSON_BYTES
from pipeline._intake._config import parse_config
from pipeline._intake._formats import first_line, not_whole
from pipeline.errors import ModelError

_NOTES = "keras_metadata.pb"
_VARIABLES = "variables"


def opened(path: Path, folder: Path) -> tuple[Any, str, Path]:
    """The model's config, the version of Keras that wrote it, and a copy of the checkpoint.

    Args:
        path: the SavedModel.
        folder: one of ours, for the copy.

    Raises:
        ModelError: no Keras model is in it, or it is damaged.
    """
    root = _root(path)
    if not isinstance(root.get("config"), dict) or root.get("class_name") not in ("Functional", "Sequential"):
        raise ModelError(
            f"{path.name} holds a model of class {str(root.get('class_name'))[:60]} that is not made of layers alone.",
            expected="a Sequential or Functional model",
            mend="rebuild it as a functional one, or hand over `file.py:function`",
        )
    copy = folder / _VARIABLES
    try:
        shutil.copytree(path / _VARIABLES, copy)
    except (OSError, shutil.Error) as error:
        raise not_whole(path.name, f"its folder {_VARIABLES} cannot be read") from error
    config = {"class_name": root["class_name"], "config": root["config"]}
    return config, str(root.get("keras_version", "")), copy / _VARIABLES


def loaded(config: Any, checkpoint: Path) -> Any:
    """The model that a checked config describes, with every weight from the checkpoint."""
    from pipeline._tf import keras

    model = keras.models.model_from_json(json.dumps(config))
    model.load_weights(str(checkpoint)).assert_existing_objects_matched()
    return model


def _root(path: Path) -> dict[str, Any]:
    """What Keras noted of the model itself."""
    notes = path / _NOTES
    if not notes.is_file():
        raise ModelError(
            f"{path.name} is a SavedModel without the Keras model in it.",
            expected="a folder that tf_keras' model.save() wrote; model.export() and tf.saved_model.save() drop layers",
            mend="save the model itself with model.save('model.keras')",
        )
    if notes.stat().st_size > MOST_JSON_BYTES:
        raise not_whole(path.name, f"{_NOTES} has {notes.stat().st_size:,} bytes")
    root = parse_config(_root_text(notes.read_bytes(), path.name), path.name)
    if not isinstance(root, dict):
        raise not_whole(path.name, f"{_NOTES} does not describe a model")
    return root


def _root_text(notes: bytes, name: str) -> str:
    from pipeline._tf import keras

    metadata = keras.protobuf.saved_metadata_pb2.SavedMetadata()
    try:
        metadata.ParseFromString(notes)
        return next(str(node.metadata) for node in metadata.nodes if node.node_path == "root")
    except StopIteration:
        raise not_whole(name, f"{_NOTES} does not describe a model") from None
    except Exception as error:  # protobuf has a DecodeError of its own
        raise not_whole(name, f"{_NOTES}: {first_line(error)}") from error
