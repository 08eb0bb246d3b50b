"""Zeros that pruning won, while filters go and the rest is trained again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Zeros:
    """The share of zeros in the kernels of a model: of each that has any, by layer and place, and over all."""

    of_kernels: Mapping[tuple[str, int], float]
    of_all: float

    @classmethod
    def of(cls, model: Any) -> Zeros:
        """Count them."""
        kernels = _kernels(model)
        shares = {place: float(np.mean(kernel.numpy() == 0)) for place, kernel in kernels.items()}
        return cls({place: share for place, share in shares.items() if share}, share_of_zeros(model))


def share_of_zeros(model: Any) -> float:
    """Over all kernels of a model."""
    kernels = [kernel.numpy() for kernel in _kernels(model).values()]
    zeros, weights = sum(int((kernel == 0).sum()) for kernel in kernels), sum(int(kernel.size) for kernel in kernels)
    return zeros / max(weights, 1)


def as_sparse_as(zeros: Zeros, model: Any) -> None:
    """Set the smallest weights to zero until each kernel, and the model, has the share of zeros that it had before.

    The filters that go first are those with most zeros, so without this a cut would leave a denser model.

    Args:
        zeros: before the cut.
        model: after it; its weights change.
    """
    sparse = {place: kernel for place, kernel in _kernels(model).items() if place in zeros.of_kernels}
    for place, kernel in sparse.items():
        values = kernel.numpy()
        kernel.assign(_with_zeros(values, math.ceil(zeros.of_kernels[place] * values.size)))
    weights = sum(math.prod(kernel.shape) for kernel in _kernels(model).values())
    missing = math.ceil((zeros.of_all - share_of_zeros(model)) * weights)
    if missing > 0 and sparse:
        _spread(list(sparse.values()), missing)


def keep_zeros(model: Any) -> Any:
    """A callback that sets the zeros of now back to zero after every batch of a training."""
    from pipeline._tf import keras

    kernels = [kernel for kernel in _kernels(model).values() if (kernel.numpy() == 0).any()]
    masks = [(kernel.numpy() != 0).astype(np.float32) for kernel in kernels]

    class KeepZeros(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        # Keras then does not fetch the loss for us after every batch.
        _supports_tf_logs = True

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            for kernel, mask in zip(kernels, masks, strict=True):
                kernel.assign(kernel * mask)

    return KeepZeros()


def _kernels(model: Any) -> dict[tuple[str, int], Any]:
    return {
        (layer.name, index): weight
        for layer in model.layers
        for index, weight in enumerate(layer.weights)
        if weight.shape.rank > 1
    }


def _with_zeros(values: NDArray[Any], count: int) -> NDArray[Any]:
    """The kernel with its `count` smallest weights set to zero; those that are zero already are the smallest."""
    flat = values.flatten()
    flat[np.argsort(np.abs(flat), kind="stable")[:count]] = 0
    return flat.reshape(values.shape)


def _spread(kernels: list[Any], missing: int) -> None:
    """Set `missing` more weights to zero: the smallest, each against its kernel's mean."""
    values = [kernel.numpy() for kernel in kernels]
    sizes = [np.abs(value).ravel() / max(float(np.abs(value).mean()), 1e-12) for value in values]
    already = sum(int((size == 0).sum()) for size in sizes)
    limit = np.sort(np.concatenate(sizes))[: already + missing][-1]
    for kernel, value, size in zip(kernels, values, sizes, strict=True):
        kernel.assign(np.where(size.reshape(value.shape) <= limit, 0, value))
