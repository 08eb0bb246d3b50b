"""A tiny model, its data, and the way to the bytes, for the tests of the stages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_targets.tflite_graph import Tensor, parse_graph, weight_tensors
from pipeline import convert, verify
from pipeline.check import Check
from pipeline.dataset import ArraySplit, Dataset
from pipeline.draft import Draft
from pipeline.progress import Progress
from pipeline.stage import Stage
from pipeline.tasks.classification import Classification
from tests.small import digits


def tiny_data(train: int = 64) -> Dataset:
    """Four classes of 16x16 images, so many to train on."""

    def part(seed: int, count: int) -> ArraySplit:
        x, y = digits(count, seed)
        return ArraySplit(x[..., None], y.astype(np.int64), 255)

    return Dataset(
        task=Classification(),
        train=part(0, train),
        validation=part(1, 64),
        test=part(2, 64),
        input_shape=(16, 16, 1),
        num_outputs=4,
        class_names=(),
        fingerprint="print",
        origin="made up",
    )


def tiny_draft() -> Draft:
    """A convolution, a depthwise-separable one with batch normalization, and a head; 3,000 weights, untrained."""
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    layers = keras.layers
    stack = [
        layers.InputLayer((16, 16, 1)),
        layers.Conv2D(8, 3, strides=2, activation="relu", name="conv"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.Conv2D(12, 1, use_bias=False, name="pointwise"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(name="pool"),
        layers.Flatten(name="flatten"),
        layers.Dense(26, activation="relu", name="dense"),
        layers.Dense(4, name="logits"),
    ]
    return Draft.of(keras.Sequential(stack))


def apply(stage: Stage, draft: Draft, data: Dataset) -> Draft:
    """The stage, silently."""
    return stage.apply(draft, data, seed=5, progress=Progress())


def kernels(draft: Draft) -> dict[str, NDArray[Any]]:
    """The kernels of a draft by layer; of a layer with several, the last."""
    model = draft.restore()
    return {one.name: w.numpy() for one in model.layers for w in one.weights if "kernel" in w.name}


def int8(draft: Draft, data: Dataset) -> bytes:
    """The draft as its final bytes."""
    return convert.to_int8(draft, data.calibration(4, 0))


def checks(draft: Draft, model: bytes) -> dict[str, Check]:
    """What the final bytes show of the draft's promises."""
    return {one.name: one for one in verify.byte_checks(model, verify.layer_table(model), draft)}


def stored(model: bytes) -> dict[str, Tensor]:
    """The weights in a `.tflite` by layer."""
    return {operator.name: tensor for operator, tensor in weight_tensors(parse_graph(model))}
