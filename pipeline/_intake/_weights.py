"""Weights from a live layer into its tf_keras equal: by name and shape, because the two order them differently."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline._intake._graph import is_keras3
from pipeline.errors import ModelError

# What Keras 3 calls a weight of tf_keras, where it is not the same everywhere.
_KERAS3_NAMES = {"depthwise_kernel": "kernel", "sn_u": "vector_u"}


def pairs(original: Any, weights: list[Any], path: str) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Each of the tf_keras weights, with its value out of `original`. State of random generators is not among them.

    Raises:
        ModelError: a weight of one side has no equal on the other.
    """
    if not is_keras3(original):
        yield from zip(weights, original.get_weights(), strict=True)
        return
    left = [(weight.name, np.asarray(weight)) for weight in original.weights]
    for weight in weights:
        name, shape = _own_name(weight.name), tuple(weight.shape)
        names = (name, _KERAS3_NAMES.get(name))
        found = next((i for i, (given, value) in enumerate(left) if given in names and value.shape == shape), None)
        if found is None:
            raise _mismatch(path, original, f"no {name} of shape {shape}")
        yield weight, left.pop(found)[1]
    if left:
        raise _mismatch(path, original, f"a {left[0][0]} of shape {left[0][1].shape} too many")


def _own_name(name: str) -> str:
    """The last part of a tf_keras weight's name: "kernel" of "conv1/kernel:0"."""
    return name.rpartition("/")[2].partition(":")[0]


def _mismatch(path: str, original: Any, what: str) -> ModelError:
    return ModelError(
        f"The weights of layer {path!r} ({type(original).__name__}) do not fit those of the tf_keras layer: {what}",
        expected="the same weights, by name and shape, on both sides",
        mend="check that the layer was built, and a class of your own names its weights in both as the other does",
    )
