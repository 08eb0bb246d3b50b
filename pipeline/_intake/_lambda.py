"""A trusted Lambda as the TensorFlow operations that its function is made of."""

from __future__ import annotations

import inspect
from typing import Any

from pipeline._intake._graph import Ref, is_tensor, leaves, mapped
from pipeline.errors import ModelError


def traced(layer: Any, args: Any, kwargs: dict[str, Any], path: str) -> Any:
    """A tf_keras model of what a Lambda's function does with tensors like those that it is called with.

    The function runs once, on symbolic tensors; tf_keras keeps each TensorFlow operation as a layer. The model that
    comes out holds no Python code, so that nobody further down has to trust it.

    Raises:
        ModelError: the function does what cannot be kept as TensorFlow operations.
    """
    from pipeline._tf import keras

    if kwargs or {"mask", "training"} & set(inspect.signature(layer.function).parameters):
        raise _refused(path, "its function takes a mask, the training flag, or further arguments")
    symbols = mapped(args[0], _symbol)
    try:
        outputs = layer.function(symbols, **(layer.arguments or {}))
    except Exception as error:  # the user's code may raise anything
        why = next(iter(str(error).splitlines()), "")[:200]
        raise _refused(path, f"its function raised {type(error).__name__}: {why}") from error
    if not all(is_tensor(leaf) for leaf in leaves(outputs)):
        raise _refused(path, "its function returns something that is not computed from its input")
    return keras.Model([leaf for leaf in leaves(symbols) if is_tensor(leaf)], list(leaves(outputs)))


def _symbol(leaf: Any) -> Any:
    from pipeline._tf import keras

    return keras.Input(batch_shape=leaf.shape, dtype=leaf.dtype) if isinstance(leaf, Ref) else leaf


def _refused(path: str, why: str) -> ModelError:
    return ModelError(
        f"The Lambda {path!r} cannot be taken apart into TensorFlow operations: {why}",
        expected="a function of its input tensors only, of plain arithmetic and tf.* functions",
        mend="keras.ops functions are none of them: write tf.abs(x) for keras.ops.abs(x), or put a layer in its place",
    )
