"""Operations of `keras.ops` in a graph as layers that compute exactly the same, and the activations tf_keras lacks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline._intake._graph import Call, is_tensor, leaves
from pipeline._intake._op import Maker, Op, refusal


def replay(call: Call, args: Any, kwargs: dict[str, Any], make: Maker) -> Any:
    """The output of a `keras.ops` operation on tf_keras tensors.

    Args:
        call: the call of the operation, for its settings.
        args: what it is called with, tensors of the flat model.
        kwargs: the same, by name.
        make: makes the layers.

    Raises:
        ModelError: no layer computes exactly this.
    """
    kind = type(call.layer).__name__
    if kind not in REPLAYS:
        raise refusal(call, "no layer computes exactly this")
    arguments = inspect.signature(call.layer.call).bind(*args, **kwargs).arguments
    settings = {key: value for key, value in vars(call.layer).items() if not key.startswith("_")}
    return REPLAYS[kind](Op(call, settings | arguments, make))


def activated(tensor: Any, name: str, make: Maker) -> Any:
    """An activation of Keras 3 that tf_keras does not have, built of layers.

    Keras 3's hard sigmoid is relu6(x + 3) / 6; the one of tf_keras is another function, clip(0.2 x + 0.5).
    """
    shifted = make("Rescaling", scale=1.0, offset=3.0)(tensor)
    gate = make("Rescaling", scale=1.0 / 6.0)(make("ReLU", 6.0)(shifted))
    return gate if name == "hard_sigmoid" else make("Multiply")([tensor, gate])


def _arithmetic(merge: str, affine: Callable[[Any, bool], tuple[Any, Any] | None]) -> Callable[[Op], Any]:
    """Two tensors go through the layer `merge`; a tensor and a constant through y = scale · x + offset.

    `affine` says scale and offset for a constant, and whether it stands on the left, or None where there are none.
    """

    def run(op: Op) -> Any:
        left, right = op.operands()
        if is_tensor(left) and is_tensor(right):
            return _merged(op, merge, left, right)
        tensor, constant = (left, right) if is_tensor(left) else (right, left)
        coefficients = affine(constant, is_tensor(right))
        if coefficients is None:
            raise op.refused("no layer does this with a constant on that side")
        return _rescaled(op, tensor, *coefficients)

    return run


def _merged(op: Op, merge: str, left: Any, right: Any) -> Any:
    # Merge layers line tensors of different ranks up from the batch on, NumPy from the last axis on.
    if not merge or left.shape.rank != right.shape.rank or left.dtype != right.dtype:
        raise op.refused(f"it joins {tuple(left.shape)} and {tuple(right.shape)}")
    return op.make(merge)([left, right])


def _rescaled(op: Op, tensor: Any, scale: Any, offset: Any) -> Any:
    for constant in (np.asarray(scale), np.asarray(offset)):
        if not _spreads(constant.shape, tensor.shape):
            raise op.refused(f"a constant of shape {constant.shape} changes the shape {tuple(tensor.shape)}")
    return op.make("Rescaling", scale=_plain(scale), offset=_plain(offset))(tensor)


def _spreads(constant: tuple[int, ...], tensor: Any) -> bool:
    """Whether a constant of this shape spreads over a tensor of that shape, and leaves its shape alone."""
    last = tuple(tensor)[len(tensor) - len(constant) :]
    return len(constant) <= len(tensor) and all(c in (1, t) for c, t in zip(constant, last, strict=True))


def _plain(value: Any) -> Any:
    return np.asarray(value, dtype=np.float64).tolist()


def _power(op: Op) -> Any:
    tensor, exponent = op.operands()
    if not is_tensor(tensor) or is_tensor(exponent) or exponent.ndim or exponent != 2:
        raise op.refused("only squares are a layer")
    return op.make("Multiply")([tensor, tensor])


def _square(op: Op) -> Any:
    return op.make("Multiply")([op.x, op.x])


def _negative(op: Op) -> Any:
    return op.make("Rescaling", scale=-1.0)(op.x)


def _activation(name: str) -> Callable[[Op], Any]:
    return lambda op: op.make("Activation", name)(op.x)


def _built_activation(name: str) -> Callable[[Op], Any]:
    return lambda op: activated(op.x, name, op.make)


def _gelu(op: Op) -> Any:
    if op.given["approximate"]:
        raise op.refused("only gelu(approximate=False) is an activation by name")
    return op.make("Activation", "gelu")(op.x)


def _pooled(kind: str) -> Callable[[Op], Any]:
    """A mean or maximum over exactly the axes between batch and channels: global pooling."""

    def run(op: Op) -> Any:
        rank = op.x.shape.rank
        axis = op.given["axis"]
        axes = sorted(a % rank for a in (axis if isinstance(axis, list | tuple) else [axis]) if a is not None)
        if rank not in (3, 4, 5) or axes != list(range(1, rank - 1)) or op.given.get("initial") is not None:
            raise op.refused(f"it runs over axis {axis}, not over all axes but batch and channels")
        return op.make(f"Global{kind}Pooling{rank - 2}D", keepdims=bool(op.given["keepdims"]))(op.x)

    return run


def _reshape(op: Op) -> Any:
    batch, *rest = op.given["newshape"]
    if batch not in (-1, None, op.x.shape[0]) or math.prod(rest) != op.static_size(op.x):
        raise op.refused(f"the new shape {(batch, *rest)} reaches into the batch")
    return op.make("Reshape", tuple(rest))(op.x)


def _transpose(op: Op) -> Any:
    rank = op.x.shape.rank
    axes = [axis % rank for axis in op.given["axes"] or range(rank)[::-1]]
    if axes[0] != 0:
        raise op.refused("it moves the batch")
    return op.make("Permute", tuple(axes[1:]))(op.x)


def _same_elements(op: Op) -> Any:
    """expand_dims and squeeze: another shape, which Keras 3 has already worked out."""
    shape = op.call.outputs[0].shape[1:]
    size = op.static_size(op.x)
    if None in shape or math.prod(n for n in shape if n is not None) != size:
        raise op.refused("it touches the batch")
    return op.make("Reshape", shape)(op.x)


def _concatenate(op: Op) -> Any:
    tensors = list(op.given["xs"])
    axis = op.given["axis"]
    if not all(is_tensor(tensor) for tensor in tensors) or axis is None or axis % tensors[0].shape.rank == 0:
        raise op.refused("it joins along the batch, or joins constants")
    return op.make("Concatenate", axis=axis)(tensors)


def _get_item(op: Op) -> Any:
    """x[:, 0]: tf_keras has a layer for it that it makes only by itself, so ask for it by its JSON."""
    from pipeline._tf import keras

    # A key that was read from a file is a list.
    key = tuple(op.given["key"]) if isinstance(op.given["key"], list | tuple) else (op.given["key"],)
    taken = sum(isinstance(part, int | slice) for part in key)
    whole_batch = key[0] == slice(None) or (key[0] is Ellipsis and taken < op.given["x"].shape.rank)
    if not whole_batch or not all(_simple(part) for part in leaves(list(key))):
        raise op.refused("it takes a part of the batch, or picks by a tensor")
    config = {"name": op.make.names.unique(op.make.path), "function": "__operators__.getitem"}
    layer = keras.layers.deserialize({"class_name": "SlicingOpLambda", "config": config})
    return layer(op.given["x"], tuple(_written(part) for part in key))


def _written(part: Any) -> Any:
    """A slice as tf_keras keeps it, because JSON knows none."""
    return {"start": part.start, "stop": part.stop, "step": part.step} if isinstance(part, slice) else part


def _simple(part: Any) -> bool:
    return part is None or part is Ellipsis or isinstance(part, int | slice)


REPLAYS: dict[str, Callable[[Op], Any]] = {
    "Add": _arithmetic("Add", lambda c, _: (1.0, c)),
    "Concatenate": _concatenate,
    "Divide": _arithmetic("", lambda c, left: None if left else (1.0 / c, 0.0)),
    "ExpandDims": _same_elements,
    "Elu": lambda op: op.make("ELU", op.given["alpha"])(op.x),
    "Exp": _activation("exponential"),
    "Gelu": _gelu,
    "GetItem": _get_item,
    "HardSigmoid": _built_activation("hard_sigmoid"),
    "HardSilu": _built_activation("hard_silu"),
    "LeakyRelu": lambda op: op.make("LeakyReLU", op.given["negative_slope"])(op.x),
    "Max": _pooled("Max"),
    "Maximum": _arithmetic("Maximum", lambda _, __: None),
    "Mean": _pooled("Average"),
    "Minimum": _arithmetic("Minimum", lambda _, __: None),
    "Multiply": _arithmetic("Multiply", lambda c, _: (c, 0.0)),
    "Negative": _negative,
    "Power": _power,
    "Relu": lambda op: op.make("ReLU")(op.x),
    "Relu6": lambda op: op.make("ReLU", 6.0)(op.x),
    "Reshape": _reshape,
    "Selu": _activation("selu"),
    "Sigmoid": _activation("sigmoid"),
    "Silu": _activation("swish"),
    "Softmax": lambda op: op.make("Softmax", op.given["axis"])(op.x),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Square": _square,
    "Squeeze": _same_elements,
    "Subtract": _arithmetic("Subtract", lambda c, left: (-1.0, c) if left else (1.0, -c)),
    "Tanh": _activation("tanh"),
    "Transpose": _transpose,
    "TrueDivide": _arithmetic("", lambda c, left: None if left else (1.0 / c, 0.0)),
}
