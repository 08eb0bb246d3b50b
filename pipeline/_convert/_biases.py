"""Biases in int16x8 that several operators share, as the steps of a recurrent layer do: each gets its own.

A kernel takes the stored bias in units of its input's scale times its weights'. TensorFlow's older quantizer scales a
shared bias for the first operator that reads it, and the others then add another number than they should.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets.tflite_graph import parse_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDS = {"CONV_2D": (0, 1, 2), "DEPTHWISE_CONV_2D": (0, 1, 2), "FULLY_CONNECTED": (0, 1, 2), "TRANSPOSE_CONV": (2, 1, 3)}
"""Where input, weights and bias stand among the inputs of an operator."""

TOLERANCE = 1e-3
"""Share by which scales that are meant to be the same may differ: TensorFlow Lite itself allows some rounding."""


def with_own_biases(model: bytes) -> bytes:
    """The same `.tflite` with each bias in its operator's units; where they all are, the same bytes."""
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(model)
    kinds = [operator.kind for operator in parse_graph(model).operators]
    graph = tree.subgraphs[0]
    changes = [_mended(tree, operator, kind) for operator, kind in zip(graph.operators, kinds, strict=True)]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree)) if any(changes) else model


def _mended(tree: Any, operator: Any, kind: str) -> bool:
    tensors = tree.subgraphs[0].tensors
    places = ENDS.get(kind, ())
    if not places or len(operator.inputs) <= places[-1] or operator.inputs[places[-1]] < 0:
        return False
    scales = [_scales(tensors[operator.inputs[place]]) for place in places]
    wanted, found = scales[0] * scales[1], scales[2]
    if not wanted.size or not found.size or np.allclose(found, wanted, rtol=TOLERANCE, atol=0):
        return False
    inputs = [int(place) for place in operator.inputs]
    inputs[places[-1]] = _rescaled(
        tree, tensors[inputs[places[-1]]], np.broadcast_to(found / wanted, wanted.shape), wanted
    )
    operator.inputs = inputs
    return True


def _rescaled(tree: Any, bias: Any, factors: NDArray[np.float64], scales: NDArray[np.float64]) -> int:
    """The bias in other scales, (1,) or (channels,), as a tensor of its own."""
    from tensorflow.lite.python import schema_py_generated as schema

    stored = np.asarray(tree.buffers[bias.buffer].data, np.uint8).view(np.int64)
    buffer, made = schema.BufferT(), copy.copy(bias)
    buffer.data = np.rint(stored * factors).astype(np.int64).view(np.uint8)
    made.buffer, made.quantization = len(tree.buffers), copy.copy(bias.quantization)
    made.quantization.scale = scales.astype(np.float32)
    tree.buffers.append(buffer)
    tree.subgraphs[0].tensors.append(made)
    return len(tree.subgraphs[0].tensors) - 1


def _scales(tensor: Any) -> NDArray[np.float64]:
    """(1,) or (channels,); (0,) of one in float."""
    found = None if tensor.quantization is None else tensor.quantization.scale
    return np.asarray([] if found is None else found, np.float64)
