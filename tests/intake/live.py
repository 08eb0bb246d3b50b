"""Live Keras 3 models for the tests of the intake, with weights that differ from what a fresh layer begins with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.intake.layer_table import Case


def shaken(model: Any, seed: int = 1) -> Any:
    """The model with weights far from their initial values: a weight that was not copied shows."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [_shaken(value, w.name, rng) for value, w in zip(model.get_weights(), model.weights, strict=True)]
    )
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # Normalization takes no notice of new weights until told to
            layer.finalize_state()
    return model


def _shaken(value: NDArray[Any], name: str, rng: np.random.Generator) -> NDArray[Any]:
    if value.dtype.kind != "f":
        return value
    # Variances are positive; kernels of both signs keep what comes out small.
    signs = rng.choice([-1, 1], value.shape) if value.ndim > 1 and "variance" not in name else 1
    return (rng.uniform(0.5, 1.5, value.shape) * signs).astype(value.dtype)


def of_case(case: Case) -> Any:
    """The Keras 3 model of one layer that a case of the table describes."""
    from pipeline._tf import keras3

    keras = keras3()
    layer = case.build(keras.layers)
    if isinstance(layer, keras.layers.InputLayer):
        return shaken(keras.Sequential([layer, keras.layers.Dense(2)]))
    inputs = [keras.Input(shape, dtype=case.dtype) for shape in case.shapes]
    outputs = layer(inputs[0] if len(inputs) == 1 else inputs) if case.as_list else layer(*inputs)
    return shaken(keras.Model(inputs, outputs))
