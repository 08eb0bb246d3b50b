"""A live model of either Keras as one flat list of calls.

Keras 3 and tf_keras both keep a functional model as nodes: a layer, what it was called with, what came out. Reading
them turns every tensor into a number, puts the calls of nested models in the place of the model, and leaves the layers
themselves untouched: what is done with a call is decided later, on plain data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline._intake._graph import (
    Call,
    Graph,
    Ref,
    is_builtin,
    is_keras3,
    is_model,
    is_tensor,
    leaves,
    mapped,
    of_keras,
)
from pipeline._intake._masks import told_by_the_user
from pipeline.errors import ModelError


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
                args, kwargs = told_by_the_user(node, args, kwargs)
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
        if is_builtin(operation, "Lambda"):
            return self._lambda(operation, args, kwargs, path, frozen)
        _check_training(operation, training, path)
        outputs = [self.new(tensor) for tensor in _outputs(node)]
        frozen = frozen or (training is False and is_builtin(operation, "BatchNormalization"))
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


def _reached(graph: Graph) -> list[Call]:
    """The calls that the outputs need; what only served masks falls away."""
    needed = {ref.number for ref in graph.outputs}
    kept: list[Call] = []
    for call in reversed(graph.calls):
        if any(ref.number in needed for ref in call.outputs):
            needed.update(ref.number for ref in call.inputs)
            kept.append(call)
    return kept[::-1]


def _kind(model: Any) -> str:
    """The class of Keras that a model is, or is derived from."""
    names = [cls.__name__ for cls in type(model).__mro__ if of_keras(cls)]
    return next((name for name in names if name in ("Sequential", "Functional")), "")


def _calls_its_graph(model: Any) -> bool:
    """Whether calling the model runs its graph: a subclass may have written a call() of its own."""
    owner = next(cls for cls in type(model).__mro__ if "call" in vars(cls))
    return of_keras(owner)
