"""Models and data for the tests of stages that edit a model and train nothing."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._broken import broken_model, bundled_digits
from pipeline import plugins
from pipeline.dataset import ArraySplit, Dataset
from pipeline.draft import Draft
from pipeline.tasks.classification import Classification

SHAPES = {"autoencoder": (40,), "cnn1d": (32, 3), "gru": (8, 4), "kws_transformer": (12, 10)}
"""What the models of the zoo take that take no images, or no small ones."""


def noise_data(shape: tuple[int, ...]) -> Dataset:
    """Normal noise as examples of four classes."""
    x = np.random.default_rng(0).normal(size=(32, *shape)).astype(np.float32)
    split = ArraySplit(x, np.arange(32) % 4)
    return Dataset(Classification(), split, split, split, shape, 4, (), "print", "made up")


@functools.cache
def broken_digits() -> tuple[Draft, Dataset]:
    """The broken model of the benchmarks and the digits that it is for; trained once for all tests."""
    data = bundled_digits(2000)
    return broken_model(data, epochs=2), data


def zoo_draft(name: str) -> Draft:
    """A model of the zoo with random weights, and random statistics in its batch normalizations."""
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    return Draft.of(shaken(plugins.module("models", name).build(SHAPES.get(name, (32, 32, 3)), 4)))


def shaken(model: Any) -> Any:
    """The model, whose biases and normalizations are no longer as they are made."""
    rng = np.random.default_rng(2)
    for layer in model.layers:
        weights = layer.get_weights()
        if type(layer).__name__ == "BatchNormalization":
            scale, *middle, variance = weights
            moved = [rng.normal(0, 0.5, one.shape) for one in middle]
            weights = [rng.uniform(0.5, 1.5, scale.shape), *moved, rng.uniform(0.5, 1.5, variance.shape)]
        elif getattr(layer, "use_bias", False) and weights[-1].ndim == 1:
            weights[-1] = rng.normal(0, 0.1, weights[-1].shape)
        layer.set_weights(weights)
    return model


def draft_of(layers: list[Any]) -> Draft:
    """A draft of layers in a row, the first of them an Input."""
    from pipeline._tf import keras

    return Draft.of(shaken(keras.Sequential(layers)))


def kinds(draft: Draft) -> list[str]:
    """The classes of a draft's layers in order, inputs left out."""
    layers = json.loads(draft.architecture)["config"]["layers"]
    return [layer["class_name"] for layer in layers if layer["class_name"] != "InputLayer"]


def int8_outputs(model: bytes, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """What an int8 `.tflite` answers, dequantized, (n, ...)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    [source], [target] = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero), (out_scale, out_zero) = source["quantization"], target["quantization"]
    found = []
    for example in np.clip(np.round(x / scale + zero), -128, 127).astype(np.int8):
        interpreter.set_tensor(source["index"], example[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"])[0].astype(np.float64))
    answers: NDArray[np.float64] = (np.stack(found) - out_zero) * out_scale
    return answers
