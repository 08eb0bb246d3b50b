"""Weights of 16 bits for kernels that take 8: as two halves, W = s·(upper + lower/256), in one operator.

The 16x8 kernels multiply int16 activations with int8 weights, and small weights beside large ones round to zero in
those as they do in int8. Where the input is given twice, once as it is and once through MUL as its 256th part, the
weights of the second hold what the first ones rounded off. All is integers, and every runtime of int16x8 has it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline._convert._repairs import operator_code

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALVED = frozenset({"CONV_2D", "FULLY_CONNECTED"})
"""Operators whose weights are summed over channels; of a depthwise convolution each channel has a scale of its own."""

_PART = 256


class Halves:
    """Gives operators of an object tree the lower halves of their weights; what two of them share is made once."""

    def __init__(self, tree: Any) -> None:
        self._tree, self._graph = tree, tree.subgraphs[0]
        self._doubled: dict[int, int] = {}
        self._weights: dict[tuple[int, int], int] = {}
        self._part: int | None = None

    def give(self, operator: Any, real: NDArray[np.float32]) -> list[Any]:
        """Let an int16x8 operator of a kind in `HALVED` compute with finer weights.

        Args:
            operator: reads its input, (..., c) int16, and weights, (outputs, ..., n·c) int8.
            real: the weights that those were rounded from, of the same shape.

        Returns:
            The operators that must come before it.
        """
        x, stored = int(operator.inputs[0]), int(operator.inputs[1])
        channels = int(self._graph.tensors[x].shape[-1])
        # A grouped convolution reads its channels in parts, and would find others in them.
        if real.shape[-1] % channels or (real.ndim == 4 and real.shape[-1] != channels):
            return []
        name = self._graph.tensors[stored].name
        if (stored, channels) not in self._weights:
            self._weights[stored, channels] = self._with_lower_half(stored, channels, real)
        before: list[Any] = []
        if x not in self._doubled:
            self._doubled[x], before = self._twice(x, name)
        operator.inputs = [self._doubled[x], self._weights[stored, channels], *map(int, operator.inputs[2:])]
        return before

    def _with_lower_half(self, place: int, channels: int, real: NDArray[np.float32]) -> int:
        """The weights, (outputs, ..., n·c), and what they were rounded off, behind each other: (outputs, ..., n·2c)."""
        tensor = self._graph.tensors[place]
        data = np.asarray(self._tree.buffers[tensor.buffer].data, np.uint8)
        upper = data.view(np.int8).reshape(real.shape)
        scales = np.asarray(tensor.quantization.scale, np.float64).reshape(-1, *[1] * (real.ndim - 1))
        # A channel of zeros alone, as pruning leaves it, has no scale.
        steps = np.divide(real, scales, out=np.zeros(real.shape), where=scales > 0)
        lower = np.clip(np.rint((steps - upper) * _PART), -127, 127).astype(np.int8)
        parts = [half.reshape(-1, channels) for half in (upper, lower)]
        both = np.concatenate(parts, axis=1).reshape(*real.shape[:-1], 2 * real.shape[-1])
        return self._constant(tensor, both)

    def _twice(self, x: int, name: bytes) -> tuple[int, list[Any]]:
        """The input, (..., c), and its 256th part in the same scale, (..., 2c); and the two operators that make it."""
        from tensorflow.lite.python import schema_py_generated as schema

        tensor = self._graph.tensors[x]
        if self._part is None:
            self._part = self._constant(_scalar(tensor, 1 / _PART), np.ones(1, np.int16))
        small = self._added(tensor, name + b"/Mul", tensor.shape)
        both = self._added(tensor, name + b"/concat", [*tensor.shape[:-1], 2 * tensor.shape[-1]])
        options = schema.ConcatenationOptionsT()
        options.axis = len(tensor.shape) - 1
        kinds, settings = schema.BuiltinOperator, schema.BuiltinOptions
        multiply = self._operator(kinds.MUL, 4, [x, self._part], small)
        multiply.builtinOptions, multiply.builtinOptionsType = schema.MulOptionsT(), settings.MulOptions
        join = self._operator(kinds.CONCATENATION, 3, [x, small], both)
        join.builtinOptions, join.builtinOptionsType = options, settings.ConcatenationOptions
        return both, [multiply, join]

    def _operator(self, kind: int, version: int, inputs: list[int], output: int) -> Any:
        """An operator in the first version that takes int16."""
        from tensorflow.lite.python import schema_py_generated as schema

        made = schema.OperatorT()
        made.opcodeIndex = operator_code(self._tree, kind, version)
        made.inputs, made.outputs = inputs, [output]
        return made

    def _added(self, like: Any, name: bytes, shape: Any) -> int:
        made = copy.copy(like)
        made.name, made.shape, made.shapeSignature, made.buffer = name, [int(size) for size in shape], None, 0
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def _constant(self, like: Any, values: NDArray[Any]) -> int:
        from tensorflow.lite.python import schema_py_generated as schema

        place = self._added(like, like.name, values.shape)
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self._graph.tensors[place].buffer = len(self._tree.buffers)
        self._tree.buffers.append(buffer)
        return place


def _scalar(like: Any, scale: float) -> Any:
    made = copy.copy(like)
    made.name, made.quantization = b"part", copy.copy(like.quantization)
    made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
    made.quantization.min = made.quantization.max = None
    return made
