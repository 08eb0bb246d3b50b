"""The recipe: YAML → `Recipe`, the only door for configuration. Every mistake is found here, before any work."""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Never, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from pipeline import _yaml, plugins
from pipeline._recipe_mistakes import Place, mistake, recipe_error, shown
from pipeline._recipe_written import PLUGIN_AT, WrittenRecipe
from pipeline.dataset import DataSource
from pipeline.errors import RecipeError, UsageError
from pipeline.settings import BenchmarkSettings, Budgets, ConvertSettings, ModelFile, Settings
from pipeline.stage import Stage
from pipeline.task import Task

_BASES: dict[str, type[Settings]] = {"pipeline.stages": Stage, "pipeline.data": DataSource, "pipeline.tasks": Task}


@dataclass(frozen=True)
class ModelSpec:
    """A model of the zoo and the options of its `build`; or `file`, a model that the user brings."""

    name: str
    settings: Settings

    @property
    def file(self) -> ModelFile | None:
        """The user's own model, or None where it is one of the zoo."""
        return self.settings if isinstance(self.settings, ModelFile) else None

    @property
    def options(self) -> dict[str, Any]:
        """What `build` takes by keyword, every option with its value."""
        return {name: getattr(self.settings, name) for name in type(self.settings).model_fields}


@functools.cache
def settings_class(package: str, name: str) -> type[Settings]:
    """What can be set for one plugin.

    Args:
        package: dotted name of its package, `pipeline.stages`.
        name: the plugin's.

    Raises:
        UsageError: there is no such plugin.
    """
    if package == "models":
        own = name == _FILE or _names_a_file(name)
        return ModelFile if own else _options_class(plugins.module(package, name))
    return plugins.plugin_class(package, name, _BASES[package])


def _options_class(model: ModuleType) -> type[Settings]:
    """The keyword-only parameters of a model's `build`, as settings."""
    parameters = inspect.signature(model.build, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (each.annotation, ... if each.default is each.empty else each.default)
        for each in parameters
        if each.kind is each.KEYWORD_ONLY
    }
    name = model.__name__.rsplit(".", 1)[-1]
    return create_model(name, __base__=Settings, __module__=model.__name__, **fields)


@dataclass(frozen=True)
class _Plugin:
    """Marks a field that is written `name` or `{name: {settings}}`, and holds the plugin with its settings."""

    package: str

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(_written)
        return core_schema.with_info_plain_validator_function(self._read, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = [_FILE] if self.package == "models" else []
        classes = {name: settings_class(self.package, name) for name in [*plugins.names(self.package), *own]}
        bare = [name for name, cls in classes.items() if not any(f.is_required() for f in cls.model_fields.values())]
        forms = [
            _named_form(name, handler(cls.__pydantic_core_schema__), name in bare) for name, cls in classes.items()
        ]
        return {"anyOf": [{"enum": bare}, *(_PATH_FORMS if own else []), *forms]}

    def _read(self, value: Any, info: ValidationInfo) -> Settings | ModelSpec:
        if isinstance(value, (Settings, ModelSpec)):
            return value
        name, settings = _name_and_settings(value)
        if self.package == "models" and _names_a_file(name):
            name, settings = _FILE, {"path": name, **settings}
        try:
            cls = settings_class(self.package, name)
        except UsageError as error:
            raise _refusal(error.what, error.expected, error.mend) from None
        chosen = _with_full_paths(cls.model_validate_json(json.dumps(settings)), (info.context or {}).get("folder"))
        return ModelSpec(name, chosen) if self.package == "models" else chosen


_FILE = "file"
"""What a model is called that is not the zoo's."""

_FILE_PATTERN = r"[./]"

_PATH_FORMS: list[JsonSchemaValue] = [
    {"type": "string", "pattern": _FILE_PATTERN},
    {"type": "object", "patternProperties": {_FILE_PATTERN: {"type": "object"}}, "additionalProperties": False},
]
"""How a recipe may write `file` by its path alone, or by the path with more settings."""


def _names_a_file(name: str) -> bool:
    """Whether a model's name is the path of one: the zoo's names have neither dots nor slashes."""
    return re.search(_FILE_PATTERN, name) is not None


def _named_form(name: str, settings: JsonSchemaValue, may_be_empty: bool) -> JsonSchemaValue:
    value = {"anyOf": [settings, {"type": "null"}]} if may_be_empty else settings
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}


def _name_and_settings(value: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or len(value) != 1:
        raise _refusal(f"got {shown(value)}", "a name, or one name with its settings: {name: {setting: value}}")
    [(name, settings)] = value.items()
    if settings is not None and not isinstance(settings, dict):
        raise _refusal(f"got {shown(settings)} as the settings of '{name}'", f"{{{name}: {{setting: value}}}}")
    return name, settings or {}


def _with_full_paths(settings: Settings, folder: Path | None) -> Settings:
    """Paths in a recipe are relative to its folder; from here on they hold wherever the work is done."""
    if folder is None:
        return settings
    hints = get_type_hints(type(settings))
    paths = {name: getattr(settings, name) for name in type(settings).model_fields if _is_path(hints[name])}
    return settings.model_copy(
        update={name: folder / path.expanduser() for name, path in paths.items() if path is not None}
    )


def _is_path(hint: Any) -> bool:
    return hint is Path or Path in get_args(hint)


def _written(value: Settings | ModelSpec) -> dict[str, Any]:
    if isinstance(value, ModelSpec):
        return {value.name: value.settings.model_dump(mode="json")}
    return {type(value).__module__.rsplit(".", 1)[-1]: value.model_dump(mode="json")}


def _refusal(what: str, expected: str = "", mend: str = "") -> PydanticCustomError:
    """An error that pydantic carries to `_mistake` as it is, with the place where it was found."""
    return PydanticCustomError("refusal", "{what}", {"what": what, "expected": expected, "mend": mend})


def _refuse_at(place: Place, what: str, expected: str = "", mend: str = "") -> Never:
    """Raise a refusal at a place below the field that is validated."""
    error = InitErrorDetails(type=_refusal(what, expected, mend), loc=place, input=None)
    raise ValidationError.from_exception_data("recipe", [error])


def _in_possible_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Fold the stages' traits over the list: a stage must not meet a trait that it refuses."""
    traits: frozenset[str] = frozenset()
    giver: dict[str, int] = {}
    for place, stage in enumerate(stages):
        for trait in sorted(traits & stage.refuses.keys()):
            before = giver[trait]
            earlier = f"'{stages[before].stage_name()}' (stages[{before}])"
            _refuse_at((place,), f"'{stage.stage_name()}' cannot come after {earlier}: {stage.refuses[trait]}")
        traits = stage.traits_after(traits)
        giver |= dict.fromkeys(stage.gives, place)
    return stages


def _known_target(name: str) -> str:
    known = plugins.names("edge_targets")
    if name not in known:
        near = plugins.nearest(name, known)
        raise _refusal(
            f"there is no target named '{name}'",
            f"one of: {', '.join(known)}",
            f"did you mean '{near}'?" if near else "",
        )
    return name


def _no_repeats(names: tuple[str, ...]) -> tuple[str, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            _refuse_at((place,), f"'{name}' stands there twice", mend="remove one of them")
    return names


_Target = Annotated[
    str,
    AfterValidator(_known_target),
    WithJsonSchema({"type": "string", "enum": plugins.names("edge_targets")}),
]


class Recipe(Settings):
    """All that a run is told: which data and model, which stages in which order, and what the result must keep to."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="Names the run; default: the file's name."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Fixes every random choice.")
    task: Annotated[Task, _Plugin("pipeline.tasks")] = Field(description="What the model's outputs mean.")
    data: Annotated[DataSource, _Plugin("pipeline.data")] = Field(description="Where the examples come from.")
    model: Annotated[ModelSpec, _Plugin("models")] = Field(description="The architecture and its options.")
    stages: Annotated[tuple[Annotated[Stage, _Plugin("pipeline.stages")], ...], AfterValidator(_in_possible_order)] = (
        Field(description="What is done to the model, in this order.")
    )
    convert: ConvertSettings = Field(ConvertSettings(), description="How the model becomes int8.")
    targets: Annotated[tuple[_Target, ...], AfterValidator(_no_repeats)] = Field(
        ("host",), description="Devices on which the result is measured."
    )
    budgets: Budgets = Field(Budgets(), description="What the result must keep to.")
    benchmark: BenchmarkSettings = Field(BenchmarkSettings(), description="How latency is measured.")

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @field_validator("budgets")
    @classmethod
    def _only_for_its_targets(cls, budgets: Budgets, info: ValidationInfo) -> Budgets:
        targets = info.data.get("targets", tuple(budgets.max_median_us))
        for name in budgets.max_median_us:
            if name not in targets:
                expected = f"one of the recipe's targets: {', '.join(targets) or 'it has none'}"
                _refuse_at(
                    ("max_median_us", name), f"'{name}' is no target of this recipe", expected, "add it to targets"
                )
        return budgets

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


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe. Imports no TensorFlow.

    Args:
        path: the YAML file.
        overrides: `stages.prune.sparsity=0.9`, each a place in the recipe and the YAML value to put there. A stage
            goes by its name, or by its number in the list, from 0. Paths stay relative to the recipe.

    Raises:
        RecipeError: every mistake that was found, with its place.
    """
    written = WrittenRecipe(path)
    for override in overrides:
        written.override(override)
    values = {"name": _name_of(path), **written.values}
    try:
        return Recipe.model_validate_json(json.dumps(values), context={"folder": path.parent.absolute()})
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


_PACKAGES = {"task": "pipeline.tasks", "data": "pipeline.data", "model": "models", "stages": "pipeline.stages"}


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
