"""The float model inside a quantization-aware one: its layers and trained weights, without any rounding."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipeline.draft import Draft

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WRAPPERS = frozenset({"QuantizeWrapper", "QuantizeWrapperV2"})


def without_rounding(draft: Draft) -> Draft:
    """A quantization-aware draft as the float model that it trains: same layers, same kernels, biases and statistics.

    Layers keep the wrappers' names (`quant_conv`), so that everything that refers to them still does; a `.tflite`
    leaves that prefix out of a layer's name.

    Args:
        draft: with the trait "qat".
    """
    from pipeline._tf import keras

    trained = {layer.name: _by_name(layer) for layer in draft.restore().layers}
    architecture = json.loads(draft.architecture)
    architecture["config"]["layers"] = [_plain_layer(layer) for layer in architecture["config"]["layers"]]
    keras.backend.clear_session()
    model = keras.models.model_from_json(json.dumps(architecture))
    for layer in model.layers:
        layer.set_weights([trained[layer.name][weight.name] for weight in layer.weights])
    return Draft.of(model, draft.traits - {"qat"})


def _by_name(layer: Any) -> dict[str, NDArray[np.float32]]:
    return {weight.name: weight.numpy() for weight in layer.weights}


def _plain_layer(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer of Keras' JSON without what rounds in it; what joins it to others stays."""
    config = layer["config"]
    if layer["class_name"] == "QuantizeLayer":
        return {**layer, **_keras("Activation", {"name": config["name"], "activation": "linear"})}
    if layer["class_name"] not in WRAPPERS:
        return layer
    inner = config["layer"]
    plain = {name: _plain_activation(value) for name, value in inner["config"].items()}
    return {**layer, **inner, "config": {**plain, "name": config["name"]}}


def _plain_activation(value: Any) -> Any:
    """An activation function without the rounding around it; any other setting as it is."""
    kind = value.get("class_name") if isinstance(value, dict) else None
    if kind == "QuantizeAwareActivation":
        return _plain_activation(value["config"]["activation"])
    return "linear" if kind == "NoOpActivation" else value


def _keras(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "registered_name": None, "config": config}
