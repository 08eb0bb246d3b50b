"""How much each channel and each branch matters: by norms of weights, by batch normalization, or by the loss.

- l1: the L1 norm of the filters (Li et al., "Pruning Filters for Efficient ConvNets", arXiv 1608.08710)
- batchnorm: the scale that training gave each channel (Liu et al., "Network Slimming", arXiv 1708.06519)
- taylor: the squared change of the loss, to first order, without the channel (Molchanov et al., "Importance Estimation
  for Neural Network Pruning", arXiv 1906.10771), averaged over batches of training data

The first two only rank channels within a layer, so each layer's mean is made 1. The third compares layers too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.stages._channels import Axis, Channels

if TYPE_CHECKING:
    from pipeline.stages._surgery import Branch

Criterion = Literal["l1", "batchnorm", "taylor"]
Floats = NDArray[np.float64]

BATCHES = 16
"""Batches of training data over which the loss and the branches are measured."""


def importance(model: Any, channels: Channels, criterion: Criterion, batches: list[Any], loss: Any) -> Floats:
    """The importance of every channel, (number of channels,), never negative.

    Args:
        model: the tf_keras model that the channels were traced from.
        channels: where they run.
        criterion: which of the three.
        batches: (x, what the model is trained towards) as tensors; only taylor looks at them.
        loss: the Keras loss; only taylor needs it.

    Raises:
        ModelError: by batchnorm, and there are channels that no batch normalization scales.
    """
    if criterion == "l1":
        return _added_up(channels, _norms(model, channels))
    if criterion == "batchnorm":
        return _added_up(channels, _scales(model, channels))
    return _added_up(channels, _taylor(model, channels, batches, loss))


def branch_shares(model: Any, branches: list[Branch], batches: list[Any]) -> list[float]:
    """The share that each branch has in the sum that it ends in: mean |branch| / (mean |branch| + mean |shortcut|).

    Args:
        model: a tf_keras model.
        branches: of this model.
        batches: (x, ...) as tensors.
    """
    from pipeline._tf import keras

    if not branches:
        return []
    ends = [end for branch in branches for end in (branch.output, branch.shortcut)]
    probe = keras.Model(model.inputs, [_tensor(model, *end) for end in ends])
    sizes = np.zeros(len(ends))
    for x, _ in batches:
        sizes += [float(np.abs(value).mean()) for value in probe.predict_on_batch(x)]
    return [float(added / (added + passed)) if added else 0.0 for added, passed in sizes.reshape(-1, 2)]


def _tensor(model: Any, layer: str, call: int, output: int) -> Any:
    made = model.get_layer(layer).inbound_nodes[call].outputs
    return made[output] if isinstance(made, list | tuple) else made


def _added_up(channels: Channels, parts: Iterator[tuple[Axis, Floats]]) -> Floats:
    """Each channel's sum over the places where it runs."""
    found = np.zeros(len(channels.fixed))
    for axis, values in parts:
        np.add.at(found, axis.channels, values)
    return found


def _norms(model: Any, channels: Channels) -> Iterator[tuple[Axis, Floats]]:
    """For each kernel, the L1 norm of what makes each channel, against the layer's mean."""
    for axis in channels.axes:
        weight = model.get_layer(axis.layer).weights[axis.weight]
        if axis.makes and weight.shape.rank > 1:
            yield axis, _against_mean(np.abs(weight.numpy()).sum(_other_axes(axis, weight.shape.rank)))


def _scales(model: Any, channels: Channels) -> Iterator[tuple[Axis, Floats]]:
    found = [axis for axis in channels.axes if _is_scale(model, axis)]
    scaled = np.unique(np.concatenate([np.empty(0, np.int64), *(axis.channels for axis in found)]))
    without = np.setdiff1d(np.flatnonzero(~channels.fixed), scaled)
    if len(without):
        names = sorted(name for name, (_, made) in channels.widths.items() if np.isin(made, without).any())
        raise ModelError(
            f"No batch normalization scales the filters of: {', '.join(names)}.",
            expected="a BatchNormalization with a scale behind each layer, because importance is batchnorm",
            mend="name these layers in skip_layers, or choose importance l1 or taylor",
        )
    for axis in found:
        yield axis, _against_mean(np.abs(model.get_layer(axis.layer).gamma.numpy()))


def _is_scale(model: Any, axis: Axis) -> bool:
    return _is_normalization(model, axis) and _weight(model, axis) is model.get_layer(axis.layer).gamma


def _is_normalization(model: Any, axis: Axis) -> bool:
    return type(model.get_layer(axis.layer)).__name__ == "BatchNormalization"


def _taylor(model: Any, channels: Channels, batches: list[Any], loss: Any) -> Iterator[tuple[Axis, Floats]]:
    """For each weight, the mean over the batches of (sum of weight times gradient) squared, channel by channel."""
    axes = _where_the_loss_shows(model, channels)
    sums = _weight_times_gradient(model, axes, loss)
    squares = [np.zeros(len(axis.channels)) for axis in axes]
    for x, y in batches:
        for square, change in zip(squares, sums(x, y), strict=True):
            square += change.numpy().astype(np.float64) ** 2 / len(batches)
    yield from zip(axes, squares, strict=True)


def _where_the_loss_shows(model: Any, channels: Channels) -> list[Axis]:
    """Gamma and beta where there are any, because the scale of a filter in front of them changes nothing; kernels and
    biases elsewhere."""
    scales = [axis for axis in channels.axes if _is_scale(model, axis)]
    covered = np.concatenate([np.empty(0, np.int64), *(axis.channels for axis in scales)])
    shifts = [
        axis
        for axis in channels.axes
        if _is_normalization(model, axis) and _weight(model, axis) is model.get_layer(axis.layer).beta
    ]
    others = [axis for axis in channels.axes if axis.makes and not _is_normalization(model, axis)]
    return scales + shifts + [axis for axis in others if not np.isin(axis.channels, covered).all()]


def _weight_times_gradient(model: Any, axes: list[Axis], loss: Any) -> Any:
    """A traced function from a batch to, for each axis, the sums of weight times gradient along all other axes."""
    from pipeline._tf import tf

    weights = [_weight(model, axis) for axis in axes]

    def sums(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            value = loss(y, model(x, training=False))
        gradients = tape.gradient(value, weights, unconnected_gradients="zero")
        return [
            tf.reduce_sum(weight * gradient, _other_axes(axis, weight.shape.rank))
            for axis, weight, gradient in zip(axes, weights, gradients, strict=True)
        ]

    return tf.function(sums)


def _weight(model: Any, axis: Axis) -> Any:
    return model.get_layer(axis.layer).weights[axis.weight]


def _other_axes(axis: Axis, rank: int) -> tuple[int, ...]:
    return tuple(other for other in range(rank) if other != axis.axis)


def _against_mean(values: Any) -> Floats:
    mean = float(np.mean(values))
    return np.asarray(values, np.float64) / mean if mean > 0 else np.zeros(len(values))
