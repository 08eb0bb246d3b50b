"""The cost of a model while channels are taken from it, without building it anew each time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.stages._channels import Channels, Group


@dataclass(frozen=True)
class _Weight:
    """One weight: its layer, what one number of it costs, the numbers beside its channels, and its axes of channels."""

    layer: str
    rate: float
    others: int
    axes: tuple[int, ...]


class RemainingCost:
    """What is left of a model's cost: of each weight, the product of its axes' lengths times what one number costs.

    Args:
        channels: where the model's channels run.
        model: the tf_keras model that they were traced from.
        rates: for each layer, what one number of each of its weights costs: 1 to count parameters, uses to count MACs.
    """

    def __init__(self, channels: Channels, model: Any, rates: Mapping[str, Sequence[float]]) -> None:
        self._lengths = [len(axis.channels) for axis in channels.axes]
        axes: dict[tuple[str, int], list[int]] = {}
        for number, axis in enumerate(channels.axes):
            axes.setdefault((axis.layer, axis.weight), []).append(number)
        self._weights: list[_Weight] = []
        for layer in model.layers:
            for index, (weight, rate) in enumerate(zip(layer.weights, rates[layer.name], strict=True)):
                along = tuple(axes.get((layer.name, index), ()))
                others = math.prod(weight.shape) // math.prod(self._lengths[axis] for axis in along)
                self._weights.append(_Weight(layer.name, rate, others, along))
        self._on: dict[int, list[_Weight]] = {}
        for one in self._weights:
            for number in one.axes:
                self._on.setdefault(number, []).append(one)
        # A layer may lie in several branches that are gone.
        self._gone: Counter[str] = Counter()

    def total(self) -> float:
        """What is left."""
        return sum(self._of(weight, {}) for weight in self._weights)

    def of_layers(self, names: Iterable[str]) -> float:
        """What is left of some layers."""
        wanted = set(names)
        return sum(self._of(weight, {}) for weight in self._weights if weight.layer in wanted)

    def saved(self, group: Group, count: int) -> float:
        """What would be saved without `count` channels of a group."""
        fewer = {axis: each * count for axis, each in group.places.items()}
        # A weight that reads and makes channels of one group loses along both axes, and is counted once.
        touched = {id(weight): weight for axis in fewer for weight in self._on.get(axis, [])}
        return sum(self._of(weight, {}) - self._of(weight, fewer) for weight in touched.values())

    def remove(self, group: Group, count: int) -> None:
        """Take `count` channels of a group away, or give them back with a negative count."""
        for axis, each in group.places.items():
            self._lengths[axis] -= each * count

    def remove_layers(self, names: Iterable[str], times: int = 1) -> None:
        """Take whole layers away, or give them back with -1 times."""
        for name in names:
            self._gone[name] += times

    def _of(self, weight: _Weight, fewer: Mapping[int, int]) -> float:
        if self._gone[weight.layer]:
            return 0.0
        return weight.rate * weight.others * math.prod(self._lengths[axis] - fewer.get(axis, 0) for axis in weight.axes)
