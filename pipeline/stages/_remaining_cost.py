"""The cost of a model while channels are taken from it, without building it anew each time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cost import layer_costs
from pipeline.stages._channels import Axis, Channels, Group

MADE_AT_ONCE, READ_AT_ONCE = 16, 8
"""XNNPACK's int8 kernels make 16 channels at once, reading 8 at a time, on AVX-512 and much alike on Arm. Measured on
AVX-512 with LiteRT 2.3: 8 filters of 3x3 over 16 channels of 32x32 took 13.6 µs, and 16 filters took no longer."""

OUTPUT_MACS = 48
"""As how many MACs it counts to scale and store one output (a fit to convolutions of 8x8 to 32x32, likewise)."""

DEPTHWISE_TIMES = 13
"""How much longer a MAC of a depthwise convolution takes than of any other, storing included (likewise)."""

_OF_WHOLE_STEPS = 0.9

CALL_MACS = 100_000
"""As how many MACs the call of one operator counts, however small it is (about 0.7 µs, likewise)."""


@dataclass(frozen=True)
class _Weight:
    """One weight: its layer, the cost of one number, how many there are beside its channels, the axes of its channels,
    and how many channels of each are computed at once."""

    layer: str
    rate: float
    others: int
    axes: tuple[int, ...]
    at_once: tuple[int, ...]

    def cost(self, lengths: Sequence[int]) -> float:
        """What it costs with so many channels along its axes: by whole steps, and a little by what fills them."""
        whole = math.prod(-(-length // step) * step for length, step in zip(lengths, self.at_once, strict=True))
        share = _OF_WHOLE_STEPS if any(step > 1 for step in self.at_once) else 1.0
        return self.rate * self.others * (share * whole + (1 - share) * math.prod(lengths))


class RemainingCost:
    """What is left of a model's cost: of each weight, the product of its axes' lengths times what one number costs.

    Args:
        channels: where the model's channels run.
        model: the tf_keras model that they were traced from.
        rates: for each layer, what one number of each of its weights costs: 1 to count parameters, uses to count MACs.
        in_steps: whether to count channels in the steps that kernels compute them in, as time goes.
    """

    def __init__(
        self, channels: Channels, model: Any, rates: Mapping[str, Sequence[float]], *, in_steps: bool = False
    ) -> None:
        self._lengths = [len(axis.channels) for axis in channels.axes]
        axes: dict[tuple[str, int], list[int]] = {}
        for number, axis in enumerate(channels.axes):
            axes.setdefault((axis.layer, axis.weight), []).append(number)
        self._weights: list[_Weight] = []
        for layer in model.layers:
            for index, (weight, rate) in enumerate(zip(layer.weights, rates[layer.name], strict=True)):
                along = tuple(axes.get((layer.name, index), ()))
                others = math.prod(weight.shape) // math.prod(self._lengths[axis] for axis in along)
                steps = tuple(_step(channels.axes[axis]) if in_steps else 1 for axis in along)
                self._weights.append(_Weight(layer.name, rate, others, along, steps))
                if in_steps and rate and not type(layer).__name__.startswith("Depthwise"):
                    self._weights.extend(self._stored(layer.name, rate, along, channels))
        self._on: dict[int, list[_Weight]] = {}
        for one in self._weights:
            for number in one.axes:
                self._on.setdefault(number, []).append(one)
        # A layer may lie in several branches that are gone.
        self._call = CALL_MACS if in_steps else 0
        self._gone: Counter[str] = Counter()

    def _stored(self, layer: str, uses: float, along: Sequence[int], channels: Channels) -> list[_Weight]:
        """What it costs to store the outputs of a kernel, as if it were a weight more."""
        made = [axis for axis in along if channels.axes[axis].makes]
        return [_Weight(layer, OUTPUT_MACS * uses, 1, (axis,), (MADE_AT_ONCE,)) for axis in made]

    def total(self) -> float:
        """What is left."""
        return sum(self._of(weight, {}) for weight in self._weights)

    def of_layers(self, names: Iterable[str]) -> float:
        """What is left of some layers, and what calling them costs."""
        wanted = set(names)
        costs = {weight.layer: 0.0 for weight in self._weights if weight.layer in wanted}
        for weight in self._weights:
            if weight.layer in wanted:
                costs[weight.layer] += self._of(weight, {})
        return sum(cost + self._call for cost in costs.values() if cost)

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
        return weight.cost([self._lengths[axis] - fewer.get(axis, 0) for axis in weight.axes])


def time_rates(model: Any) -> dict[str, tuple[float, ...]]:
    """What one number of each weight costs in time, in MACs of a usual convolution."""
    return {
        cost.name: tuple(use * (DEPTHWISE_TIMES if cost.kind.startswith("Depthwise") else 1) for use in cost.uses)
        for cost in layer_costs(model)
    }


def _step(axis: Axis) -> int:
    return MADE_AT_ONCE if axis.makes else READ_AT_ONCE
