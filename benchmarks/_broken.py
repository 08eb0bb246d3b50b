"""A model that plain post-training quantization breaks on purpose, for benchmarks and tests of what mends it.

A depthwise layer gives channels whose ranges are spread over 1:1000, and the layer behind it weighs them 1000:1. In
float that changes nothing. In int8 all channels share the scale of the widest: the narrow ones round to zero, and so do
the weights that read the wide ones. A scale for each output channel, as TensorFlow Lite has it, does not help. Nagel
et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), found MobileNets
like that in the wild.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._bench import DIGITS
from pipeline.data.npz import Npz
from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.progress import Progress
from pipeline.stages.train import Train
from pipeline.tasks.classification import Classification

BROKEN_LAYER = "depthwise"
"""The layer whose output channels are spread."""


def bundled_digits(examples: int = 8000) -> Dataset:
    """The handwritten digits that come along, the first `examples` of those to train on, a tenth of them held out."""
    source = Npz(path=DIGITS, divide_by=255, add_channel=True, validation_fraction=0.1)
    digits = source.load(Classification(), seed=7, progress=Progress())
    return replace(digits, train=digits.train.take(np.arange(min(examples, digits.train.size))))


def broken_model(data: Dataset, *, spread: float = 1000.0, epochs: int = 3, seed: int = 7) -> Draft:
    """A small depthwise-separable network, trained, and then broken for int8; as float as good as it was.

    Args:
        data: images with classes, `bundled_digits()` for one.
        spread: the widest range of a channel behind the depthwise layer against the narrowest.
        epochs: passes over the training split.
        seed: of the weights and of the order of the examples.
    """
    trained = Train(epochs=epochs, batch_size=32, learning_rate=3e-3).apply(
        Draft.of(_network(data, seed)), data, seed=seed, progress=Progress()
    )
    return spread_channels(trained, spread)


def spread_channels(draft: Draft, spread: float) -> Draft:
    """The draft with every other channel behind `BROKEN_LAYER` widened, and scaled back in the layer that reads it."""
    model = draft.restore()
    normalization, reader = model.get_layer("depthwise_bn"), model.get_layer("pointwise")
    channels = reader.input_shape[-1]
    scales = np.where(np.arange(channels) % 2, spread**0.5, spread**-0.5)
    gamma, beta, mean, variance = normalization.get_weights()
    normalization.set_weights([gamma * scales, beta * scales, mean, variance])
    kernel, *bias = reader.get_weights()
    reader.set_weights([kernel / scales[:, None], *bias])
    return replace(Draft.of(model, draft.traits), steps=draft.steps)


def _network(data: Dataset, seed: int) -> Any:
    """3x3 convolution, depthwise 3x3, pointwise, dense; 17,000 parameters at 28x28 and 10 classes."""
    from models._blocks import conv, depthwise
    from pipeline._tf import fix_seed, keras

    fix_seed(seed)
    keras.backend.clear_session()
    inputs = keras.layers.Input(data.input_shape, name="input")
    x = conv(inputs, 16, 3, name="conv", strides=2, activation="relu")
    x = depthwise(x, 3, name=BROKEN_LAYER, strides=2, activation="relu")
    x = conv(x, 32, 1, name="pointwise", activation="relu")
    logits = keras.layers.Dense(data.num_outputs, name="logits")(keras.layers.Flatten(name="flatten")(x))
    return keras.Model(inputs, logits, name="broken")
