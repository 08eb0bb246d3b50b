"""How much a model suffers when one layer alone is pruned, after Li et al., "Pruning Filters" (2016), section 3.2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.stages._kernels import Kernel
    from pipeline.stages._masks import Mask

EXAMPLES = 1024
"""Validation examples that a loss is measured on."""

BATCH = 256


def loss_increases(
    layers: Mapping[str, Sequence[Kernel]],
    levels: Sequence[float],
    masks_at: Callable[[Sequence[Kernel], float], Sequence[Mask]],
    loss: Callable[[], float],
    progress: Progress,
) -> dict[str, list[float]]:
    """By how much the loss rises with each layer pruned to each level, everything else as it is.

    Args:
        layers: the kernels of each layer; their weights change meanwhile, and are as before in the end.
        levels: shares of a layer's weights.
        masks_at: the masks of some kernels at a level.
        loss: measures the model as it is now.
        progress: a bar that moves a step a measurement.

    Returns:
        For each layer one number a level.
    """
    before = loss()
    found: dict[str, list[float]] = {}
    with progress.bar("prune: sensitivity", len(layers) * len(levels)) as bar:
        for name, kernels in layers.items():
            found[name] = []
            for level in levels:
                found[name].append(_loss_with(kernels, masks_at(kernels, level), loss) - before)
                bar.advance(1, name)
    return found


def validation_loss(model: Any, data: Dataset, seed: int) -> Callable[[], float]:
    """Measures the mean loss of a model on validation examples, the same ones each time."""
    from pipeline._tf import tf

    loss = data.task.loss(model)
    chosen = np.sort(np.random.default_rng(seed).permutation(data.validation.size)[:EXAMPLES])
    batches = replace(data, validation=data.validation.take(chosen)).validation_batches(BATCH)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def mean(x: Any, target: Any) -> Any:
        return tf.reduce_mean(loss(target, model(x, training=False)))

    def measure() -> float:
        found = [(float(mean(x, target)), len(x)) for x, target in batches]
        return sum(value * count for value, count in found) / sum(count for _, count in found)

    return measure


def _loss_with(kernels: Sequence[Kernel], masks: Sequence[Mask], loss: Callable[[], float]) -> float:
    dense = [kernel.values() for kernel in kernels]
    for kernel, weights, mask in zip(kernels, dense, masks, strict=True):
        kernel.variable.assign(weights * mask)
    found = loss()
    for kernel, weights in zip(kernels, dense, strict=True):
        kernel.variable.assign(weights)
    return found
