"""The recipe: YAML → `Recipe`, the only door for configuration. Every mistake is found here, before any work."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Never, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from pipeline import _yaml
from pipeline._mistakes import Place, mistake, recipe_error
from pipeline._recipe_written import PLUGIN_AT, WrittenRecipe
from pipeline.choice import ModelChoice, Plugin, refusal, settings_class
from pipeline.dataset import DataSource
from pipeline.devices import Device, DeviceChoice
from pipeline.errors import RecipeError
from pipeline.settings import BenchmarkSettings, Budgets, ConvertSettings, Settings
from pipeline.stage import Stage
from pipeline.task import Task


def _refuse_at(place: Place, what: str, expected: str = "", mend: str = "") -> Never:
    """Raise a refusal at a place below the field that is validated."""
    error = InitErrorDetails(type=refusal(what, expected, mend), loc=place, input=None)
    raise ValidationError.from_exception_data("recipe", [error])


def _in_possible_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Fold the stages' traits over the list: a stage must not meet a trait that it refuses."""
    traits: frozenset[str] = frozenset()
    giver: dict[str, int] = {}
    for place, stage in enumerate(stages):
        for trait in sorted(trait for trait in traits if stage.refuses_trait(trait)):
            before = giver[trait]
            earlier = f"'{stages[before].stage_name()}' (stages[{before}])"
            _refuse_at((place,), f"'{stage.stage_name()}' cannot come after {earlier}: {stage.refuses_trait(trait)}")
        traits = stage.traits_after(traits)
        giver |= dict.fromkeys(stage.gives, place)
    return stages


def _no_repeats(targets: tuple[Device, ...]) -> tuple[Device, ...]:
    labels = [each.label for each in targets]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            mend = "remove one of them, or give each a label of its own: {KIND: {label: NAME}}"
            _refuse_at((place,), f"'{label}' stands there twice", mend=mend)
    return targets


class Recipe(Settings):
    """All that a run is told: which data and model, which stages in which order, and what the result must keep to."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="Names the run; default: the file's name."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Fixes every random choice.")
    task: Annotated[Task, Plugin("pipeline.tasks")] = Field(description="What the model's outputs mean.")
    data: Annotated[DataSource, Plugin("pipeline.data")] = Field(description="Where the examples come from.")
    model: ModelChoice = Field(description="The architecture and its options.")
    stages: Annotated[tuple[Annotated[Stage, Plugin("pipeline.stages")], ...], AfterValidator(_in_possible_order)] = (
        Field(description="What is done to the model, in this order.")
    )
    convert: ConvertSettings = Field(ConvertSettings(), description="How the model becomes int8.")
    targets: Annotated[tuple[DeviceChoice, ...], AfterValidator(_no_repeats)] = Field(
        ("host",), validate_default=True, description="Devices on which the result is measured."
    )
    budgets: Budgets = Field(Budgets(), description="What the result must keep to.")
    benchmark: BenchmarkSettings = Field(BenchmarkSettings(), description="How latency is measured.")

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @field_validator("stages")
    @classmethod
    def _fit_for_the_task(cls, stages: tuple[Stage, ...], info: ValidationInfo) -> tuple[Stage, ...]:
        task = info.data.get("task")
        for place, stage in enumerate(stages):
            why = stage.refuses_task(task) if task is not None else ""
            if why:
                _refuse_at((place,), f"'{stage.stage_name()}' cannot work for this task: {why}")
        return stages

    @field_validator("convert")
    @classmethod
    def _one_output_to_search_by(cls, convert: ConvertSettings, info: ValidationInfo) -> ConvertSettings:
        exits = any("early_exit" in stage.gives for stage in info.data.get("stages", ()))
        if exits and convert.mixed_precision is not None:
            what = "mixed_precision judges a model by one output, and an early exit makes it two"
            _refuse_at(("mixed_precision",), what, mend="leave out mixed_precision, or the stage 'early_exit'")
        return convert

    @field_validator("budgets")
    @classmethod
    def _only_for_its_targets(cls, budgets: Budgets, info: ValidationInfo) -> Budgets:
        found = info.data.get("targets")
        targets = tuple(budgets.max_median_us) if found is None else tuple(each.label for each in found)
        for name in budgets.max_median_us:
            if name not in targets:
                expected = f"one of the recipe's targets: {', '.join(targets) or 'it has none'}"
                _refuse_at(
                    ("max_median_us", name), f"'{name}' is no target of this recipe", expected, "add it to targets"
                )
        return budgets

    @model_validator(mode="after")
    def _mixed_precision_has_a_budget(self) -> Self:
        mixed = self.convert.mixed_precision
        if mixed is not None and mixed.max_accuracy_drop is None and self.budgets.max_accuracy_drop is None:
            mend = "set budgets.max_accuracy_drop, or max_accuracy_drop there"
            _refuse_at(("convert", "mixed_precision"), "it is not told what int8 may lose", "a budget", mend)
        return self

    @model_validator(mode="after")
    def _trained_ranges_stay(self) -> Self:
        traits: frozenset[str] = frozenset()
        for stage in self.stages:
            traits = stage.traits_after(traits)
        if "qat" in traits and not (self.convert.is_plain and self.convert.mixed_precision is None):
            what = "the stage 'qat' trains the ranges and scales of int8, and nothing after it may choose others"
            mend = "drop 'qat', or leave precision, calibration, granularity, backend and mixed_precision out"
            _refuse_at(("convert",), what, "int8 as it was trained", mend)
        return self

    def model_post_init(self, context: Any) -> None:
        """Remember the folder that relative paths began at."""
        if context:
            self._folder = context["folder"]

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the recipe begin at: its own."""
        return self._folder

    def resolved_yaml(self) -> str:
        """This recipe with every default written out and every path in full: it loads back to an equal recipe."""
        return _yaml.dump(self.model_dump(mode="json"))


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, with the settings of every plugin that is installed."""
    schema = Recipe.model_json_schema()
    # A file has a name of its own to fall back on.
    schema["required"].remove("name")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_recipe(path: Path, overrides: Sequence[str] = (), profiles: Path | None = None) -> Recipe:
    """Read and check a recipe. Imports no TensorFlow.

    Args:
        path: the YAML file.
        overrides: `stages.prune.sparsity=0.9`, each a place in the recipe and the YAML value to put there. A stage
            goes by its name, or by its number in the list, from 0. Paths stay relative to the recipe.
        profiles: the file with the profiles that `targets` may name; None takes the user's own.

    Raises:
        RecipeError: every mistake that was found, with its place.
    """
    written = WrittenRecipe(path)
    for override in overrides:
        written.override(override)
    values = {"name": _name_of(path), **written.values}
    try:
        return Recipe.model_validate_json(
            json.dumps(values), context={"folder": path.parent.absolute(), "profiles": profiles}
        )
    except ValidationError as error:
        raise _explained(error, written) from None


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-")[:100] or "recipe"


def _explained(error: ValidationError, written: WrittenRecipe) -> RecipeError:
    """What pydantic found, in words, with places as they are written and their lines."""
    mistakes = []
    for found in error.errors(include_url=False):
        place = written.as_written(found["loc"])
        mistakes.append(mistake(found, place, written.line_of(place), _owner(place)))
    return recipe_error(str(written.path), mistakes)


_PACKAGES = {
    "task": "pipeline.tasks",
    "data": "pipeline.data",
    "model": "models",
    "stages": "pipeline.stages",
    "targets": "edge_targets",
}


def _owner(place: Place) -> type[BaseModel]:
    """The settings that the last part of a path, as written, is or should be a field of."""
    owner: type[BaseModel] = Recipe
    keys = list(place)
    depth = PLUGIN_AT.get(str(keys[0])) if keys else None
    if depth is not None and len(keys) > depth + 1:
        owner = settings_class(_PACKAGES[str(keys[0])], str(keys[depth]))
        keys = keys[depth + 1 :]
    for key in keys[:-1]:
        field = owner.model_fields.get(str(key))
        inner = (
            [each for each in (field.annotation, *get_args(field.annotation)) if _is_settings(each)] if field else []
        )
        owner = inner[0] if inner else owner
    return owner


def _is_settings(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)
