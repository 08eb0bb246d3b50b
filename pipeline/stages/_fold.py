"""Folds batch normalization into the linear layer before it or behind it: the same numbers with fewer operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.stages._linear import (
    TRANSPOSED,
    ends_at_borders,
    is_linear,
    outputs_of,
    reads_channels,
    scale_inputs,
    scale_outputs,
    shift_outputs,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.stages._network import Network

    Statistics = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def fold_normalizations(network: Network) -> tuple[dict[str, str], Statistics]:
    """Fold every batch normalization that a linear layer can take in.

    Into the layer before it, where nothing else reads that layer. Else into the layer behind it, where that reads no
    padded zeros: what is added to them would be missing there.

    Returns:
        The layer that each went into; and for each that went forward, of the layer that it went into, how its outputs
        were distributed in training: mean and standard deviation, each (out,).
    """
    went: dict[str, str] = {}
    statistics: Statistics = {}
    for name in network.names("BatchNormalization"):
        scale_and_shift = _affine(network, name)
        if scale_and_shift is None:
            continue
        scale, shift = scale_and_shift
        before, behind = network.before(name), network.behind(name)
        if before and is_linear(network, before) and network.behind(before) == name:
            went[name] = before
            statistics[before] = _distribution(network, name)
            scale_outputs(network, before, scale)
            shift_outputs(network, before, shift)
        elif behind and _takes_in(network, behind):
            went[name] = behind
            shift_outputs(network, behind, outputs_of(network, behind, shift))
            scale_inputs(network, behind, scale)
        if name in went:
            network.take_out(name)
    return went, statistics


def _takes_in(network: Network, name: str) -> bool:
    """Whether what is multiplied and added to a layer's input can be moved into the layer."""
    return reads_channels(network, name) and ends_at_borders(network, name) and network.kind(name) not in TRANSPOSED


def _affine(network: Network, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """What a normalization multiplies with and adds, each (channels,); None where it is not over the last axis."""
    config, part = network.configs[name], network.parts[name]
    axis = config["axis"] if isinstance(config["axis"], list) else [config["axis"]]
    if part.output_shape is None or axis not in ([len(part.output_shape)], [-1]):
        return None
    gamma, beta, mean, variance = _weights(network, name)
    scale = gamma / np.sqrt(variance + config["epsilon"])
    return scale, beta - mean * scale


def _distribution(network: Network, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of what a normalization gave in training."""
    gamma, beta, _, _ = _weights(network, name)
    return beta, np.abs(gamma)


def _weights(network: Network, name: str) -> tuple[NDArray[np.float64], ...]:
    """Gamma, beta, mean and variance, those too that a normalization was made without."""
    config = network.configs[name]
    *trained, mean, variance = (weight.astype(np.float64) for weight in network.weights[name])
    gamma = trained.pop(0) if config["scale"] else np.ones_like(mean)
    beta = trained.pop(0) if config["center"] else np.zeros_like(mean)
    return gamma, beta, mean, variance
