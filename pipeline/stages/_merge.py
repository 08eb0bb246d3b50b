"""Merges linear layers that follow on each other, and cuts branches that add nothing but zeros."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.stages._linear import CONVOLUTIONS, LINEAR, is_linear, outputs_of, reads_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.stages._network import Network

_KEEPS_ZERO = ("ReLU", "LeakyReLU", "PReLU", "MaxPooling2D", "AveragePooling2D")


def merge_linear(network: Network) -> dict[str, str]:
    """Merge each linear layer into the one behind it, where that is exact and costs no more.

    Returns:
        The layer that each went into.
    """
    went: dict[str, str] = {}
    for name in network.names("Dense", *CONVOLUTIONS):
        behind = network.behind(name)
        if not behind or not is_linear(network, name) or network.kind(behind) != network.kind(name):
            continue
        merged = _dense(network, name, behind) if network.kind(name) == "Dense" else _convolution(network, name, behind)
        if merged:
            went[name] = behind
            network.take_out(name)
    return went


def _dense(network: Network, one: str, other: str) -> bool:
    """Two dense layers as one: W1 W2, and b1 W2 + b2."""
    first, second = (network.weights[name][0].astype(np.float64) for name in (one, other))
    if first.shape[0] * second.shape[1] > first.size + second.size:
        return False
    _replace(network, one, other, first @ second, _bias(network, one) @ second)
    return True


def _convolution(network: Network, one: str, other: str) -> bool:
    """Two convolutions as one, whose kernel is the convolution of theirs."""
    first, second = network.configs[one], network.configs[other]
    geometry = _geometry(first, second, bool(_bias(network, one).any()))
    if geometry is None or not reads_channels(network, one) or not reads_channels(network, other):
        return False
    kernel = _composed(*(network.weights[name][0].astype(np.float64) for name in (one, other)))
    if _macs(network, other, kernel) > sum(_macs(network, name, network.weights[name][0]) for name in (one, other)):
        return False
    strides, padding = geometry
    bias = outputs_of(network, other, _bias(network, one))
    _replace(network, one, other, kernel, bias)
    second.update(kernel_size=list(kernel.shape[:-2]), strides=strides, padding=padding)
    return True


def _geometry(first: dict[str, Any], second: dict[str, Any], has_bias: bool) -> tuple[list[int], str] | None:
    """Strides and padding of two convolutions as one; None where no one convolution is both."""
    if not (_is_one(first["dilation_rate"]) and _is_one(second["dilation_rate"])):
        return None
    if "causal" in (first["padding"], second["padding"]):
        return None
    if _is_one(second["kernel_size"]) and _is_one(second["strides"]):
        return first["strides"], first["padding"]
    if not _is_one(first["strides"]):
        return None
    if _is_one(first["kernel_size"]):
        # Zeros that are padded between the two have no bias on them, and would have in one.
        return (second["strides"], second["padding"]) if second["padding"] == "valid" or not has_bias else None
    both_valid = (first["padding"], second["padding"]) == ("valid", "valid")
    return (second["strides"], "valid") if both_valid else None


def _composed(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel (*size, in, out) that does what one (*size, in, mid) and then one (*size, mid, out) do."""
    size = [a + b - 1 for a, b in zip(first.shape[:-2], second.shape[:-2], strict=True)]
    kernel = np.zeros((*size, first.shape[-2], second.shape[-1]))
    for place in itertools.product(*map(range, second.shape[:-2])):
        window = tuple(slice(start, start + length) for start, length in zip(place, first.shape[:-2], strict=True))
        kernel[window] += first @ second[place]
    return kernel


def _macs(network: Network, name: str, kernel: NDArray[Any]) -> int:
    """Multiply-accumulates of a convolution with this kernel whose outputs are the layer's."""
    shape = network.parts[name].output_shape
    assert shape is not None  # it is called once, on one tensor
    return math.prod(side or 1 for side in shape[:-1]) * kernel.size


def _replace(
    network: Network, one: str, other: str, kernel: NDArray[np.float64], more_bias: NDArray[np.float64]
) -> None:
    """Give the second layer the kernel of both, and both biases."""
    bias = _bias(network, other) + more_bias
    has_bias = network.configs[one]["use_bias"] or network.configs[other]["use_bias"]
    network.configs[other]["use_bias"] = has_bias
    network.weights[other] = [weight.astype(np.float32) for weight in ([kernel, bias] if has_bias else [kernel])]


def _bias(network: Network, name: str) -> NDArray[np.float64]:
    """A layer's bias, (out,), zeros where it has none."""
    kernel, *bias = network.weights[name]
    return bias[0].astype(np.float64) if bias else np.zeros(kernel.shape[-1])


def _is_one(value: list[int]) -> bool:
    return all(one == 1 for one in value)


def cut_zero_branches(network: Network) -> list[str]:
    """Take out additions of which one side is zero whatever comes in: what it is added to goes on alone.

    Returns:
        The additions' names.
    """
    found = []
    for name in network.names("Add"):
        sides = network.taken(name)
        zero = [side for side in sides if _gives_zero(network, side)]
        if len(sides) == 2 and len(zero) == 1 and _alike(network, *sides):
            [left] = set(sides) - set(zero)
            network.take_out(name, past=left)
            found.append(name)
    return found


def _alike(network: Network, one: str, other: str) -> bool:
    """Whether two layers give the same shape: no side of the addition was spread over the other."""
    shapes = [network.parts[name].output_shape for name in (one, other)]
    return shapes[0] is not None and shapes[0] == shapes[1]


def _gives_zero(network: Network, name: str) -> bool:
    """Whether a layer's output is zero whatever comes in."""
    if network.kind(name) in LINEAR:
        return is_linear(network, name) and not any(weight.any() for weight in network.weights[name])
    return (
        network.kind(name) in _KEEPS_ZERO and bool(network.before(name)) and _gives_zero(network, network.before(name))
    )
