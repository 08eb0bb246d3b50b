"""One operation of `keras.ops`: what it was called with, what makes layers for it, and how it is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline._intake._graph import Call, is_tensor
from pipeline._intake._names import Names
from pipeline.errors import ModelError

# A constant larger than this is a weight in disguise: it would be written into the architecture's JSON as text.
_LARGEST_CONSTANT = 4096


_INSTEAD = {
    "Absolute": "a Maximum layer of x and -x",
    "Abs": "a Maximum layer of x and -x",
    "AveragePool": "an AveragePooling2D layer",
    "BroadcastTo": "a RepeatVector or UpSampling layer",
    "Clip": "a ReLU layer with max_value",
    "Conv": "a Conv2D layer",
    "DepthwiseConv": "a DepthwiseConv2D layer",
    "Dot": "a Dot layer",
    "Einsum": "an EinsumDense or a Dot layer",
    "LayerNorm": "a LayerNormalization layer",
    "Matmul": "a Dot layer",
    "MaxPool": "a MaxPooling2D layer",
    "Normalize": "a UnitNormalization layer",
    "Pad": "a ZeroPadding2D layer",
    "Repeat": "an UpSampling or RepeatVector layer",
    "Resize": "a Resizing layer",
    "Split": "slices x[:, a:b]",
    "Stack": "a Concatenate and a Reshape layer",
    "Sum": "a global pooling layer, times the number of values",
    "Swapaxes": "a Permute layer",
    "Tile": "an UpSampling or RepeatVector layer",
}


@dataclass(frozen=True)
class Maker:
    """Makes the layers that stand for one call, with names of their own.

    Attributes:
        names: the names of the flat model.
        path: where the call stands in the original; the first layer is named after it.
    """

    names: Names
    path: str

    def __call__(self, kind: str, *args: Any, **settings: Any) -> Any:
        """A tf_keras layer of class `kind`."""
        from pipeline._tf import keras

        return getattr(keras.layers, kind)(*args, name=self.names.unique(self.path), **settings)


@dataclass(frozen=True)
class Op:
    """One operation: its call, its settings and arguments by name, and what makes layers for it."""

    call: Call
    given: dict[str, Any]
    make: Maker

    def refused(self, why: str) -> ModelError:
        return refusal(self.call, why)

    @property
    def x(self) -> Any:
        """Its only tensor."""
        return self._float(self.given["x"])

    def operands(self) -> tuple[Any, Any]:
        """Both sides of an arithmetic operation: tensors, or constants as arrays."""
        return self._operand(self.given["x1"]), self._operand(self.given["x2"])

    def static_size(self, tensor: Any) -> int:
        """How many values a tensor has for each item of the batch."""
        shape = tuple(tensor.shape[1:])
        if None in shape:
            raise self.refused(f"the shape {tuple(tensor.shape)} is not known in full")
        size: int = math.prod(shape)
        return size

    def _operand(self, value: Any) -> Any:
        if is_tensor(value):
            return self._float(value)
        if hasattr(value, "assign"):
            raise self.refused("one side is a variable that belongs to no layer")
        array = np.asarray(value)
        if array.size > _LARGEST_CONSTANT or array.dtype.kind not in "fiu":
            raise self.refused(f"one side is a constant of {array.size} values of type {array.dtype}")
        return array

    def _float(self, tensor: Any) -> Any:
        if not tensor.dtype.is_floating:
            raise self.refused(f"it works on {tensor.dtype.name}, and layers compute in floats")
        return tensor


def refusal(call: Call, why: str) -> ModelError:
    name = type(call.layer).__name__
    return ModelError(
        f"The operation {call.path!r} (keras.ops, {name}) is no layer: {why}",
        expected="layers, and operations that are exactly a layer (docs/layers.md lists them)",
        mend=f"build the model with {_INSTEAD.get(name, 'a layer of Keras')} in its place",
    )
