"""Any live Keras model as one flat functional tf_keras model.

read        the graph of either Keras as a flat list of calls      _live.py, _masks.py
simplify    what the front end does not need falls away            _front.py
replay      each call on tf_keras layers with the same weights     _layers.py, _weights.py, _ops.py

In between everything is plain data: `Graph` (_graph.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from pipeline._intake import _ops, _weights
from pipeline._intake._front import Affine, simplify, with_affine
from pipeline._intake._graph import Call, Graph, Ref, is_keras3, is_layer, leaves, mapped
from pipeline._intake._layers import Translated, translate
from pipeline._intake._live import read
from pipeline._intake._names import Names
from pipeline._intake._op import Maker
from pipeline.errors import ModelError

_NONE: Mapping[str, type] = MappingProxyType({})


@dataclass(frozen=True)
class Flat:
    """A model made flat.

    Attributes:
        model: the flat functional tf_keras model; its outputs at inference are those of the original.
        renamed: path in the original ("backbone/conv1") to name in the flat model, where the two differ.
        folded: a sentence for each layer that is gone because the others do its work.
        kept_front: a sentence for each layer of the front end that stays, with the reason.
    """

    model: Any
    renamed: dict[str, str]
    folded: tuple[str, ...]
    kept_front: tuple[str, ...]


def flatten(model: Any, *, custom: Mapping[str, type] = _NONE, trust_code: bool = False, fold: bool = True) -> Flat:
    """Turn a live model into one flat functional tf_keras model with the same weights.

    Args:
        model: a Keras 3 or tf_keras model: Sequential or Functional, nested to any depth, layers shared at will.
        custom: tf_keras classes for layers that are the user's own, by name.
        trust_code: whether the functions of Lambda layers may be run, once, to see what they are made of.
        fold: whether scaling in front may move into the weights behind it; see `simplify`.

    Returns:
        The flat model, and what became of names and the front end. Several inputs or outputs are in a list, a dict's
        in the order of its sorted keys.

    Raises:
        ModelError: names the layer that stands in the way, and what to put in its place.
    """
    front = simplify(read(model, trust_code=trust_code), fold=fold)
    replayed = _Replay(front.graph, custom, front.affine)
    return Flat(replayed.model(), replayed.renamed, tuple(front.folded), tuple(front.kept))


@dataclass
class _Replay:
    """Builds the flat model, call by call."""

    graph: Graph
    custom: Mapping[str, type]
    affine: Mapping[int, Affine]
    names: Names = field(default_factory=Names)
    renamed: dict[str, str] = field(default_factory=dict)
    made: dict[int, Translated] = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)

    def model(self) -> Any:
        """The flat model with its weights."""
        from pipeline._tf import keras

        tensors = {ref.number: self._input(name, ref) for name, ref in self.graph.inputs}
        inputs = list(tensors.values())
        for call in self.graph.calls:
            made = leaves(self._called(call, tensors))
            tensors.update({ref.number: tensor for ref, tensor in zip(call.outputs, made, strict=True)})
        outputs = [tensors[ref.number] for ref in self.graph.outputs]
        self._fill()
        name = Names().unique(self.graph.name)
        return keras.Model(_alone(inputs), _alone(outputs), name=name)

    def _input(self, name: str, ref: Ref) -> Any:
        from pipeline._tf import keras

        unique = self._name(name)
        if ref.dtype == "string":
            raise ModelError(
                f"The input {name!r} is text",
                expected="numbers: devices know no text",
                mend="turn text into numbers where the data is read, and build the model from there on",
            )
        return keras.Input(batch_shape=ref.shape, dtype=ref.dtype, name=unique)

    def _name(self, path: str) -> str:
        name = self.names.unique(path)
        if name != path:
            self.renamed[path] = name
        return name

    def _called(self, call: Call, tensors: Mapping[int, Any]) -> Any:
        args, kwargs = (mapped(part, lambda v: tensors[v.number] if isinstance(v, Ref) else v) for part in _both(call))
        if not is_layer(call.layer):
            return _ops.replay(call, args, kwargs, Maker(self.names, call.path))
        translated = self._layer(call)
        if is_keras3(call.layer):
            args, kwargs = _arguments_for(translated.layer, call, args, kwargs)
        return self._activated(translated, _run(translated.layer, call, args, kwargs), call)

    def _layer(self, call: Call) -> Translated:
        key = id(call.layer)
        if key not in self.made:
            override: dict[str, Any] = {"use_bias": True} if key in self.affine else {}
            if self._always_frozen(call):
                override["trainable"] = False
            self.made[key] = translate(call.layer, self._name(call.path), call.path, self.custom, **override)
            self.paths[key] = call.path
        elif call.path not in self.renamed and call.path != self.paths[key]:
            self.renamed[call.path] = self.made[key].layer.name
        return self.made[key]

    def _always_frozen(self, call: Call) -> bool:
        """Batch normalization called with training=False: a frozen one is the same, and outlives every rebuilding."""
        return type(call.layer).__name__ == "BatchNormalization" and all(
            other.frozen for other in self.graph.calls_of(call.layer)
        )

    def _activated(self, translated: Translated, output: Any, call: Call) -> Any:
        if isinstance(translated.activation, str):
            if not translated.activation:
                return output
            maker = Maker(self.names, f"{call.path}_{translated.activation}")
            return _ops.activated(output, translated.activation, maker)
        return translated.activation(output)

    def _fill(self) -> None:
        """Copy the weights, all at once."""
        from pipeline._tf import keras

        originals = {id(call.layer): call.layer for call in self.graph.calls}
        values: list[Any] = []
        for key, translated in self.made.items():
            if not _filled_already(translated.layer):
                values.extend(self._values(originals[key], translated.layer, self.paths[key]))
        keras.backend.batch_set_value(values)
        for key, affine in self.affine.items():
            with_affine(self.made[key].layer, affine)

    def _values(self, original: Any, target: Any, path: str) -> list[Any]:
        has_new_bias = id(original) in self.affine and not original.use_bias
        weights = [w for w in target.weights if not (has_new_bias and w is target.bias)]
        values: list[Any] = list(_weights.pairs(original, weights, path))
        return [*values, (target.bias, np.zeros(target.bias.shape))] if has_new_bias else values


def _alone(tensors: list[Any]) -> Any:
    return tensors if len(tensors) > 1 else tensors[0]


def _both(call: Call) -> tuple[Any, Any]:
    return call.args, call.kwargs


def _filled_already(layer: Any) -> bool:
    """A model inside TimeDistributed was made flat with its weights; Normalization has settings in their place."""
    from pipeline._tf import keras

    model_inside = isinstance(layer, keras.layers.TimeDistributed) and isinstance(layer.layer, keras.Model)
    return model_inside or isinstance(layer, keras.layers.Normalization)


def _arguments_for(layer: Any, call: Call, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a Keras 3 call as the tf_keras layer names them: the first by place, the others by name."""
    signature = inspect.signature(call.layer.call)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values()):
        return args, kwargs
    given = dict(signature.bind(*args, **kwargs).arguments)
    given.update(given.pop("kwargs", {}))
    first = given.pop(next(iter(signature.parameters)))
    known = inspect.signature(layer.call).parameters
    unknown = {name: value for name, value in given.items() if name not in known}
    for name, value in unknown.items():
        if value is not None and value is not signature.parameters[name].default:
            raise ModelError(
                f"Layer {call.path!r} of class {type(call.layer).__name__} is called with {name}=, "
                "which the tf_keras layer does not take",
                expected=f"arguments among {', '.join(known)}",
                mend=f"build the model without {name}=",
            )
    return (first,), {name: value for name, value in given.items() if name in known}


def _run(layer: Any, call: Call, args: Any, kwargs: dict[str, Any]) -> Any:
    try:
        return layer(*args, **kwargs)
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise ModelError(
            f"Layer {call.path!r} of class {type(call.layer).__name__} does not work in tf_keras: {_reason(error)}",
            expected="a layer that tf_keras calls as Keras 3 does",
            mend="change its settings or what it is called with, or put another layer in its place",
        ) from error


def _reason(error: Exception) -> str:
    """The line of a tf_keras message that says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception encountered")), type(error).__name__)[:300]
