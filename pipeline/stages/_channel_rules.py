"""What each kind of layer does with the channels that it is given; a kind that is not here cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.stages._channels import Ids, Tracer

Rule = Callable[[Tracer, Any], None]

_MIXING = frozenset({"softmax", "log_softmax"})
"""Activations in which each channel depends on all others."""


def rule_for(node: Any) -> Rule:
    """The rule for one call of a layer: by its class, unless its settings are such that no rule holds."""
    layer = node.layer
    rule = _RULES.get(type(layer).__name__, Tracer.give_up)
    # A class of the user's own may have the name of one of Keras' and do something else.
    theirs = type(layer).__module__.startswith(("tf_keras.", "keras."))
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    if not theirs or not channels_last or getattr(layer, "groups", 1) != 1:
        return Tracer.give_up
    return _then_held(rule) if _activation(layer) in _MIXING else rule


def _then_held(rule: Rule) -> Rule:
    """The channels of a softmax must stay: each of its outputs depends on all of them."""

    def follow(tracer: Tracer, node: Any) -> None:
        rule(tracer, node)
        tracer.fix(tracer.of(node.outputs), node.layer.name)

    return follow


def _activation(layer: Any) -> str:
    return getattr(getattr(layer, "activation", None), "__name__", "")


def _pass_on(tracer: Tracer, node: Any) -> None:
    [channels] = tracer.inputs(node)
    tracer.give(node, channels)


def _convolution(tracer: Tracer, node: Any) -> None:
    """Kernel (*size, in, out), bias (out,); a dense layer's kernel (in, out)."""
    setting = "units" if hasattr(node.layer, "units") else "filters"
    made = tracer.made(node, setting, getattr(node.layer, setting))
    tracer.along(node, 0, -2, tracer.input(node), makes=False)
    tracer.along(node, 0, -1, made, makes=True)
    _with_bias(tracer, node, made)


def _transposed(tracer: Tracer, node: Any) -> None:
    """Kernel (*size, out, in), bias (out,)."""
    made = tracer.made(node, "filters", node.layer.filters)
    tracer.along(node, 0, -1, tracer.input(node), makes=False)
    tracer.along(node, 0, -2, made, makes=True)
    _with_bias(tracer, node, made)


def _depthwise(tracer: Tracer, node: Any) -> None:
    """Kernel (*size, in, multiplier), bias (in * multiplier,): the outputs of one input lie side by side."""
    taken = tracer.input(node)
    given = np.repeat(taken, node.layer.depth_multiplier)
    tracer.along(node, 0, -2, taken, makes=True)
    _with_bias(tracer, node, given)
    tracer.give(node, given)


def _separable(tracer: Tracer, node: Any) -> None:
    """Depthwise kernel (*size, in, multiplier), pointwise kernel (*1, in * multiplier, out), bias (out,)."""
    taken = tracer.input(node)
    made = tracer.made(node, "filters", node.layer.filters)
    tracer.along(node, 0, -2, taken, makes=False)
    tracer.along(node, 1, -2, np.repeat(taken, node.layer.depth_multiplier), makes=False)
    tracer.along(node, 1, -1, made, makes=True)
    _with_bias(tracer, node, made)


def _with_bias(tracer: Tracer, node: Any, channels: Ids) -> None:
    """The bias is the last weight where there is one."""
    if node.layer.use_bias:
        tracer.along(node, len(node.layer.weights) - 1, 0, channels, makes=True)
    tracer.give(node, channels)


def _embedding(tracer: Tracer, node: Any) -> None:
    """Table (words, out)."""
    made = tracer.made(node, "output_dim", node.layer.output_dim)
    tracer.along(node, 0, 1, made, makes=True)
    tracer.give(node, made)


def _batch_normalization(tracer: Tracer, node: Any) -> None:
    """Gamma, beta, mean and variance, as far as there are, each (channels,)."""
    if list(node.layer.axis) != [len(node.outputs.shape) - 1]:
        tracer.give_up(node)
        return
    channels = tracer.input(node)
    for weight in range(len(node.layer.weights)):
        tracer.along(node, weight, 0, channels, makes=True)
    tracer.give(node, channels)


def _prelu(tracer: Tracer, node: Any) -> None:
    """Alpha (..., channels), or (..., 1) where all channels share it."""
    channels = tracer.input(node)
    if node.layer.weights[0].shape[-1] == len(channels):
        tracer.along(node, 0, -1, channels, makes=False)
    tracer.give(node, channels)


def _rescaling(tracer: Tracer, node: Any) -> None:
    # With a factor for each channel, its config would have to be cut as well.
    if np.ndim(node.layer.scale) or np.ndim(node.layer.offset):
        tracer.give_up(node)
    else:
        _pass_on(tracer, node)


def _merge(tracer: Tracer, node: Any) -> None:
    """Sums and their like: what is added up goes together."""
    first, *others = tracer.inputs(node)
    if any(len(other) != len(first) for other in others):
        tracer.give_up(node)
        return
    for other in others:
        tracer.join(first, other)
    tracer.give(node, first)


def _multiply(tracer: Tracer, node: Any) -> None:
    """As a sum; but a single channel that all others are multiplied with (spatial attention) just stays."""
    taken = tracer.inputs(node)
    widest = max(taken, key=len)
    for other in taken:
        if len(other) == len(widest):
            tracer.join(widest, other)
        else:
            tracer.fix(other, node.layer.name)
    tracer.give(node, widest)


def _concatenate(tracer: Tracer, node: Any) -> None:
    if node.layer.axis in (-1, len(node.outputs.shape) - 1):
        tracer.give(node, np.concatenate(tracer.inputs(node)))
    else:
        _merge(tracer, node)


def _rearrange(tracer: Tracer, node: Any) -> None:
    """Flatten, Reshape and Permute: moved as the values are, channels may still lie along the last axis alone."""
    taken = tracer.input(node)
    shape, after = node.input_shapes[1:], node.outputs.shape[1:]
    if None in shape or None in after:
        tracer.give_up(node)
        return
    values = np.broadcast_to(taken, shape)
    if type(node.layer).__name__ == "Permute":
        moved = values.transpose([dim - 1 for dim in node.layer.dims])
    else:
        moved = values.reshape(after)
    rows = moved.reshape(-1, after[-1])
    if (rows != rows[0]).any():
        tracer.give_up(node)
        return
    given = rows[0].copy()
    if type(node.layer).__name__ == "Reshape":
        tracer.widths[node.layer.name] = ("target_shape", given)
    tracer.give(node, given)


_POOLS = [f"{kind}{n}D" for kind in ("MaxPooling", "AveragePooling") for n in (1, 2, 3)]
_POOLS += [f"Global{pool}" for pool in _POOLS]
_PLACES = [f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling", "SpatialDropout") for n in (1, 2, 3)]

_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Activation", "ReLU", "LeakyReLU", "ELU", "ThresholdedReLU"), _pass_on),
    **dict.fromkeys(
        ("Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout", "ActivityRegularization"), _pass_on
    ),
    **dict.fromkeys((*_POOLS, *_PLACES, "RepeatVector", "Resizing"), _pass_on),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Dense"), _convolution),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(("Add", "Subtract", "Average", "Maximum", "Minimum"), _merge),
    **dict.fromkeys(("Flatten", "Reshape", "Permute"), _rearrange),
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Embedding": _embedding,
    "Multiply": _multiply,
    "PReLU": _prelu,
    "Rescaling": _rescaling,
}
