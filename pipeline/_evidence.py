"""What was measured of a layer that int8 harms: of its output, its weights, and the layers that it reads.

Part of `advice`. All of it comes from the two files and from the examples that ran through them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_targets.tflite_cost import weight_costs
from edge_targets.tflite_graph import Graph, Operator, Tensor, weight_tensors
from pipeline._sqnr import operator_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_targets._noise import ErrorDetails
    from pipeline.check import Layer

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}


@dataclass(frozen=True)
class Evidence:
    """One layer of the integer model.

    Attributes:
        layer: its row in the layer table.
        error: how its output errs.
        covered: the least and the largest number that its output can hold.
        weight_channels: how many output channels its weights have in float that are not all zero.
        lost_weight_channels: those of them of which the stored weights are all zero.
        weight_spread: the largest weight of the widest of them, by that of the narrowest.
        scales: of its weights: one, or one for each channel.
        levels: how many numbers its output can hold.
        sources: names of the layers whose outputs it reads, through operators without weights.
        fed: the least and the largest number that the model's input can hold, where it reads that in the same way.
    """

    layer: Layer
    error: ErrorDetails
    covered: tuple[float, float]
    weight_channels: int
    lost_weight_channels: int
    weight_spread: float
    scales: int
    levels: int
    sources: tuple[str, ...]
    fed: tuple[float, float] | None = None

    @property
    def sqnr_db(self) -> float:
        """The lesser of its two ratios: summed up, and with each channel counting alike."""
        summed = self.layer.sqnr_db
        return min(math.inf if summed is None else summed, self.error.channel_sqnr_db)

    @property
    def stores(self) -> str:
        """What its output is stored in: `int8` or `int16`."""
        return "int16" if self.levels > 256 else "int8"

    @property
    def precision(self) -> str:
        """What the layer is in, as `convert.precision` names it."""
        if self.layer.bits <= 4:
            return "int4"
        return "int16x8" if self.stores == "int16" else "int8"

    @property
    def usual_share(self) -> float:
        """How much of the range that its output covers holds all but the outermost 0.1 % of the values."""
        covered = self.covered[1] - self.covered[0]
        return (self.error.usual[1] - self.error.usual[0]) / covered if covered > 0 else 1.0

    @property
    def clipped(self) -> float:
        """How far the usual values reach over what its output covers, as a share of the worst error."""
        (low, high), (least, most) = self.error.usual, self.covered
        return max(least - low, high - most, 0.0) / self.error.worst if self.error.worst else 0.0

    @property
    def rounding(self) -> float:
        """Share of the noise that is the rounding of the output itself: step²/12 (Widrow) by the mean square."""
        step = (self.covered[1] - self.covered[0]) / (self.levels - 1)
        middles = np.arange(len(self.error.bins)) + 0.5 - len(self.error.bins) / 2
        counted = sum(self.error.bins)
        mean_square = float((np.square(middles * self.error.bin_width) * self.error.bins).sum()) / max(counted, 1)
        return min(step**2 / 12 / mean_square, 1.0) if mean_square else 1.0


def gathered(layers: Sequence[Layer], model: Graph, reference: Graph) -> list[Evidence]:
    """What is known of every layer whose output was measured and is no float; of each name the noisiest.

    Args:
        layers: the layer table, a row for each of `weight_costs(model)`.
        model: the integer model.
        reference: the float one.
    """
    pairs = {own.index: other for other, own in operator_pairs(reference, model)}
    rows = zip(layers, weight_costs(model), strict=True)
    found: dict[str, Evidence] = {}
    for one in (_evidence(layer, cost.operator, model, reference, pairs) for layer, cost in rows):
        if one is not None and (one.layer.name not in found or one.sqnr_db < found[one.layer.name].sqnr_db):
            found[one.layer.name] = one
    return list(found.values())


def _evidence(
    layer: Layer, operator: Operator, model: Graph, reference: Graph, pairs: dict[int, Operator]
) -> Evidence | None:
    other = pairs.get(operator.index)
    covered = _covered(model.tensors[operator.outputs[0]]) if operator.outputs else None
    if layer.error is None or covered is None or other is None:
        return None
    stored, floats = _weights(model, operator), _weights(reference, other)
    if stored is None or floats is None or stored.shape != floats.shape:
        return None
    real = _widths(floats, stored, operator.kind)
    kept = _widths(stored, stored, operator.kind)[real > 0]
    real = real[real > 0]
    ends = list(_ends(model, operator))
    makers = {output: maker.name for maker in model.operators for output in maker.outputs}
    fed = [_covered(model.tensors[end]) for end in ends if end in model.inputs]
    return Evidence(
        layer,
        layer.error,
        covered,
        weight_channels=len(real),
        lost_weight_channels=int((kept == 0).sum()),
        weight_spread=float(real.max() / real.min()) if real.size else 1.0,
        scales=len(stored.scales),
        levels=2 ** model.tensors[operator.outputs[0]].bits,
        sources=tuple(dict.fromkeys(makers[end] for end in ends if end in makers)),
        fed=fed[0] if fed else None,
    )


def _covered(tensor: Tensor) -> tuple[float, float] | None:
    if tensor.dtype not in _LIMITS or len(tensor.scales) != 1:
        return None
    zero_point = tensor.zero_points[0] if tensor.zero_points else 0
    low, high = _LIMITS[tensor.dtype]
    return (low - zero_point) * tensor.scales[0], (high - zero_point) * tensor.scales[0]


def _weights(graph: Graph, operator: Operator) -> Tensor | None:
    return next((tensor for owner, tensor in weight_tensors(graph) if owner is operator), None)


def _widths(tensor: Tensor, like: Tensor, kind: str) -> NDArray[np.float64]:
    """The largest magnitude in each output channel, (channels,); stored weights are symmetric around zero."""
    axis = like.quantized_dimension if len(like.scales) > 1 else -1 if kind == "DEPTHWISE_CONV_2D" else 0
    values = np.abs(np.moveaxis(tensor.values().astype(np.float64), axis, 0))
    widest: NDArray[np.float64] = values.reshape(len(values), -1).max(axis=1)
    return widest


def _ends(graph: Graph, operator: Operator) -> Iterator[int]:
    """Where the ways up from an operator end: at what operators with weights put out, and at the model's inputs."""
    makers = {output: maker for maker in graph.operators for output in maker.outputs}
    with_weights = {id(owner) for owner, _ in weight_tensors(graph)}
    waiting, seen = [operator], {id(operator)}
    while waiting:
        for tensor in waiting.pop().inputs:
            maker = makers.get(tensor)
            if tensor in graph.inputs or (maker is not None and id(maker) in with_weights and id(maker) not in seen):
                yield tensor
            elif maker is not None and id(maker) not in seen:
                waiting.append(maker)
            seen.add(id(maker))
