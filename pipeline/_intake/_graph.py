"""A model as one flat list of calls: plain data, in which every tensor is a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Ref:
    """A tensor of the flat graph: its number, its shape with the batch (None where free), its dtype's name."""

    number: int
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Call:
    """One call of a layer, or of a `keras.ops` operation.

    Attributes:
        layer: the live layer or operation; the same object in every call of a shared layer.
        path: the names of the models around it and its own, "backbone/conv1".
        args: positional arguments, tensors as `Ref`.
        kwargs: keyword arguments, tensors as `Ref`, without those that Keras filled in itself.
        outputs: what came out, flat.
        frozen: whether the call, or one around it, says `training=False`.
    """

    layer: Any
    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Ref, ...]
    frozen: bool = False

    @property
    def inputs(self) -> tuple[Ref, ...]:
        """Every tensor that goes in, in order."""
        return tuple(leaf for leaf in leaves([self.args, self.kwargs]) if isinstance(leaf, Ref))


@dataclass(frozen=True)
class Graph:
    """A flat model: names of its inputs and their tensors, its calls in an order that can be run, its outputs."""

    name: str
    inputs: tuple[tuple[str, Ref], ...]
    calls: tuple[Call, ...]
    outputs: tuple[Ref, ...]

    def consumers(self, ref: Ref) -> list[Call]:
        """The calls that take a tensor."""
        return [call for call in self.calls if ref in call.inputs]

    def calls_of(self, layer: Any) -> list[Call]:
        """Every call of one layer: more than one where it is shared."""
        return [call for call in self.calls if call.layer is layer]

    def without(self, dropped: Mapping[int, Ref]) -> Graph:
        """The graph in which the calls that made the tensors `dropped` (number to what stands in) are gone."""

        def instead(leaf: Any) -> Any:
            while isinstance(leaf, Ref) and leaf.number in dropped:
                leaf = dropped[leaf.number]
            return leaf

        kept = [call for call in self.calls if not any(ref.number in dropped for ref in call.outputs)]
        calls = tuple(replace(c, args=mapped(c.args, instead), kwargs=mapped(c.kwargs, instead)) for c in kept)
        return replace(self, calls=calls, outputs=tuple(instead(ref) for ref in self.outputs))


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A structure of lists, tuples and dicts with every leaf changed."""
    if isinstance(value, Mapping):
        return {key: mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [mapped(item, change) for item in value]
    if isinstance(value, tuple):
        return tuple(mapped(item, change) for item in value)
    return change(value)


def leaves(value: Any) -> Iterator[Any]:
    """The leaves of a structure, dicts by sorted key as both Keras flatten them."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from leaves(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def is_tensor(value: Any) -> bool:
    """Whether a value is a symbolic tensor of either Keras."""
    return hasattr(value, "_keras_history")


def is_layer(thing: Any) -> bool:
    """Whether it is a layer, not an operation of `keras.ops`."""
    return any(cls.__name__ == "Layer" and of_keras(cls) for cls in type(thing).__mro__)


def is_model(thing: Any) -> bool:
    """Whether a layer is a whole model, of either Keras."""
    return any(cls.__name__ == "Model" and of_keras(cls) for cls in type(thing).__mro__)


def is_builtin(layer: Any, name: str) -> bool:
    return type(layer).__name__ == name and of_keras(type(layer))


def is_keras3(thing: Any) -> bool:
    """Whether a model, layer or operation belongs to Keras 3, by the classes that it is made of."""
    return any(cls.__module__.partition(".")[0] == "keras" for cls in type(thing).__mro__)


def of_keras(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in ("keras", "tf_keras")
