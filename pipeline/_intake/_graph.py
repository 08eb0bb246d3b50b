"""A live model of either Keras as one flat list of calls.

Keras 3 and tf_keras both keep a functional model as nodes: a layer, what it was called with, what came out. Reading
them turns every tensor into a number, puts the calls of nested models in the place of the model, and leaves the layers
themselves untouched: what is done with a call is decided later, on plain data.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.errors import ModelError


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


def read(model: Any, *, trust_code: bool = False) -> Graph:
    """The flat graph of a live model.

    Args:
        model: a Keras 3 or tf_keras model, Sequential or Functional, nested at will.
        trust_code: whether the functions of Lambda layers may be run, to see which operations they are made of.

    Raises:
        ModelError: the model has no graph, or a part of it has none.
    """
    reader = _Reader(trust_code)
    functional = functional_of(model, model.name)
    _check_dense(functional.inputs)
    inputs = tuple((_input_name(tensor), reader.new(tensor)) for tensor in functional.inputs)
    outputs = reader.inline(functional, [ref for _, ref in inputs], path="", frozen=False)
    graph = Graph(model.name, inputs, tuple(reader.calls), tuple(outputs))
    return replace(graph, calls=tuple(_reached(graph)))


def is_keras3(thing: Any) -> bool:
    """Whether a model, layer or operation belongs to Keras 3, by the classes that it is made of."""
    return any(cls.__module__.partition(".")[0] == "keras" for cls in type(thing).__mro__)


def is_model(thing: Any) -> bool:
    """Whether a layer is a whole model, of either Keras."""
    return any(cls.__name__ == "Model" and _is_keras_module(cls) for cls in type(thing).__mro__)


def functional_of(model: Any, path: str) -> Any:
    """The object that holds the graph of a model: the model, or what Keras 3 keeps inside a Sequential.

    Raises:
        ModelError: it has no graph, because it is subclassed or was never told the shape of its input.
    """
    if _kind(model) == "Sequential" and _calls_its_graph(model):
        graph = getattr(model, "_functional", None) if is_keras3(model) else model
        if graph is not None and getattr(graph, "inputs", None):
            return graph
        raise ModelError(
            f"The Sequential model {path!r} does not know the shape of its input",
            expected="a model that was built",
            mend="put keras.Input(shape=...) in front of its layers, or call model.build((None, ...)) before saving",
        )
    if _kind(model) == "Functional" and _calls_its_graph(model) and getattr(model, "inputs", None):
        return model
    raise ModelError(
        f"The model {path!r} of class {type(model).__name__} has no graph of layers: its call() is written in Python",
        expected="a Sequential or Functional model",
        mend="rebuild it as a functional one, x = keras.Input(shape=...); model = keras.Model(x, model.call(x)), "
        "or hand over `file.py:function` with a function that returns a functional model",
    )


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


@dataclass
class _Reader:
    trust_code: bool
    calls: list[Call] = field(default_factory=list)
    count: int = 0

    def new(self, tensor: Any) -> Ref:
        """A number for a tensor."""
        self.count += 1
        dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
        return Ref(self.count, tuple(tensor.shape), dtype)

    def inline(self, functional: Any, inputs: list[Ref], *, path: str, frozen: bool) -> list[Ref]:
        """Read the calls of one model whose inputs are known; returns its outputs."""
        known = {id(tensor): ref for tensor, ref in zip(functional.inputs, inputs, strict=True)}
        for node in _nodes(functional):
            operation = _operation(node)
            args, kwargs = _arguments(node)
            tensors = [leaf for leaf in leaves([args, kwargs]) if is_tensor(leaf)]
            # A node that hangs on tensors outside this model is not a part of it: Keras itself skips those.
            if all(id(tensor) in known for tensor in tensors):
                where = f"{path}/{operation.name}".lstrip("/")
                args, kwargs = _told_by_the_user(node, args, kwargs)
                args = mapped(args, lambda leaf: known[id(leaf)] if is_tensor(leaf) else leaf)
                kwargs = mapped(kwargs, lambda leaf: known[id(leaf)] if is_tensor(leaf) else leaf)
                outputs = self._call(operation, args, kwargs, node, where, frozen)
                known.update({id(tensor): ref for tensor, ref in zip(_outputs(node), outputs, strict=True)})
        return [known[id(tensor)] for tensor in functional.outputs]

    def _call(self, operation: Any, args: Any, kwargs: dict[str, Any], node: Any, path: str, frozen: bool) -> list[Ref]:
        training = kwargs.pop("training", None)
        if is_model(operation):
            functional = functional_of(operation, path)
            inputs = _inputs_of_nested(functional, args, kwargs, path)
            return self.inline(functional, inputs, path=path, frozen=frozen or training is False)
        if _is_builtin(operation, "Lambda"):
            return self._lambda(operation, args, kwargs, path, frozen)
        _check_training(operation, training, path)
        outputs = [self.new(tensor) for tensor in _outputs(node)]
        frozen = frozen or (training is False and _is_builtin(operation, "BatchNormalization"))
        self.calls.append(Call(operation, path, tuple(args), kwargs, tuple(outputs), frozen))
        return outputs

    def _lambda(self, layer: Any, args: Any, kwargs: dict[str, Any], path: str, frozen: bool) -> list[Ref]:
        """The operations that a Lambda's function is made of, in its place: no code stays in the flat model."""
        from pipeline._intake._lambda import traced

        if not self.trust_code:
            raise ModelError(
                f"Layer {path!r} is a Lambda: it holds Python code, which may do anything",
                expected="layers without code",
                mend="if you trust where the model comes from, allow its code with --trust-code; "
                "better, put a layer of Keras in its place",
            )
        given = [ref for ref in leaves(list(args)) if isinstance(ref, Ref)]
        first = len(self.calls)
        outputs = self.inline(traced(layer, args, kwargs, path), given, path=path, frozen=frozen)
        # TensorFlow numbers operations through the whole session: "tf.math.abs_3" here may be "tf.math.abs" there.
        self.calls[first:] = [replace(c, path=re.sub(r"_\d+$", "", c.path)) for c in self.calls[first:]]
        return outputs


def _nodes(functional: Any) -> Iterator[Any]:
    """The nodes of a model in an order that can be run, those of inputs left out."""
    by_depth = functional._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if not node.is_input)


def _operation(node: Any) -> Any:
    return node.operation if hasattr(node, "operation") else node.layer


def _arguments(node: Any) -> tuple[Any, dict[str, Any]]:
    if hasattr(node, "arguments"):
        return node.arguments.args, dict(node.arguments.kwargs)
    return tuple(node.call_args), dict(node.call_kwargs)


def _outputs(node: Any) -> list[Any]:
    return list(leaves(node.outputs))


def _input_name(tensor: Any) -> str:
    history = tensor._keras_history
    name: str = (history.operation if hasattr(history, "operation") else history.layer).name
    # Keras 3 names an input that it cut out of another model by a number of the session.
    return "input" if re.fullmatch(r"keras_tensor_\d+CLONE", name) else name


def _check_dense(inputs: list[Any]) -> None:
    # Only inputs can say it: Keras 3 also marks x * 2.0 as sparse.
    for tensor in inputs:
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False) or "Dense" not in _storage(tensor):
            raise ModelError(
                f"The input {_input_name(tensor)!r} is sparse or ragged",
                expected="dense inputs: devices know no others",
                mend="build the model with dense inputs",
            )


def _storage(tensor: Any) -> str:
    """How tf_keras keeps the values of an input: its classes are SparseKerasTensor, RaggedKerasTensor, KerasTensor."""
    return type(tensor).__name__.replace("KerasTensor", "") or "Dense"


def _inputs_of_nested(functional: Any, args: Any, kwargs: dict[str, Any], path: str) -> list[Ref]:
    """The tensors that a nested model is called with, in the order of its inputs."""
    given = args[0] if args else kwargs.pop("inputs", None)
    if isinstance(given, Mapping) and not isinstance(functional.input, Mapping):
        given = [given[_input_name(tensor)] for tensor in functional.inputs]
    refs = [leaf for leaf in leaves(given) if isinstance(leaf, Ref)]
    ranks = [len(ref.shape) for ref in refs]
    if ranks != [len(tensor.shape) for tensor in functional.inputs] or any(v is not None for v in kwargs.values()):
        raise ModelError(
            f"The nested model {path!r} is called with {[ref.shape for ref in refs]} and {sorted(kwargs)}",
            expected=f"one tensor for each of its inputs {[tuple(t.shape) for t in functional.inputs]}, nothing else",
            mend="call the nested model with tensors of those shapes only",
        )
    return refs


def _check_training(layer: Any, training: Any, path: str) -> None:
    # Keras 3 hands the outer model's own value down and so forgets this one; in tf_keras it holds for inference too.
    if training is True and not is_keras3(layer):
        raise ModelError(
            f"Layer {path!r} of class {type(layer).__name__} is called with training=True: "
            "it is in training mode at inference too",
            expected="layers whose mode is that of the model",
            mend="build the model without training=True in the call of this layer",
        )


def _told_by_the_user(node: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments without the masks that Keras 3 recorded by itself: tf_keras hands masks on by itself, too."""
    if not hasattr(node, "arguments") or not is_layer(node.operation):
        return args, kwargs
    bound = _bound(node.operation, args, kwargs)
    first = next(iter(bound.values()), None)
    kept = {}
    if "mask" not in kwargs and "mask" in inspect.signature(node.operation.call).parameters:
        _check_unmasked(node.operation, first)
    for name, value in kwargs.items():
        if name == "mask" or name.endswith("_mask"):
            partner = first if name == "mask" else bound.get(name.removesuffix("_mask"))
            if all(mask is None for mask in leaves(value)) or _signature(value) == _signature(_masks(partner)):
                continue
        kept[name] = value
    return args, kept


def _check_unmasked(layer: Any, first: Any) -> None:
    # Keras 3 forgets the mask of a sequence that comes with initial states; tf_keras would go by it.
    if any(mask is not None for mask in leaves(_masks(first))):
        raise ModelError(
            f"Layer {layer.name!r} of class {type(layer).__name__} is called with a masked sequence and further "
            "tensors: Keras 3 ignores the mask, tf_keras does not",
            expected="one tensor with a mask, or several without",
            mend="build the model without mask_zero and Masking",
        )


def is_layer(thing: Any) -> bool:
    """Whether it is a layer, not an operation of `keras.ops`."""
    return any(cls.__name__ == "Layer" and _is_keras_module(cls) for cls in type(thing).__mro__)


def _bound(layer: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(inspect.signature(layer.call).bind(*args, **kwargs).arguments)
    except TypeError:
        return dict(enumerate(args)) | kwargs  # type: ignore[return-value]  # a custom call(): only the first counts


def _masks(value: Any) -> Any:
    return mapped(value, lambda leaf: getattr(leaf, "_keras_mask", None))


def _signature(value: Any) -> Any:
    """What a tensor was computed from, so that the same mask computed twice (once for each loading) is one."""
    if isinstance(value, list | tuple):
        return [_signature(item) for item in value]
    if not is_tensor(value):
        return repr(value)
    operation, node_index, tensor_index = value._keras_history
    node = operation._inbound_nodes[node_index]
    if is_layer(operation):
        return [id(operation), node_index, tensor_index]
    settings = sorted((k, repr(v)) for k, v in vars(operation).items() if k != "name" and not k.startswith("_"))
    return [type(operation).__name__, settings, tensor_index, _signature([*node.arguments.args])]


def _reached(graph: Graph) -> list[Call]:
    """The calls that the outputs need; what only served masks falls away."""
    needed = {ref.number for ref in graph.outputs}
    kept: list[Call] = []
    for call in reversed(graph.calls):
        if any(ref.number in needed for ref in call.outputs):
            needed.update(ref.number for ref in call.inputs)
            kept.append(call)
    return kept[::-1]


def _is_keras_module(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in ("keras", "tf_keras")


def _is_builtin(layer: Any, name: str) -> bool:
    return type(layer).__name__ == name and _is_keras_module(type(layer))


def _kind(model: Any) -> str:
    """The class of Keras that a model is, or is derived from."""
    names = [cls.__name__ for cls in type(model).__mro__ if _is_keras_module(cls)]
    return next((name for name in names if name in ("Sequential", "Functional")), "")


def _calls_its_graph(model: Any) -> bool:
    """Whether calling the model runs its graph: a subclass may have written a call() of its own."""
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return _is_keras_module(owner)
