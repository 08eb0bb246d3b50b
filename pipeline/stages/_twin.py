"""A model that trains in the place of another: in another precision, or on several devices at once.

Keras fixes the precision of a layer and the devices of a variable when they are made, so neither can be changed in a
model that is there. The twin has the same layers and takes the weights over; what it learned goes back. So the draft
behind the training is float32 on one device again, whatever happened in between.
"""

from __future__ import annotations

import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any, Literal

from pipeline.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Sequence

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
Distribution = Literal["none", "mirrored"]


def devices(distribute: Distribution) -> contextlib.AbstractContextManager[Any]:
    """Where variables made inside lie: on one device, or mirrored on all GPUs, and without any on all CPUs."""
    if distribute == "none":
        return contextlib.nullcontext()
    scope: contextlib.AbstractContextManager[Any] = _mirrored().scope()
    return scope


@functools.cache
def _mirrored() -> Any:
    """One strategy for the whole process: a second would number its exchanges like the first, and they would clash."""
    from pipeline._tf import tf

    return tf.distribute.MirroredStrategy()


def twin_of(model: Any, precision: Precision) -> Any:
    """A model with the layers and weights of another, that computes in another precision; to be made on `devices`.

    Weights stay float32, and so does the last layer: its sums and exponentials need the digits (Micikevicius et al.,
    "Mixed Precision Training", 2017).
    """
    from pipeline._tf import keras, quantize_scope

    architecture = json.loads(Draft.of(model).architecture)
    last = {model.layers[-1].name, *model.output_names}
    for layer in architecture["config"]["layers"]:
        if layer["config"]["name"] not in last:
            _lower(layer, precision)
    # Not `Draft.restore`: the session that it clears holds the devices.
    text = json.dumps(architecture)
    with quantize_scope() if "QuantizeLayer" in text else contextlib.nullcontext():
        twin = keras.models.model_from_json(text)
    twin.set_weights(model.get_weights())
    return twin


def scaled(optimizer: Any, precision: Precision) -> Any:
    """The optimizer, with a loss scale where gradients would otherwise fall below the least number of float16."""
    from pipeline._tf import keras

    return keras.mixed_precision.LossScaleOptimizer(optimizer) if precision == "mixed_float16" else optimizer


def follow(model: Any, twin: Any, callbacks: Sequence[Any]) -> Any:
    """A callback for the twin's training, for callbacks that were made to change the model after every batch."""
    from pipeline._tf import keras

    class Follow(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        # Keras then does not fetch the losses for it after every batch.
        _supports_tf_logs = True

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            copy_weights(twin, model)
            for callback in callbacks:
                callback.on_train_batch_end(batch, logs)
            copy_weights(model, twin)

        def on_train_end(self, logs: Any = None) -> None:
            copy_weights(twin, model)
            for callback in callbacks:
                callback.on_train_end(logs)
            copy_weights(model, twin)

    return Follow()


def copy_weights(source: Any, target: Any) -> None:
    """Every weight of one model into another of the same layers."""
    for theirs, ours in zip(source.weights, target.weights, strict=True):
        ours.assign(theirs.read_value())


def _lower(node: Any, precision: str) -> None:
    """Layers of a Keras config, and those inside them, compute in another precision."""
    if isinstance(node, list):
        for child in node:
            _lower(child, precision)
    if not isinstance(node, dict) or node.get("class_name") == "InputLayer":
        return
    config = node.get("config")
    if isinstance(config, dict) and config.get("dtype") == "float32":
        config["dtype"] = precision
    for child in node.values():
        _lower(child, precision)
