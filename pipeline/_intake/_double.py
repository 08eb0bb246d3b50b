"""A model once more in double precision: where rounding ends, a difference is a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline._intake._graph import is_keras3

_FLOATS = frozenset({"bfloat16", "float16", "float32", "mixed_bfloat16", "mixed_float16"})


def in_double(model: Any) -> Any:
    """A copy of a live model whose layers and weights are float64; None for a model that its config does not rebuild.

    Raises:
        nothing: a Lambda or a layer of the user's own may refuse to be rebuilt in any way it likes.
    """
    try:
        copy = _rebuilt(model)
        copy.set_weights([np.asarray(weight, _wide(weight)) for weight in model.get_weights()])
        for layer in copy._flatten_layers():
            if hasattr(layer, "finalize_state"):  # Normalization looks at its weights only when told to
                layer.finalize_state()
    except Exception:  # noqa: BLE001 - code of the user's layers runs here; single precision is left to judge by
        return None
    return copy


def _rebuilt(model: Any) -> Any:
    from pipeline._tf import keras, keras3

    own = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    config = _widened(model.get_config())
    if not is_keras3(model):
        with keras.utils.custom_object_scope(own):
            return type(model).from_config(config)
    with keras3().saving.custom_object_scope(own):
        return type(model).from_config(config)


def _wide(weight: Any) -> Any:
    return np.float64 if weight.dtype.kind == "f" or "float" in weight.dtype.name else weight.dtype


def _widened(config: Any) -> Any:
    """A config in which every float type is float64, as a name or as a policy's."""
    if isinstance(config, Mapping):
        return {key: _widened_type(item) if key == "dtype" else _widened(item) for key, item in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_widened(item) for item in config)
    return config


def _widened_type(value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("config"), Mapping):
        return dict(value, config=dict(value["config"], name=_widened_type(value["config"].get("name"))))
    return "float64" if isinstance(value, str) and value in _FLOATS else value
