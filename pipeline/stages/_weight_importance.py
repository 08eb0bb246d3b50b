"""How much each single weight matters, for pruning: one score a weight, at least 0, in the kernel's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.stages._kernels import Kernel

Score = Callable[[Sequence["Kernel"]], list["NDArray[np.float32]"]]
"""From the kernels as they are now, their weights' scores."""


def magnitude(power: Literal[1, 2]) -> Score:
    """|w| or w². Single weights rank alike by both; a block's mean goes by its L1 or its L2 norm."""

    def scores(kernels: Sequence[Kernel]) -> list[NDArray[np.float32]]:
        return [np.abs(kernel.values()).astype(np.float32) ** power for kernel in kernels]

    return scores


def chance(seed: int) -> Score:
    """Random numbers, as a baseline: drawn once, so that what goes early stays gone."""
    rng = np.random.default_rng(seed)
    drawn: dict[int, NDArray[np.float32]] = {}

    def scores(kernels: Sequence[Kernel]) -> list[NDArray[np.float32]]:
        for kernel in kernels:
            if id(kernel.variable) not in drawn:
                drawn[id(kernel.variable)] = rng.random(tuple(kernel.variable.shape), np.float32)
        return [drawn[id(kernel.variable)] for kernel in kernels]

    return scores


def gradient(model: Any, loss: Any, batches: Any, power: Literal[1, 2]) -> Score:
    """What the loss would do without a weight, to first order: |w·g|, or its square, as a mean over batches.

    |w·g| is SNIP's connection sensitivity (Lee et al., 2018); the mean of (w·g)² is the Taylor importance of Molchanov
    et al., "Importance Estimation for Neural Network Pruning" (2019).

    Args:
        model: the Keras model that the kernels belong to.
        loss: a Keras loss.
        batches: a finite `tf.data.Dataset` of (x, target); it is gone through for every call.
        power: 1 for |w·g|, 2 for its square.
    """
    from pipeline._tf import tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def harm(x: Any, target: Any, variables: list[Any]) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(variables)  # those of frozen layers too
            value = tf.reduce_mean(loss(target, model(x, training=False)))
        gradients = tape.gradient(value, variables, unconnected_gradients="zero")
        # A table of embeddings has its gradient in slices.
        products = [w * tf.convert_to_tensor(g) for w, g in zip(variables, gradients, strict=True)]
        return [tf.abs(product) ** power for product in products]

    def scores(kernels: Sequence[Kernel]) -> list[NDArray[np.float32]]:
        variables = [kernel.variable for kernel in kernels]
        found = [[one.numpy() for one in harm(x, target, variables)] for x, target in batches]
        return [np.mean(one, axis=0) for one in zip(*found, strict=True)]

    return scores
