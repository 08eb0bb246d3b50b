"""Layers that change nothing when a model is run: those for training alone, and those set so that they do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.stages._network import Network

TRAINING_ONLY = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    *("AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
)

_SAME_SHAPE = ("Reshape", "Flatten")


def take_out_identities(network: Network) -> list[str]:
    """Take every such layer out of a model.

    Returns:
        Their names.
    """
    found = []
    for name in list(network.parts):
        if _is_identity(network, name) and _may_go(network, name):
            network.take_out(name)
            found.append(name)
    return found


def _may_go(network: Network, name: str) -> bool:
    """Whether a model is left: one whose input is its output would be none."""
    before = network.before(name)
    return bool(before) and not (network.kind(before) == "InputLayer" and network.is_output(name))


def _is_identity(network: Network, name: str) -> bool:
    kind, config, part = network.kind(name), network.configs[name], network.parts[name]
    if kind in TRAINING_ONLY:
        return True
    if kind in _SAME_SHAPE:
        return part.input_shape is not None and part.input_shape == part.output_shape and None not in part.input_shape
    if kind == "Permute":
        return list(config["dims"]) == sorted(config["dims"])
    if kind == "Activation":
        return bool(config["activation"] == "linear")
    if kind.startswith(("ZeroPadding", "Cropping")):
        return _is_everywhere(config["padding" if kind.startswith("Zero") else "cropping"], 0)
    if kind.startswith("UpSampling"):
        return _is_everywhere(config["size"], 1)
    if kind.startswith(("MaxPooling", "AveragePooling")):
        return _is_everywhere(config["pool_size"], 1) and _is_everywhere(config["strides"], 1)
    return kind == "Rescaling" and config["scale"] == 1 and config["offset"] == 0


def _is_everywhere(value: Any, wanted: int) -> bool:
    """Whether a number, or every number of nested lists, is the one that is wanted."""
    if isinstance(value, list | tuple):
        return all(_is_everywhere(one, wanted) for one in value)
    return bool(value == wanted)
