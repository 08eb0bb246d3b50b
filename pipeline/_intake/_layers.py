"""One layer of Keras 3 as one of tf_keras: its settings and the policy for those that only one of the two knows.

The rule: a setting that tf_keras does not know may be left out only where it has the value that Keras 3 gives it by
default, which is the behaviour of tf_keras, or where it cannot change an output. Anything else is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline._intake._graph import is_keras3, is_model
from pipeline.errors import ModelError

# Randomness, the way of computing, and what was built: none of it changes what the layer computes at inference.
_WITHOUT_EFFECT = frozenset({"seed", "use_cudnn", "build_config", "value_range", "optional"})

_RENAMED = {("LeakyReLU", "negative_slope"): "alpha"}

# What Keras 3 takes without naming it in a constructor.
_HIDDEN_DEFAULTS = {"autocast": True, "rms_scaling": False}

# Layers of tf_keras that have no such setting know this layout only.
_TF_KERAS_LAYOUT = ("data_format", "channels_last")

# What every tf_keras layer takes, though its own constructor only says **kwargs.
_BASE_SETTINGS = frozenset({"name", "trainable", "dtype", "zero_output_for_mask"})

_SAME_ACTIVATIONS = frozenset(
    {"elu", "exponential", "gelu", "leaky_relu", "linear", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid"}
    | {"softmax", "softplus", "softsign", "swish", "tanh"}
)
_RENAMED_ACTIVATIONS = {"silu": "swish"}
# tf_keras has no such function, or one of that name that computes something else: `_ops.py` builds them of layers.
BUILT_ACTIVATIONS = frozenset({"hard_sigmoid", "hard_silu", "hard_swish"})

# The layers whose activation comes last, so that it may become a layer of its own.
_ACTIVATION_LAST = frozenset(
    {"Activation", "Dense", "EinsumDense"}
    | {f"{kind}{n}D" for kind in ("Conv", "DepthwiseConv", "SeparableConv") for n in (1, 2, 3)}
    | {f"Conv{n}DTranspose" for n in (1, 2, 3)}
)

UNSUPPORTED = {
    "FlaxLayer": "it holds code of another framework",
    "HashedCrossing": "it works on text: do it where the data is read",
    "Hashing": "it works on text: do it where the data is read",
    "IntegerLookup": "it holds a table instead of weights: do it where the data is read",
    "JaxLayer": "it holds code of another framework",
    "RandomCrop": "at inference it does nothing in Keras 3, and resizes in tf_keras",
    "StringLookup": "it works on text: do it where the data is read",
    "TextVectorization": "it works on text: do it where the data is read",
    "TFSMLayer": "it holds a SavedModel instead of layers",
    "TorchModuleWrapper": "it holds code of another framework",
}


@dataclass(frozen=True)
class Translated:
    """A tf_keras layer, and the activation that has to follow it as layers of its own ("" for none)."""

    layer: Any
    activation: Any = ""


def translate(layer: Any, name: str, path: str, custom: Mapping[str, type], **override: Any) -> Translated:
    """The tf_keras layer for a live layer of either Keras, without its weights.

    Args:
        layer: the live layer.
        name: what it is called in the flat model.
        path: where it stands in the original, for messages.
        custom: tf_keras classes for the user's own layers, by name.
        override: settings that are to be other than the layer's own.

    Raises:
        ModelError: tf_keras has no such layer, or does not know a setting that matters.
    """
    from pipeline._tf import keras

    if type(layer).__name__ == "Normalization":
        override |= _measured(layer)
    if not is_keras3(layer):
        with keras.utils.custom_object_scope(dict(custom)):
            return Translated(type(layer).from_config(layer.get_config() | override | {"name": name}))
    cls = _class_for(layer, path, custom)
    if cls is keras.layers.TimeDistributed and is_model(layer.layer):
        return Translated(_time_distributed_model(layer, name, custom))
    settings, activation = _without_unknown_activation(layer, path, custom)
    config = _Translation(path, custom).config(type(layer).__name__, settings, cls) | override | {"name": name}
    return Translated(_made(cls, config, path, custom), activation)


def _measured(layer: Any) -> dict[str, Any]:
    """What a Normalization has measured, as settings: its weights only count once it is told to look at them."""
    arrays = {"mean": np.asarray(layer.mean), "variance": np.asarray(layer.variance)}
    kept = {axis % arrays["mean"].ndim for axis in layer.axis or ()}
    shape = [size for axis, size in enumerate(arrays["mean"].shape) if axis in kept]
    return {name: array.reshape(shape).tolist() for name, array in arrays.items()}


def _class_for(layer: Any, path: str, custom: Mapping[str, type]) -> Any:
    from pipeline._tf import keras

    name = type(layer).__name__
    if not type(layer).__module__.startswith("keras."):
        if name in custom:
            return custom[name]
        raise ModelError(
            f"Layer {path!r} is of the class {name}, which is no layer of Keras",
            expected="layers of Keras, or the tf_keras class of your own ones",
            mend=f"give a file that defines class {name}(tf_keras.layers.Layer) with --custom-objects",
        )
    return _builtin(name, path, keras.layers)


def _builtin(name: str, path: str, layers: Any) -> Any:
    found = getattr(layers, name, None)
    if found is None or name in UNSUPPORTED:
        raise ModelError(
            f"Layer {path!r} is of the class {name}: {UNSUPPORTED.get(name, 'tf_keras has no such layer')}",
            expected="a layer that both Keras 3 and tf_keras have (docs/layers.md lists them)",
            mend="build the model with a layer from that list in its place",
        )
    return found


def _time_distributed_model(layer: Any, name: str, custom: Mapping[str, type]) -> Any:
    """A model applied to each step of a sequence: it stays a model, flat in itself."""
    from pipeline._intake._flatten import flatten
    from pipeline._tf import keras

    return keras.layers.TimeDistributed(flatten(layer.layer, custom=custom).model, name=name)


def _without_unknown_activation(layer: Any, path: str, custom: Mapping[str, type]) -> tuple[dict[str, Any], Any]:
    """The layer's settings, and its activation if that has to stand behind it on its own."""
    settings = dict(layer.get_config())
    activation = settings.get("activation")
    stands_alone = isinstance(activation, dict) or activation in BUILT_ACTIVATIONS
    if not stands_alone or type(layer).__name__ not in _ACTIVATION_LAST or not _is_builtin_class(layer):
        return settings, ""
    if isinstance(activation, dict):
        activation = _Translation(path, custom).activation_layer(activation)
    return settings | {"activation": "linear"}, activation


def _is_builtin_class(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")


def _made(cls: Any, config: dict[str, Any], path: str, custom: Mapping[str, type]) -> Any:
    from pipeline._tf import keras

    try:
        with keras.utils.custom_object_scope(dict(custom)):
            # Its from_config wants the shapes that it was once built for; it will be built again.
            return cls(**config) if cls is keras.layers.MultiHeadAttention else cls.from_config(config)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"Layer {path!r} of class {cls.__name__} cannot be made in tf_keras: {str(error).splitlines()[0][:300]}",
            expected="settings that tf_keras accepts",
            mend="change the layer's settings, or put another layer in its place",
        ) from error


@dataclass(frozen=True)
class _Translation:
    """Settings of one layer and of what is nested in it."""

    path: str
    custom: Mapping[str, type]

    def config(self, name: str, settings: Mapping[str, Any], cls: Any) -> dict[str, Any]:
        """The settings of a layer of class `name`, as `cls` of tf_keras takes them."""
        known = _settings_of(cls)
        defaults = _HIDDEN_DEFAULTS | _keras3_defaults(name)
        result = {}
        for key, value in settings.items():
            new_key = _RENAMED.get((name, key), key)
            if new_key in known or new_key in _BASE_SETTINGS:
                result[new_key] = self._value(key, value)
            elif not (key in _WITHOUT_EFFECT or value == defaults.get(key) or (key, value) == _TF_KERAS_LAYOUT):
                raise self._unknown(name, key, value)
        return {key: value for key, value in result.items() if value is not _LEFT_OUT}

    def activation_layer(self, serialized: Mapping[str, Any]) -> Any:
        """The layer that another layer has for its activation, Dense(activation=LeakyReLU())."""
        from pipeline._tf import keras

        if not str(serialized.get("module", "")).startswith("keras.layers"):
            raise self._no_activation(serialized.get("class_name") or "a function of your own")
        made = self._value("layer", serialized)
        return _made(_builtin(made["class_name"], self.path, keras.layers), made["config"], self.path, self.custom)

    def _value(self, key: str, value: Any) -> Any:
        if key == "dtype":
            return self._policy(value)
        if key.endswith("activation"):
            return self._activation(value)
        return self._object(key, value)

    def _object(self, key: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._object(key, item) for item in value]
        if not isinstance(value, dict):
            return value
        if "class_name" not in value or "config" not in value:
            return {inner: self._object(inner, item) for inner, item in value.items()}
        if str(value.get("module", "")).startswith("keras.layers"):
            return self._nested_layer(value)
        if key.endswith("initializer"):
            return self._initializer(value)
        return {"class_name": value["class_name"], "config": self._object(key, value["config"])}

    def _nested_layer(self, serialized: Mapping[str, Any]) -> dict[str, Any]:
        from pipeline._tf import keras

        name = serialized["class_name"]
        cls = _builtin(name, self.path, keras.layers)
        return {"class_name": name, "config": self.config(name, serialized["config"], cls)}

    def _initializer(self, serialized: Mapping[str, Any]) -> Any:
        """How weights once began changes nothing: they are copied. Where tf_keras has no equal, its default serves."""
        from pipeline._tf import keras

        cls = getattr(keras.initializers, serialized["class_name"], None)
        settings = {k: v for k, v in (serialized["config"] or {}).items() if k not in ("input_axes", "output_axes")}
        if cls is None or any(isinstance(value, dict) for value in settings.values()):
            return _LEFT_OUT
        return {"class_name": serialized["class_name"], "config": settings}

    def _policy(self, value: Any) -> Any:
        name = value["config"]["name"] if isinstance(value, dict) and value["class_name"] == "DTypePolicy" else value
        if name is None or (isinstance(name, str) and "_from_" not in name):
            return name
        raise ModelError(
            f"Layer {self.path!r} computes in {name!r}, a quantization that only Keras 3 knows",
            expected="a float model: Edgesmith quantizes it itself",
            mend="save the model before model.quantize(...) is called",
        )

    def _activation(self, value: Any) -> Any:
        name = _RENAMED_ACTIVATIONS.get(value, value) if isinstance(value, str) else value
        if name is None or name in _SAME_ACTIVATIONS:
            return name
        raise self._no_activation(name)

    def _no_activation(self, name: Any) -> ModelError:
        return ModelError(
            f"Layer {self.path!r} has the activation {name!r}, which tf_keras does not have in this place",
            expected=f"one of {', '.join(sorted(_SAME_ACTIVATIONS | set(_RENAMED_ACTIVATIONS) | BUILT_ACTIVATIONS))}",
            mend="use one of those, or put the activation behind it as a layer of its own",
        )

    def _unknown(self, name: str, key: str, value: Any) -> ModelError:
        return ModelError(
            f"Layer {self.path!r} of class {name} has {key}={value!r}, which tf_keras does not know",
            expected="settings that change nothing or that both Keras 3 and tf_keras have",
            mend=f"build the layer without {key}, and train or copy its weights again",
        )


_LEFT_OUT = object()


def _settings_of(cls: Any) -> frozenset[str]:
    """What a class's constructor takes by name, and what it hands on to those of its bases."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__name__ in ("Layer", "object", "Module"):
            break
        parameters = inspect.signature(base.__init__).parameters
        names.update(parameters)
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            break
    return frozenset(names - {"self", "kwargs", "args"})


def _keras3_defaults(name: str) -> dict[str, Any]:
    """The value that Keras 3 gives each setting of a layer by itself."""
    from pipeline._tf import keras3

    cls = getattr(keras3().layers, name, None)
    if cls is None:
        return {}
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        parameters = inspect.signature(base.__init__).parameters.values() if base is not object else ()
        found.update({p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty})
    return found
