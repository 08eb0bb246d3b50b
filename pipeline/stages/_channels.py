"""Which channels of which layers belong together: what must go when a filter goes.

Every place on the last axis of every tensor carries the number of a channel. A convolution makes new channels; a batch
normalization passes them on; an addition says that two of them are one; a flattening repeats them, a concatenation
strings them together. What is left in the end is, for every axis of every weight, the channel that each index stands
for. This is the dependency graph of Fang et al., "DepGraph: Towards Any Structural Pruning" (arXiv 2301.12900), drawn
channel by channel instead of layer by layer, so that offsets and stripes need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]

BORDER = ""
"""The reason of channels that lie at an input or output of the model."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of one weight that channels run along.

    Attributes:
        layer, weight, axis: the layer's name, the weight's place in `layer.weights`, the axis from 0.
        channels: the channel that each index stands for, (size of the axis,).
        makes: True where the weight makes or scales these channels, False where it reads them.
    """

    layer: str
    weight: int
    axis: int
    channels: Ids
    makes: bool


@dataclass(frozen=True)
class Channels:
    """The channels of a model, numbered from 0; those that only go together have one number.

    Attributes:
        axes: everywhere that they run along a weight.
        widths: layers whose config says how many there are: name to the setting and the channels along it.
        fixed: which channels must stay, (number of channels,).
        reasons: for each channel that must stay, the layers that hold it, or `BORDER`.
        outputs: the channels of what each layer gives, by the layer's name (of its first call).
    """

    axes: tuple[Axis, ...]
    widths: dict[str, tuple[str, Ids]]
    fixed: NDArray[np.bool_]
    reasons: dict[int, frozenset[str]]
    outputs: dict[str, Ids]

    def blockers(self) -> list[str]:
        """The layers that could not be followed, those first and alone that hold channels that nothing else holds."""
        alone = {why for held in self.reasons.values() if BORDER not in held for why in held}
        every = {why for held in self.reasons.values() for why in held} - {BORDER}
        return sorted(alone or every)


@dataclass(frozen=True)
class Group:
    """Channels that lie on the same axes of the same weights, and so cost the same.

    Attributes:
        channels: their numbers.
        places: for each axis (by its place in `Channels.axes`), how many indices one channel has there.
    """

    channels: Ids
    places: dict[int, int]


def groups(channels: Channels) -> list[Group]:
    """The channels that may go, by the axes that they lie on."""
    places: list[dict[int, int]] = [{} for _ in channels.fixed]
    for number, axis in enumerate(channels.axes):
        for channel, count in zip(*np.unique(axis.channels, return_counts=True), strict=True):
            places[channel][number] = int(count)
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for channel in np.flatnonzero(~channels.fixed):
        alike.setdefault(tuple(sorted(places[channel].items())), []).append(int(channel))
    return [Group(np.asarray(members), dict(signature)) for signature, members in alike.items()]


def trace(model: Any, keep_layers: Sequence[str] = ()) -> Channels:
    """Follow every channel through a model.

    Args:
        model: a flat tf_keras model, functional or Sequential.
        keep_layers: layers whose own filters must all stay.
    """
    from pipeline.stages._channel_rules import rule_for

    tracer = Tracer()
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                tracer.give(node, tracer.fixed_channels(_width(node.outputs), BORDER))
            else:
                rule_for(node)(tracer, node)
    for tensor in model.outputs:
        tracer.fix(tracer.of(tensor), BORDER)
    for name in keep_layers:
        if name in tracer.widths:
            tracer.fix(tracer.widths[name][1], BORDER)
    return tracer.result()


class Tracer:
    """Channels while the model is walked: which are one (union-find), and which must stay."""

    def __init__(self) -> None:
        self.widths: dict[str, tuple[str, Ids]] = {}
        self._parents: list[int] = []
        self._reasons: dict[int, set[str]] = {}
        self._axes: list[tuple[str, int, int, Ids, bool]] = []
        self._tensors: dict[int, Ids] = {}
        self._outputs: dict[str, Ids] = {}
        self._inputs: dict[str, Ids] = {}

    def new_channels(self, count: int) -> Ids:
        """Channels that nothing is known of yet."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def fixed_channels(self, count: int, reason: str) -> Ids:
        """New channels that must stay."""
        channels = self.new_channels(count)
        self.fix(channels, reason)
        return channels

    def fix(self, channels: Ids, reason: str) -> None:
        """These channels must stay."""
        for channel in np.unique(channels):
            self._reasons.setdefault(int(channel), set()).add(reason)

    def join(self, one: Ids, other: Ids) -> None:
        """Channels at the same place are one from now on."""
        for a, b in zip(one, other, strict=True):
            self._parents[self._root(int(a))] = self._root(int(b))

    def of(self, tensor: Any) -> Ids:
        """The channels along the last axis of a tensor."""
        return self._tensors[id(tensor)]

    def inputs(self, node: Any) -> list[Ids]:
        """The channels of everything that a call takes."""
        return [self.of(tensor) for tensor in node.keras_inputs]

    def input(self, node: Any) -> Ids:
        """The channels of the one tensor that a call takes; a layer that is called twice sees the same ones twice."""
        [taken] = self.inputs(node)
        first = self._inputs.setdefault(node.layer.name, taken)
        if first is not taken:
            self.join(first, taken)
        return taken

    def give(self, node: Any, channels: Ids) -> None:
        """Say what the (one) output of a call carries."""
        self._tensors[id(node.outputs)] = channels
        self._outputs.setdefault(node.layer.name, channels)

    def give_up(self, node: Any) -> None:
        """A layer that cannot be followed: all that goes in and comes out stays, because of it."""
        name = node.layer.name
        for channels in self.inputs(node):
            self.fix(channels, name)
        outputs = node.outputs if isinstance(node.outputs, list | tuple) else [node.outputs]
        for tensor in outputs:
            same = [one for one in self.inputs(node) if len(one) == _width(tensor)]
            # Where the width is the same, these are most likely the same channels, and so not held by this layer alone.
            self._tensors[id(tensor)] = same[0] if same else self.fixed_channels(_width(tensor), name)
        self._outputs.setdefault(name, self._tensors[id(outputs[0])])

    def along(self, node: Any, weight: int, axis: int, channels: Ids, *, makes: bool) -> None:
        """Note that channels run along an axis of a weight."""
        rank = len(node.layer.weights[weight].shape)
        self._axes.append((node.layer.name, weight, axis % rank, channels, makes))

    def made(self, node: Any, setting: str, count: int) -> Ids:
        """The channels that a layer with filters makes: the same ones in each of its calls."""
        if node.layer.name not in self.widths:
            self.widths[node.layer.name] = (setting, self.new_channels(count))
        return self.widths[node.layer.name][1]

    def result(self) -> Channels:
        """What was found, with channels numbered anew from 0."""
        roots = np.asarray([self._root(channel) for channel in range(len(self._parents))], dtype=np.int64)
        _, number = np.unique(roots, return_inverse=True)
        reasons: dict[int, frozenset[str]] = {}
        for channel, why in self._reasons.items():
            reasons[int(number[channel])] = reasons.get(int(number[channel]), frozenset()) | why
        fixed = np.isin(np.arange(number.max(initial=-1) + 1), list(reasons))
        # A layer that is called twice notes its axes twice, with channels that have become one.
        axes = {(name, weight, axis): (ids, makes) for name, weight, axis, ids, makes in self._axes}
        return Channels(
            axes=tuple(Axis(*place, number[ids], makes) for place, (ids, makes) in axes.items()),
            widths={name: (setting, number[ids]) for name, (setting, ids) in self.widths.items()},
            fixed=fixed,
            reasons=reasons,
            outputs={name: number[ids] for name, ids in self._outputs.items()},
        )

    def _root(self, channel: int) -> int:
        while self._parents[channel] != channel:
            self._parents[channel] = self._parents[self._parents[channel]]
            channel = self._parents[channel]
        return channel


def _width(tensor: Any) -> int:
    """Size of a tensor's last axis; 1 where it has none."""
    return int(tensor.shape[-1] or 1) if len(tensor.shape) > 1 else 1
