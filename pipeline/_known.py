"""What a recipe did and what it could still do, as far as advice must know it. Part of `advice`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pipeline import plugins
from pipeline.stage import Stage

if TYPE_CHECKING:
    from pipeline.artifact import MixedPrecision
    from pipeline.recipe import Recipe

ADVISED = frozenset({"correct_bias", "equalize", "qat"})
"""Stages that mend what int8 harms."""


@dataclass(frozen=True)
class Known:
    """A recipe, or nothing but what could be added to any.

    Attributes:
        addable: the names of stages that could stand behind its own and do not stand among them.
        calibration: how ranges were chosen.
        granularity: whether a weight has a scale for each channel.
        second: whether ai-edge-quantizer quantized, which mixes no precisions.
        qat_epochs: of quantization-aware training, None without it.
        mixed: the search for layers to keep in float, if there was one.
        inputs: the usual range of the examples that errors were measured with.
    """

    addable: frozenset[str] = frozenset()
    calibration: str = "min_max"
    granularity: str = "per_channel"
    second: bool = False
    qat_epochs: int | None = None
    mixed: MixedPrecision | None = None
    inputs: tuple[float, float] | None = None

    @property
    def chosen(self) -> tuple[str, ...]:
        """What training for int8 and other precisions take back of the recipe's `convert`, as it would stand there."""
        plain = (
            (self.calibration != "min_max", "calibration: min_max"),
            (self.granularity != "per_channel", "granularity: per_channel"),
            (self.second, "backend: tensorflow"),
        )
        return tuple(setting for other, setting in plain if other)

    @classmethod
    def of(cls, recipe: Recipe, mixed: MixedPrecision | None, inputs: tuple[float, float] | None = None) -> Self:
        """What a recipe says of it."""
        stages = {stage.stage_name(): stage for stage in recipe.stages}
        traits: frozenset[str] = frozenset()
        for stage in recipe.stages:
            traits = stage.traits_after(traits)
        there = set(plugins.names("pipeline.stages")) - stages.keys()
        return cls(
            frozenset(name for name in there & ADVISED if not traits & _stage(name).refuses.keys()),
            recipe.convert.calibration,
            recipe.convert.granularity,
            recipe.convert.backend == "ai_edge_quantizer",
            getattr(stages.get("qat"), "epochs", None),
            mixed,
            inputs,
        )

    @classmethod
    def nothing(cls, inputs: tuple[float, float] | None = None) -> Self:
        """Of a model whose recipe nobody has: any stage could be added to it."""
        return cls(ADVISED & set(plugins.names("pipeline.stages")), inputs=inputs)


def _stage(name: str) -> type[Stage]:
    return plugins.plugin_class("pipeline.stages", name, Stage)  # type: ignore[type-abstract]
