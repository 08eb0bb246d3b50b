"""Tiny models of both Keras, saved in every format that there is."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.intake.live import shaken

Change = Callable[[dict[str, Any]], None]

FORMATS = {
    "keras3.keras": "Keras 3 .keras",
    "tf_keras.keras": "tf_keras .keras",
    "tf_keras.h5": "legacy HDF5",
    "keras3.h5": "legacy HDF5 of Keras 3",
    "saved_model": "SavedModel of Keras",
}


def tiny_model(keras: Any) -> Any:
    """A model of a few hundred bytes of weights: (6, 6, 1) → 3, with a model nested in it."""
    inner_in = keras.Input((6, 6, 1), name="inner_in")
    inner = keras.Model(inner_in, keras.layers.Conv2D(2, 3, activation="relu", name="conv")(inner_in), name="inner")
    inputs = keras.Input((6, 6, 1), name="image")
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(inner(inputs))
    x = keras.layers.BatchNormalization(name="norm")(x)
    outputs = keras.layers.Dense(3, activation="softmax", name="head")(keras.layers.Flatten(name="flat")(x))
    return shaken(keras.Model(inputs, outputs, name="tiny"))


def smallest_model(keras: Any) -> Any:
    """A model of a few bytes of weights, for what is done a thousand times: (3,) → 2."""
    inputs = keras.Input((3,), name="x")
    return shaken(keras.Model(inputs, keras.layers.Dense(2, activation="relu", name="y")(inputs), name="smallest"))


def save(model: Any, path: Path) -> Path:
    """Save a model as the ending of the path says; without one, as a SavedModel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both Keras warn of their old formats
        model.save(path, **({} if path.suffix else {"save_format": "tf"}))
    return path


def save_all(folder: Path) -> dict[str, Path]:
    """The tiny model in every format, by the keys of `FORMATS`."""
    from pipeline._tf import keras, keras3

    models = {"keras3": tiny_model(keras3()), "tf_keras": tiny_model(keras), "saved_model": tiny_model(keras)}
    return {name: save(models[name.partition(".")[0]], folder / name) for name in FORMATS}


def rewritten(path: Path, into: Path, change: Change, **members: bytes) -> Path:
    """A `.keras` whose config was changed in place, with other members if they are given by name."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(into, "w") as target:
        for info in source.infolist():
            data = members.get(info.filename, source.read(info))
            if info.filename == "config.json" and info.filename not in members:
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            target.writestr(info.filename, data)
    return into


def layer_named(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The node of a layer in a model's config."""
    found: dict[str, Any] = next(node for node in config["config"]["layers"] if node["config"]["name"] == name)
    return found


def inputs_for(model: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random inputs for a model of one input."""
    return np.random.default_rng(seed).standard_normal((3, *model.inputs[0].shape[1:])).astype("float32")
