"""Layers that are linear maps, scaled and shifted: what is multiplied into their kernels and added to their biases.

All is worked out in 64 bits, and rounded once to the 32 that Keras keeps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.stages._network import Network

CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
DEPTHWISE = ("DepthwiseConv1D", "DepthwiseConv2D")
TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
SEPARABLE = ("SeparableConv1D", "SeparableConv2D")
LINEAR = ("Dense", *CONVOLUTIONS, *DEPTHWISE, *TRANSPOSED, *SEPARABLE)


def is_linear(network: Network, name: str) -> bool:
    """Whether nothing but a linear map and a bias happens in a layer."""
    return is_weighted(network, name) and network.configs[name]["activation"] == "linear"


def is_weighted(network: Network, name: str) -> bool:
    """Whether a layer begins with a linear map; an activation may follow inside it."""
    return network.kind(name) in LINEAR and network.configs[name].get("data_format", "channels_last") == "channels_last"


def reads_channels(network: Network, name: str) -> bool:
    """Whether each channel that a layer takes has weights of its own that can be scaled."""
    one_group = network.configs[name].get("groups", 1) == 1
    return is_weighted(network, name) and network.kind(name) not in SEPARABLE and one_group


def scale_outputs(network: Network, name: str, scale: NDArray[np.float64]) -> None:
    """Multiply what a linear layer gives, (out,) a channel."""
    weights, place = network.weights[name], _kernel_place(network, name)
    weights[place] = (weights[place] * scales_of_outputs(network, name, scale)).astype(np.float32)
    if network.configs[name]["use_bias"]:
        weights[-1] = (weights[-1] * scale).astype(np.float32)


def shift_outputs(network: Network, name: str, shift: NDArray[np.float64]) -> None:
    """Add to what a linear layer gives, (out,) a channel; a layer without a bias gets one."""
    if not network.configs[name]["use_bias"]:
        network.configs[name]["use_bias"] = True
        network.weights[name] = [*network.weights[name], np.zeros(shift.shape, np.float32)]
    network.weights[name][-1] = (network.weights[name][-1] + shift).astype(np.float32)


def scale_inputs(network: Network, name: str, scale: NDArray[np.float64]) -> None:
    """Multiply what a layer takes, (in,) a channel, by way of its kernel."""
    kernel = network.weights[name][0]
    network.weights[name][0] = (kernel * _along_inputs(network, name, scale)).astype(np.float32)


def outputs_of(network: Network, name: str, constant: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a layer gives, without its bias, (out,), where each channel that it takes is the same everywhere, (in,).

    Not at borders that are padded with zeros, and not of a transposed convolution.
    """
    kernel = network.weights[name][0]
    given: NDArray[np.float64] = kernel * _along_inputs(network, name, constant)
    kept = 2 if network.kind(name) in DEPTHWISE else 1
    summed: NDArray[np.float64] = given.sum(axis=tuple(range(given.ndim - kept)))
    return summed.reshape(-1)


def output_ranges(network: Network, name: str) -> NDArray[np.float64]:
    """The largest absolute weight that makes each channel, (out,)."""
    kernel = network.weights[name][_kernel_place(network, name)]
    if network.kind(name) in DEPTHWISE:
        return _largest(kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1]), -1)
    return _largest(kernel, -2 if network.kind(name) in TRANSPOSED else -1)


def input_ranges(network: Network, name: str) -> NDArray[np.float64]:
    """The largest absolute weight that reads each channel, (in,)."""
    return _largest(network.weights[name][0], -1 if network.kind(name) in TRANSPOSED else -2)


def _largest(kernel: NDArray[Any], axis: int) -> NDArray[np.float64]:
    """The largest absolute value at each place of an axis."""
    rows = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
    found: NDArray[np.float64] = np.abs(rows.astype(np.float64)).max(axis=1)
    return found


def ends_at_borders(network: Network, name: str) -> bool:
    """Whether a layer reads real values alone, and no zeros that are padded around them."""
    config = network.configs[name]
    sizes = config.get("kernel_size", [1])
    return config.get("padding", "valid") == "valid" or all(size == 1 for size in sizes)


def _kernel_place(network: Network, name: str) -> int:
    """Which of the weights makes the outputs."""
    return 1 if network.kind(name) in SEPARABLE else 0


def scales_of_outputs(network: Network, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A number for each output, in a shape that is multiplied with the kernel."""
    if network.kind(name) in DEPTHWISE:
        return values.reshape(network.weights[name][0].shape[-2:])
    return np.expand_dims(values, 1) if network.kind(name) in TRANSPOSED else values


def _along_inputs(network: Network, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A number for each input, in a shape that is multiplied with the kernel."""
    return values if network.kind(name) in TRANSPOSED else np.expand_dims(values, 1)
