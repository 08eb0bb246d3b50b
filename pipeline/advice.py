"""Advice in plain words: what to do about the layers that int8 harms most, and the setting of a recipe that does it.

Every reason is a measurement of that layer on real data; none is guessed from its name or its kind. What causes what,
and what mends it: Nagel et al., "A White Paper on Neural Network Quantization" (arXiv 2106.08295), chapters 3 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline._evidence import Evidence, gathered
from pipeline._known import ADVISED, Known
from pipeline.check import Advice, Layer

if TYPE_CHECKING:
    from edge_targets.tflite_graph import Graph

__all__ = ["ADVISED", "Known", "advise"]

MOST = 3
"""How many layers are told of."""

HEALTHY_DB = 25.0
"""From here on noise is below 1/300 of the signal's power; one such layer cost 0.4 points at most (docs/advice.md)."""

SPREAD = 100.0
"""Widest channel by narrowest from where on the narrowest has two of int8's values left; up to it half a point went."""

STRETCHED = 0.5
"""Share of the range that is used, below which a bit is given away."""

ROUNDING = 0.25
"""Share of the noise that must be the rounding of a layer's own output, or a better range mends nothing."""

CLIPPED = 0.5
"""How far values must reach over the range, as a share of the worst error, or it is not the clipping that errs."""

CUT_INPUT = 0.05
"""How far inputs must reach over the range that int8 has for them, as a share of it, to be the first thing to mend."""

SHIFTED = 0.5
"""Share of the noise that is a constant, from where on a bias mends most of it."""

SHORT_TRAINING = 5
"""Epochs of quantization-aware training below which more of them are worth a try."""

TINY_SHARE = 0.01
"""Share of the file below which it costs nothing to keep a layer in float."""

INHERITED_DB, DROWNED_DB = 3.0, 6.0
"""A layer has its noise from its input where that has no more than this above its own ratio, or is below the second."""

TRAINED = "stages: [{qat: {epochs: 5}}]"
MIXED = "convert: {mixed_precision: {max_accuracy_drop: 0.01}}"

FINER = {"int4": ("give its weights eight bits", "int8"), "int16x8": ("leave its weights in float", "float16")}
"""What to do about a precision that is not int8: neither training nor mixed precision is for it."""

BETTER = {"min_max": "percentile", "moving_average": "percentile", "percentile": "mse", "entropy": "mse"}
"""The calibration to try next where a range is stretched."""


@dataclass(frozen=True)
class _Finding:
    """Why a layer is harmed, what to do, and the setting."""

    reason: str
    remedy: str
    setting: str = ""


def advise(layers: Sequence[Layer], model: Graph, reference: Graph, known: Known | None = None) -> tuple[Advice, ...]:
    """What to do about the three layers that int8 harms most, the worst first.

    A layer is judged by what it does to the metric, where mixed precision measured that; then by its SQNR, in which
    each channel counts as much as any other, for a layer behind may weigh them as it likes.

    Args:
        layers: the layer table with errors; without them there is nothing to say.
        model: the integer `.tflite` that they are of.
        reference: the float one.
        known: what the recipe did; None: nothing is known of it, and any stage could be added.

    Returns:
        At most three; fewer where fewer layers were measured.
    """
    found = [one for one in gathered(layers, model, reference) if math.isfinite(one.sqnr_db)]
    case = _Case({one.layer.name: one for one in found}, known or Known.nothing())
    worst = sorted(found, key=lambda one: (-case.gain(one) if case.matters(one) else 0.0, one.sqnr_db))
    # Where the noise of a layer comes from is told before the layer itself.
    told = dict.fromkeys(name for one in worst for name in (case.origin(one).layer.name, one.layer.name))
    return tuple(case.advice(case.by_name[name]) for name in list(told)[:MOST])


@dataclass(frozen=True)
class _Case:
    """All the evidence, and what the recipe did."""

    by_name: Mapping[str, Evidence]
    known: Known
    gains: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.known.mixed.gains if self.known.mixed else ():
            if one.gain is not None:
                self.gains[one.layer] = one.gain

    def gain(self, one: Evidence) -> float:
        """What the layer brings to the metric in float, 0 where that is not known."""
        return self.gains.get(one.layer.name, 0.0)

    def matters(self, one: Evidence) -> bool:
        """Whether keeping it alone would bring back a tenth of a point or more; a layer that is kept has brought it."""
        return self.gain(one) >= 0.001 and not self._is_kept(one)

    def _is_kept(self, one: Evidence) -> bool:
        return self.known.mixed is not None and one.layer.name in self.known.mixed.kept

    def _is_healthy(self, one: Evidence) -> bool:
        return one.sqnr_db >= HEALTHY_DB and not self.matters(one)

    def advice(self, one: Evidence) -> Advice:
        """What is found of a layer, and of its own ills before those that it has from others."""
        finding = self._own(one) or self._inherited(one) or self._milder(one)
        name, reason = one.layer.name, finding.reason
        if self.known.shortfall and self._is_healthy(one):
            reason += f"; by itself that is little, but {self.known.shortfall}"
        return Advice(name, one.layer.sqnr_db, self.gains.get(name), reason, finding.remedy, finding.setting)

    def _own(self, one: Evidence) -> _Finding | None:
        checks = (
            self._healthy,
            self._lost_channels,
            self._lost_weights,
            self._stretched,
            self._cut_input,
            self._clipped,
        )
        return next((found for check in checks if (found := check(one)) is not None), None)

    def _milder(self, one: Evidence) -> _Finding:
        checks = (self._shifted, self._short_training, self._tiny)
        return next((found for check in checks if (found := check(one)) is not None), None) or self._rounded(one)

    def _healthy(self, one: Evidence) -> _Finding | None:
        # Where the model loses too much, the little that each layer loses adds up, and what is found of it is told.
        if not self._is_healthy(one) or (self.known.shortfall and not self._is_kept(one)):
            return None
        reason = f"its noise is 1/{10 ** (one.sqnr_db / 20):.0f} of its signal"
        return _Finding(reason, "it is kept already: mend others" if self.known.shortfall else "nothing has to be done")

    def _lost_channels(self, one: Evidence) -> _Finding | None:
        error = one.error
        # Channels that are lost all together are so by what reaches the layer: one scale always fits the widest.
        if error.channel_spread < SPREAD or error.lost_channels == error.channels:
            return None
        spread = f"its channels' ranges are spread over 1:{error.channel_spread:,.0f}, and all share one scale"
        lost = f"{error.lost_channels} of {error.channels} channels are one and the same value in {one.stores}"
        reason = f"{spread}; {lost}" if error.lost_channels else spread
        if "equalize" in self.known.addable:
            remedy = "even its channels out against the layer behind, with the stage equalize; or keep both in float"
            return _Finding(reason, f"{remedy} (convert.mixed_precision)", "stages: [{equalize: {}}]")
        return self._in_float(one, reason, "keep this layer and those that read it in float")

    def _lost_weights(self, one: Evidence) -> _Finding | None:
        per_tensor = one.scales == 1 and one.weight_channels > 1
        if not one.lost_weight_channels and not (per_tensor and one.weight_spread >= SPREAD):
            return None
        lost = f"the weights of {one.lost_weight_channels} of {one.weight_channels} output channels round to zero"
        reason = f"{lost}; in float their ranges are spread over 1:{one.weight_spread:,.0f}"
        if per_tensor and self.known.granularity != "per_channel":
            return _Finding(reason, "give each channel a scale of its own", "convert: {granularity: per_channel}")
        return self._in_float(one, reason)

    def _stretched(self, one: Evidence) -> _Finding | None:
        if one.usual_share > STRETCHED or one.rounding < ROUNDING:
            return None
        usual, covered = _span(one.error.usual), _span(one.covered)
        reason = f"{one.stores} covers {covered}, and 99.9 % of the values lie within {usual}"
        if self.known.qat_epochs is not None:
            return _Finding(reason, "train the ranges for longer", _more_epochs(self.known.qat_epochs))
        better = BETTER.get(self.known.calibration)
        if better is None:
            return self._in_float(one, reason, "keep this layer in float: no range fits its values")
        setting = f"convert: {{{self.known.calibrated(better)}}}"
        return _Finding(reason, "choose its range without the few values far out", setting)

    def _clipped(self, one: Evidence) -> _Finding | None:
        if one.clipped < CLIPPED:
            return None
        reach, covered = _span(one.error.usual), _span(one.covered)
        return self._widened(f"its values reach to {reach}, and {one.stores} covers {covered} alone")

    def _cut_input(self, one: Evidence) -> _Finding | None:
        if one.fed is None or self.known.inputs is None:
            return None
        (low, high), (least, most) = self.known.inputs, one.fed
        if max(least - low, high - most) < CUT_INPUT * (most - least):
            return None
        reach, covered = _span(self.known.inputs), _span(one.fed)
        return self._widened(f"the model's input reaches to {reach}, and {one.stores} covers {covered} alone")

    def _widened(self, reason: str) -> _Finding:
        """What to do about values that a range leaves out."""
        if self.known.qat_epochs is not None:
            return _Finding(reason, "train the ranges for longer", _more_epochs(self.known.qat_epochs))
        if self.known.calibration != "min_max":
            setting = f"convert: {{{self.known.calibrated('min_max')}}}"
            return _Finding(reason, "choose its range from all values", setting)
        more = "calibrate with more examples, drawn from all of the data"
        return _Finding(reason, more, "convert: {calibration_samples: 1000}")

    def _inherited(self, one: Evidence) -> _Finding | None:
        origin = self.origin(one)
        if origin is one:
            return None
        name = origin.layer.name
        reason = f"what comes from '{name}' has {origin.sqnr_db:.1f} dB already, each channel counting alike"
        return _Finding(reason, f"mend '{name}' first", (self._own(origin) or self._milder(origin)).setting)

    def origin(self, one: Evidence) -> Evidence:
        """The layer that a layer has its noise from, which may be itself: up through what is as noisy as its output."""
        seen = {one.layer.name}
        while self._own(one) is None:
            sources = [self.by_name[name] for name in one.sources if name in self.by_name and name not in seen]
            noisiest = min(sources, key=lambda source: source.sqnr_db, default=None)
            if noisiest is None or noisiest.sqnr_db > max(one.sqnr_db + INHERITED_DB, DROWNED_DB):
                break
            one = noisiest
            seen.add(one.layer.name)
        return one

    def _shifted(self, one: Evidence) -> _Finding | None:
        if one.error.shift < SHIFTED:
            return None
        reason = (
            f"{one.error.shift:.0%} of its noise is a constant shift of each channel, {one.error.mean:+.3g} on average"
        )
        # The stage simulates int8, and knows of no other rounding.
        if "correct_bias" in self.known.addable and one.precision == "int8":
            return _Finding(reason, "take the shift back in the biases", "stages: [{correct_bias: {}}]")
        return self._trained(one, reason)

    def _short_training(self, one: Evidence) -> _Finding | None:
        epochs = self.known.qat_epochs
        if epochs is None or epochs >= SHORT_TRAINING:
            return None
        reason = (
            f"int8 leaves {one.sqnr_db:.1f} dB after {epochs} epoch{'s' * (epochs > 1)} of quantization-aware training"
        )
        return _Finding(reason, "train it for longer", _more_epochs(epochs))

    def _tiny(self, one: Evidence) -> _Finding | None:
        if one.layer.bytes_share >= TINY_SHARE:
            return None
        reason = (
            f"{one.precision} leaves {one.sqnr_db:.1f} dB, and saves little: its weights are {one.layer.bytes:,} bytes"
        )
        return self._in_float(one, reason, "keep this layer in float: it costs next to nothing")

    def _rounded(self, one: Evidence) -> _Finding:
        reason = f"{one.precision}'s own rounding leaves {one.sqnr_db:.1f} dB; its ranges are as they should be"
        return self._trained(one, reason)

    def _trained(self, one: Evidence, reason: str) -> _Finding:
        if "qat" not in self.known.addable or one.precision in FINER:
            return self._in_float(one, reason)
        chosen = self.known.chosen
        setting = f"{{{TRAINED}, convert: {{{', '.join(chosen)}}}}}" if chosen else TRAINED
        return _Finding(reason, "let the weights learn to live with the rounding", setting)

    def _in_float(self, one: Evidence, reason: str, remedy: str = "keep this layer in float") -> _Finding:
        """The last resort. A model that was trained in int8 has no float layers to keep."""
        if one.precision in FINER:
            finer, precision = FINER[one.precision]
            chosen = self.known.chosen if precision == "float16" else ()
            return _Finding(reason, finer, f"convert: {{{', '.join((f'precision: {precision}', *chosen))}}}")
        if self.known.qat_epochs is None:
            return self._mixed(reason, remedy)
        return _Finding(
            reason,
            "train quantization-aware for longer; or drop that stage, and set convert.mixed_precision",
            _more_epochs(self.known.qat_epochs),
        )

    def _mixed(self, reason: str, remedy: str) -> _Finding:
        """Mixed precision; with more layers where some are kept; and where no choice of layers helps, all in int16."""
        mixed = self.known.mixed
        if not self.known.mixable or (mixed is not None and not (mixed.met and mixed.max_accuracy_drop)):
            whole = ", ".join(("precision: int16x8", *self.known.chosen))
            return _Finding(reason, "give the activations of all layers sixteen bits", f"convert: {{{whole}}}")
        if mixed is not None:
            tighter = f"{{keep_in: {mixed.kept_in}, max_accuracy_drop: {mixed.max_accuracy_drop / 2:g}}}"
            return _Finding(reason, "keep more layers out of int8", f"convert: {{mixed_precision: {tighter}}}")
        if not self.known.second:
            return _Finding(reason, remedy, MIXED)
        back = [setting for setting in self.known.chosen if setting != "granularity: per_channel"]
        return _Finding(reason, remedy, MIXED.replace("{", f"{{{', '.join(back)}, ", 1))


def _more_epochs(epochs: int) -> str:
    return f"stages: [{{qat: {{epochs: {max(2 * epochs, SHORT_TRAINING)}}}}}]"


def _span(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.3g} … {bounds[1]:.3g}"
