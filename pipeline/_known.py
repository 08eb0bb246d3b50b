"""What a recipe did and what it could still do, as far as advice must know it. Part of `advice`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pipeline import plugins
from pipeline.settings import ConvertSettings
from pipeline.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.artifact import MixedPrecision
    from pipeline.check import Check
    from pipeline.recipe import Recipe

ADVISED = frozenset({"correct_bias", "equalize", "qat"})
"""Stages that mend what int8 harms."""

DROPS = ("max_accuracy_drop", "mixed_precision_drop")
"""Checks of what the metric loses against float: the test split's before the validation split's."""

LOSSY = frozenset({"clustered", "filters_removed", "sparse"})
"""Traits of a model that may have lost some of its metric before it was quantized."""


@dataclass(frozen=True)
class Known:
    """A recipe, or nothing but what could be added to any.

    Attributes:
        addable: the names of stages that could stand behind its own and do not stand among them.
        calibration: how ranges were chosen.
        percentile: whether a percentile is set, which no other calibration goes with.
        granularity: whether a weight has a scale for each channel.
        second: whether ai-edge-quantizer quantized, which mixes no precisions.
        qat_epochs: of quantization-aware training, None without it.
        mixed: the search for layers to keep in float, if there was one.
        inputs: the usual range of the examples that errors were measured with.
        mixable: whether mixed precision may be set, which an early exit leaves no room for.
        lost: the check that the metric loses no more than is allowed, where that failed.
        lossy: the names of stages that may have lost some of it.
    """

    addable: frozenset[str] = frozenset()
    calibration: str = "min_max"
    percentile: bool = False
    granularity: str = "per_channel"
    second: bool = False
    qat_epochs: int | None = None
    mixed: MixedPrecision | None = None
    inputs: tuple[float, float] | None = None
    mixable: bool = True
    lost: Check | None = None
    lossy: tuple[str, ...] = ()

    @property
    def shortfall(self) -> str:
        """What the metric loses beyond what is allowed, as part of a sentence; "" where it keeps to that."""
        if self.lost is None:
            return ""
        lost, allowed = (100 * (share or 0) for share in (self.lost.value, self.lost.limit))
        before = f", some of them perhaps in {' and '.join(self.lossy)}" if self.lossy else ""
        return f"the model loses {lost:.2f} points, where {allowed:.2f} are allowed{before}"

    @property
    def chosen(self) -> tuple[str, ...]:
        """What training for int8 and other precisions take back of the recipe's `convert`, as it would stand there."""
        plain = (
            (self.calibration != "min_max", self.calibrated("min_max")),
            (self.granularity != "per_channel", "granularity: per_channel"),
            (self.second, "backend: tensorflow"),
            (self.mixed is not None, "mixed_precision: null"),
        )
        return tuple(setting for other, setting in plain if other)

    def calibrated(self, method: str) -> str:
        """The settings of another calibration."""
        return f"calibration: {method}" + (", percentile: 99.99" if self.percentile else "")

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        mixed: MixedPrecision | None,
        inputs: tuple[float, float] | None = None,
        checks: Iterable[Check] = (),
    ) -> Self:
        """What a recipe says of it, and what its run found."""
        stages = {stage.stage_name(): stage for stage in recipe.stages}
        traits: frozenset[str] = frozenset()
        for stage in recipe.stages:
            traits = stage.traits_after(traits)
        there = set(plugins.names("pipeline.stages")) - stages.keys()
        return cls(
            frozenset(name for name in there & ADVISED if not any(map(_stage(name).refusal, traits))),
            recipe.convert.calibration,
            recipe.convert.percentile != ConvertSettings.model_fields["percentile"].default,
            recipe.convert.granularity,
            recipe.convert.backend == "ai_edge_quantizer",
            getattr(stages.get("qat"), "epochs", None),
            mixed,
            inputs,
            "early_exit" not in traits,
            _failed_drop(checks),
            tuple(name for name, stage in stages.items() if stage.gives & LOSSY),
        )

    @classmethod
    def nothing(cls, inputs: tuple[float, float] | None = None) -> Self:
        """Of a model whose recipe nobody has: any stage could be added to it."""
        return cls(ADVISED & set(plugins.names("pipeline.stages")), inputs=inputs)


def _failed_drop(checks: Iterable[Check]) -> Check | None:
    failed = {check.name: check for check in checks if check.status == "fail"}
    return next((failed[name] for name in DROPS if name in failed), None)


def _stage(name: str) -> type[Stage]:
    return plugins.plugin_class("pipeline.stages", name, Stage)  # type: ignore[type-abstract]
