"""Cross-layer equalization: channels are scaled in one layer and back in the next, so that int8 serves them all alike.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721), section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.stages._linear import (
    TRANSPOSED,
    ends_at_borders,
    input_ranges,
    is_weighted,
    output_ranges,
    outputs_of,
    reads_channels,
    scale_inputs,
    scale_outputs,
    shift_outputs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pipeline.stages._network import Network

    Ranges = Mapping[str, NDArray[np.float64]]

SWEEPS = 100
"""The most passes over all pairs; a few are enough."""

SETTLED = 1.001
"""Converged when no channel is scaled by more."""

DEAD = 1e-7
"""Channels of a range so small, against the widest, carry nothing; scaled up, they would carry rounding."""

SHIFTED_ALIKE = ("MaxPooling", "AveragePooling", "GlobalMaxPooling", "GlobalAveragePooling", "Flatten")
"""Layers that give a constant more where they take a constant more."""

SCALED_ALIKE = (*SHIFTED_ALIKE, "ZeroPadding", "Dropout", "SpatialDropout")
"""Layers that give a multiple where they take a multiple."""


@dataclass(frozen=True)
class Pair:
    """Two weighted layers with nothing between them that minds the scale of a channel.

    Attributes:
        one, other: the layers; the second reads what the first makes.
        between: the layers between them, in order.
    """

    one: str
    other: str
    between: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.one} → {self.other}"


@dataclass
class Chains:
    """What was found in a model.

    Attributes:
        pairs: what can be equalized.
        clipped: activations that clip at 6 between two weighted layers, and so mind the scale.
    """

    pairs: list[Pair] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)


def find_chains(network: Network) -> Chains:
    """Every pair, in the model's order: in conv → depthwise → conv, the depthwise layer is in two of them."""
    chains = Chains()
    for one in list(network.parts):
        if is_weighted(network, one) and network.configs[one]["activation"] in ("linear", "relu"):
            _follow(network, one, chains)
    return chains


def _follow(network: Network, one: str, chains: Chains) -> None:
    """Walk on from a weighted layer to the next one."""
    between: list[str] = []
    clipped: list[str] = []
    name = network.behind(one)
    while name and not is_weighted(network, name):
        if is_clipped(network, name):
            clipped.append(name)
        elif not _minds_no_scale(network, name):
            return
        between.append(name)
        name = network.behind(name)
    if not name or not reads_channels(network, name):
        return
    if clipped:
        chains.clipped.extend(clipped)
    else:
        chains.pairs.append(Pair(one, name, tuple(between)))


def is_clipped(network: Network, name: str) -> bool:
    """Whether a layer is a ReLU6."""
    config = network.configs[name]
    if network.kind(name) == "Activation":
        return bool(config["activation"] == "relu6")
    return network.kind(name) == "ReLU" and config["max_value"] is not None and not config["threshold"]


def replace_clipped(network: Network, names: list[str]) -> None:
    """Make plain ReLUs of ReLU6s."""
    for name in names:
        setting, value = ("activation", "relu") if network.kind(name) == "Activation" else ("max_value", None)
        network.configs[name][setting] = value


def _minds_no_scale(network: Network, name: str) -> bool:
    """Whether a layer gives a multiple where it takes a multiple, above zero, of each channel."""
    kind, config = network.kind(name), network.configs[name]
    if config.get("data_format", "channels_last") != "channels_last":
        return False
    if kind == "Activation":
        return config["activation"] in ("linear", "relu")
    if kind == "ReLU":
        return config["max_value"] is None and not config["threshold"]
    return kind in ("LeakyReLU", "PReLU") or _named(kind, SCALED_ALIKE)


def _named(kind: str, names: tuple[str, ...]) -> bool:
    """Whether a class is one of some, for however many dimensions."""
    return kind.removesuffix("1D").removesuffix("2D").removesuffix("3D") in names


def equalize(network: Network, pairs: list[Pair], activations: Ranges | None) -> dict[str, NDArray[np.float64]]:
    """Scale channels until what makes them and what reads them have the same range.

    Args:
        network: edited in place.
        pairs: which layers.
        activations: the range of each channel that the second layer of a pair reads, by that layer's name, (channels,).
            None where the weights that make a channel stand for it, as in the paper.

    Returns:
        What each channel was divided by, by the name of the layer that makes it.
    """
    divided = {pair.one: np.ones_like(output_ranges(network, pair.one)) for pair in pairs}
    for _ in range(SWEEPS):
        widest = 1.0
        for pair in pairs:
            made = (
                output_ranges(network, pair.one) if activations is None else activations[pair.other] / divided[pair.one]
            )
            factors = _factors(made, _read_ranges(network, pair.other, len(made)))
            scale_outputs(network, pair.one, 1 / factors)
            scale_inputs(network, pair.other, np.tile(factors, _places(network, pair.other, len(made))))
            divided[pair.one] *= factors
            widest = max(widest, float(np.exp(np.abs(np.log(factors)).max())))
        if widest < SETTLED:
            break
    return divided


def _factors(made: NDArray[np.float64], read: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each channel is divided by so that both ranges become their geometric mean; 1 where one of them is none."""
    alive = (made > DEAD * made.max()) & (read > DEAD * read.max())
    factors: NDArray[np.float64] = np.sqrt(np.where(alive, made, 1.0) / np.where(alive, read, 1.0))
    return factors


def _places(network: Network, name: str, channels: int) -> int:
    """How often a layer reads each channel: more than once behind a flattening."""
    return len(input_ranges(network, name)) // channels


def _read_ranges(network: Network, name: str, channels: int) -> NDArray[np.float64]:
    """The largest absolute weight that reads each channel, (channels,)."""
    largest: NDArray[np.float64] = input_ranges(network, name).reshape(-1, channels).max(axis=0)
    return largest


def absorbs(network: Network, pair: Pair) -> bool:
    """Whether what is taken off a channel in the first layer can be added in the second: behind a ReLU, where no zeros
    are padded."""
    activations = [network.configs[pair.one]["activation"]]
    for name in pair.between:
        kind, config = network.kind(name), network.configs[name]
        if kind == "Activation" or (kind == "ReLU" and not config["negative_slope"]):
            activations.append(config.get("activation", "relu"))
        elif not _named(kind, SHIFTED_ALIKE):
            return False
    return "relu" in activations and ends_at_borders(network, pair.other) and network.kind(pair.other) not in TRANSPOSED


def absorb(network: Network, pair: Pair, offset: NDArray[np.float64]) -> None:
    """Take a constant off each channel, (channels,), that is never smaller, and give it to the bias behind."""
    shift_outputs(network, pair.one, -offset)
    places = _places(network, pair.other, len(offset))
    shift_outputs(network, pair.other, outputs_of(network, pair.other, np.tile(offset, places)))


def channel_ranges(model: Any, pairs: list[Pair], x: NDArray[np.float32]) -> tuple[Ranges, Ranges]:
    """What goes through the channels between some pairs when a model is shown examples.

    Args:
        model: a Keras model.
        pairs: of its layers.
        x: the examples, (n, ...).

    Returns:
        The largest absolute value of each channel that a second layer reads, by that layer's name; and the least that a
        first layer gives, by that one's; each (channels,).
    """
    from pipeline._tf import keras

    if not pairs:
        return {}, {}
    read = [model.get_layer(pair.other).input for pair in pairs]
    given = [model.get_layer(pair.one).output for pair in pairs]
    values = [_rows(one) for one in keras.Model(model.inputs, [*read, *given])(x, training=False)]
    least = {pair.one: rows.min(axis=0) for pair, rows in zip(pairs, values[len(pairs) :], strict=True)}
    largest = {
        pair.other: np.abs(rows.reshape(-1, len(least[pair.one]))).max(axis=0)
        for pair, rows in zip(pairs, values, strict=False)
    }
    return largest, least


def _rows(values: Any) -> NDArray[np.float64]:
    """A tensor as one row a place, (places, channels)."""
    rows: NDArray[np.float64] = values.numpy().reshape(-1, values.shape[-1]).astype(np.float64)
    return rows
