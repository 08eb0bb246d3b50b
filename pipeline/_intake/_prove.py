"""Proof that a flat model computes what the original does: the same random inputs through both."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline._intake._double import in_double
from pipeline._intake._graph import Graph, Ref, is_keras3, is_tensor, leaves, mapped
from pipeline._intake._live import read

# Two frameworks add the same float32 numbers in another order; this is what that costs in a network of 150 layers.
TOLERANCE = 1e-5

# Where a model takes images or sequences of any size.
_FREE_SIZE = 32

_SCALED_INPUTS = frozenset({"Normalization", "Rescaling"})


def largest_difference(original: Any, flat: Any, *, seed: int, batch: int = 4) -> float:
    """The largest difference of any output on random inputs, relative to max(1, the largest output).

    Args:
        original: a live Keras 3 or tf_keras model.
        flat: the flat tf_keras model that should equal it; same inputs in the same order.
        seed: of the inputs.
        batch: how many inputs.

    Returns:
        The difference, in double precision where single does not suffice to see that there is none; infinity where
        shapes differ, or one side is finite and the other is not.
    """
    rng = np.random.default_rng(seed)
    graph = read(flat)
    arrays = [_random(graph, ref, rng, batch) for _, ref in graph.inputs]
    found = _compared(original, flat, arrays)
    if found <= TOLERANCE:
        return found
    # A deep network may differ by more from itself, run another way: let double precision tell rounding from mistakes.
    doubles = in_double(original), in_double(flat)
    if None in doubles:
        return found
    return _compared(*doubles, [array.astype(np.float64) if array.dtype.kind == "f" else array for array in arrays])


def _compared(original: Any, flat: Any, arrays: list[NDArray[Any]]) -> float:
    expected, got = _outputs(original, arrays), _outputs(flat, arrays)
    if len(expected) != len(got):
        return float("inf")
    return max(_difference(one, other) for one, other in zip(expected, got, strict=True))


def _outputs(model: Any, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of a model at inference. Keras 3 layers that augment do so unless told training=False."""
    by_tensor = {id(tensor): array for tensor, array in zip(model.inputs, arrays, strict=True)}
    structure = getattr(model, "_functional", model).input if is_keras3(model) else model.input
    inputs = mapped(structure, lambda leaf: by_tensor[id(leaf)] if is_tensor(leaf) else leaf)
    return [np.asarray(output) for output in leaves(model(inputs, training=False))]


def _difference(expected: NDArray[Any], got: NDArray[Any]) -> float:
    if expected.shape != got.shape:
        return float("inf")
    one, other = expected.astype(np.float64), got.astype(np.float64)
    finite = np.isfinite(one)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True) or not np.isfinite(other[finite]).all():
        return float("inf")
    largest = np.abs(one[finite]).max(initial=1.0)
    return float(np.abs(one[finite] - other[finite]).max(initial=0.0) / largest)


def _random(graph: Graph, ref: Ref, rng: np.random.Generator, batch: int) -> NDArray[Any]:
    """Values that an input might really take: ids for an embedding, pixels for what scales pixels, else normal."""
    shape = tuple(size or (_FREE_SIZE if axis else batch) for axis, size in enumerate(ref.shape))
    largest_id = _largest_id(graph, ref)
    if largest_id is not None or not ref.dtype.startswith(("float", "bfloat")):
        high = 256 if ref.dtype == "uint8" else 2 if ref.dtype == "bool" else 8
        return rng.integers(0, largest_id or high, shape).astype(ref.dtype)
    values = rng.standard_normal(shape)
    if any(type(call.layer).__name__ in _SCALED_INPUTS for call in graph.calls):
        values[1::2] = rng.uniform(0, 255, values[1::2].shape)
    return values.astype(ref.dtype)


def _largest_id(graph: Graph, ref: Ref) -> int | None:
    """How many ids the embeddings know that an input leads to without weights in between; None if it leads to none."""
    found: list[int] = []
    for call in graph.consumers(ref):
        limit = getattr(call.layer, "input_dim", None) or getattr(call.layer, "num_tokens", None)
        if isinstance(limit, int):
            found.append(limit)
        elif not getattr(call.layer, "weights", None):
            found.extend(n for out in call.outputs if (n := _largest_id(graph, out)) is not None)
    return min(found, default=None)
