"""A setting that names a plugin: written `name` or `{name: {settings}}`, it holds the plugin with its settings."""

from __future__ import annotations

import functools
import inspect
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from edge_targets import Target
from pipeline import plugins
from pipeline.dataset import Dataset, DataSource
from pipeline.errors import ModelError, UsageError
from pipeline.settings import ModelFile, Settings
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

    def build(self, data: Dataset) -> Any:
        """A Keras model of the zoo for some data, with new weights.

        Raises:
            ModelError: the architecture is not for such inputs, or does not give what the task asks for.
        """
        try:
            model = plugins.module("models", self.name).build(data.input_shape, data.num_outputs, **self.options)
        except ValueError as error:
            raise ModelError(
                f"The model {self.name} cannot be built for inputs of shape {data.input_shape}: {error}",
                expected="inputs as the model's documentation names them",
                mend="choose another model, or other data settings (add_channel appends a channel axis)",
            ) from error
        expected = data.task.output_shape(data.num_outputs, data.input_shape)
        if tuple(model.output_shape[1:]) != expected:
            raise ModelError(
                f"The model {self.name} gives outputs of shape {tuple(model.output_shape[1:])}.",
                expected=f"{expected}, as the task {data.task.task_name()} asks for",
                mend="choose a model for this task (autoencoder for anomaly)",
            )
        return model


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
        if name == _FILE or _names_a_file(name):
            return ModelFile
        build = plugins.module(package, name).build
        return _keywords_class(build, name, build.__doc__)
    if package == "edge_targets":
        target = plugins.plugin_class(package, name, Target)  # type: ignore[type-abstract]
        return _keywords_class(target.__init__, name, target.__doc__, label=_LABEL)
    return plugins.plugin_class(package, name, _BASES[package])


def _keywords_class(function: Any, name: str, docstring: str | None, **more: Any) -> type[Settings]:
    """The keyword-only parameters of a function as settings, with what a docstring says of each."""
    texts = _argument_texts(docstring or "")
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (
            each.annotation,
            Field(... if each.default is each.empty else each.default, description=texts.get(each.name)),
        )
        for each in parameters
        if each.kind is each.KEYWORD_ONLY
    }
    return create_model(name, __base__=Settings, __module__=function.__module__, **fields, **more)


_LABEL = (str | None, Field(None, min_length=1, max_length=60, description="What results call this device."))


def _argument_texts(docstring: str) -> dict[str, str]:
    """What a docstring's `Args:` say of each argument; those of one line share its text."""
    arguments = inspect.cleandoc(docstring).partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8,}.*)*)", arguments, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for names, text in entries for name in names.split(", ")}


@dataclass(frozen=True)
class Plugin:
    """Marks a field that is written `name` or `{name: {settings}}`, and holds the plugin with its settings."""

    package: str

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(_written)
        return core_schema.with_info_plain_validator_function(self._read, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = [_FILE] if self.package == "models" else []
        classes = {name: settings_class(self.package, name) for name in [*plugins.names(self.package), *own]}
        bare = [name for name, cls in classes.items() if not any(f.is_required() for f in cls.model_fields.values())]
        forms = [named_form(name, handler(cls.__pydantic_core_schema__), name in bare) for name, cls in classes.items()]
        return {"anyOf": [{"enum": bare}, *(_PATH_FORMS if own else []), *forms]}

    def _read(self, value: Any, info: ValidationInfo) -> Settings | ModelSpec:
        if isinstance(value, (Settings, ModelSpec)):
            return value
        name, settings = name_and_settings(value)
        if self.package == "models" and _names_a_file(name):
            name, settings = _FILE, {"path": name, **settings}
        try:
            cls = settings_class(self.package, name)
        except UsageError as error:
            raise refusal(error.what, error.expected, error.mend) from None
        read = cls.model_validate_json(json.dumps(settings), context=info.context)
        chosen = with_full_paths(read, (info.context or {}).get("folder"))
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


def named_form(name: str, settings: JsonSchemaValue, may_be_empty: bool) -> JsonSchemaValue:
    """The JSON Schema of `{name: settings}`."""
    value = {"anyOf": [settings, {"type": "null"}]} if may_be_empty else settings
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}


def name_and_settings(value: Any) -> tuple[str, dict[str, Any]]:
    """The plugin and its settings that `name` or `{name: settings}` stands for."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or len(value) != 1:
        raise refusal(f"got {shown(value)}", "a name, or one name with its settings: {name: {setting: value}}")
    [(name, settings)] = value.items()
    if settings is not None and not isinstance(settings, dict):
        raise refusal(f"got {shown(settings)} as the settings of '{name}'", f"{{{name}: {{setting: value}}}}")
    return name, settings or {}


def with_full_paths(settings: Settings, folder: Path | None) -> Settings:
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


def refusal(what: str, expected: str = "", mend: str = "") -> PydanticCustomError:
    """An error that pydantic carries as it is to where mistakes are put in words, with the place where it was found."""
    return PydanticCustomError("refusal", "{what}", {"what": what, "expected": expected, "mend": mend})


def shown(value: Any) -> str:
    """A value of a recipe as people would name it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"the text '{short(value)}'" if isinstance(value, str) else short(str(value))


def short(text: str, limit: int = 60) -> str:
    """Text that fits a message: one line, no control characters, not endless."""
    plain = text if text.isprintable() else repr(text)[1:-1]
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


ModelChoice = Annotated[ModelSpec, Plugin("models")]
"""A model of the zoo, or one of the user's own."""
