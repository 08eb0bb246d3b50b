"""Which device is meant: by its kind, its address, or the name of a profile; and the target that reaches it.

host                         a kind of target, with its defaults
android:emulator-5554        a kind and an address, which the kind understands (`Target.at`)
pi@kitchen:2222              short for raspberry_pi:pi@kitchen:2222
kitchen                      a profile in ~/.config/edgesmith/targets.yaml:  kitchen: {raspberry_pi: {host: …}}
{raspberry_pi: {host: …}}    in a recipe: a kind and its settings
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from edge_targets import Target, WrongAddress
from pipeline import plugins
from pipeline._mistakes import Mistake, Place, mistake, recipe_error
from pipeline._yaml import Document
from pipeline._yaml_file import read_document
from pipeline.choice import name_and_settings, named_form, refusal, settings_class, short, shown, with_full_paths
from pipeline.errors import UsageError
from pipeline.settings import Settings

PACKAGE = "edge_targets"
# What `user@host` is.
BY_SSH = "raspberry_pi"


@dataclass(frozen=True)
class Device:
    """A device that was named.

    Attributes:
        label: what the user calls it; results and budgets go by it.
        kind: the target's name.
        settings: the target's settings, checked.
        written: the value that names it in a recipe.
    """

    label: str
    kind: str
    settings: Settings
    written: Any

    def target(self) -> Target:
        """The target, ready to be asked; nothing is connected yet.

        Raises:
            TargetError: the settings do not go together.
        """
        chosen = {name: getattr(self.settings, name) for name in type(self.settings).model_fields if name != "label"}
        made = _target_class(self.kind)(**chosen)
        made.label = self.label
        return made


def device(text: str, profiles: Path | None = None) -> Device:
    """The device that a text names.

    Args:
        text: a kind, `KIND:ADDRESS`, `[user@]host[:port]` with a user, or the name of a profile.
        profiles: the file of profiles; None takes the user's own.

    Raises:
        UsageError: it names none; the message names the nearest.
    """
    kind, colon, address = text.partition(":")
    if kind in plugins.names(PACKAGE):
        values = _at(kind, address, text) if colon else {}
        return _sound(Device(text, kind, _checked(kind, values, text), text))
    if "@" in text and BY_SSH in plugins.names(PACKAGE):
        return _sound(Device(text, BY_SSH, _checked(BY_SSH, _at(BY_SSH, text, text), text), text))
    if colon:
        raise _unknown(kind, plugins.names(PACKAGE), f"'{short(text)}' names no device")
    return _sound(_profile(text, profiles))


def devices(texts: Sequence[str], profiles: Path | None = None) -> tuple[Device, ...]:
    """The devices that the command line names, each once.

    Raises:
        UsageError: a text names none, or two name the same.
    """
    for place, text in enumerate(texts):
        if text in texts[:place]:
            raise UsageError(f"--target {short(text)} stands there twice.", mend="leave one out")
    return tuple(device(text, profiles) for text in texts)


def profiles_file() -> Path:
    """Where the user's own profiles are, whether or not there are any."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "edgesmith" / "targets.yaml"


def _sound(named: Device) -> Device:
    """The device, if its settings lead anywhere: a target that lacks one says so before anything is connected."""
    try:
        named.target()
    except WrongAddress as error:
        raise UsageError(f"'{short(named.label)}': {error.what}", expected=error.expected, mend=error.mend) from None
    return named


def _target_class(kind: str) -> type[Target]:
    return plugins.plugin_class(PACKAGE, kind, Target)  # type: ignore[type-abstract]


def _at(kind: str, address: str, text: str) -> dict[str, Any]:
    try:
        return _target_class(kind).at(address)
    except WrongAddress as error:
        raise UsageError(f"'{short(text)}': {error.what}", expected=error.expected, mend=error.mend) from None


def _checked(kind: str, values: dict[str, Any], text: str) -> Settings:
    """Settings out of an address, where everything is text: `off` is a truth value, `2` a number."""
    cls = settings_class(PACKAGE, kind)
    try:
        read = cls.model_validate(values, strict=False)
    except ValidationError as error:
        found = [mistake(each, each["loc"], "", cls) for each in error.errors(include_url=False)]
        raise recipe_error(f"'{short(text)}'", found) from None
    return with_full_paths(read, Path.cwd())


def _profile(name: str, profiles: Path | None) -> Device:
    path = profiles or profiles_file()
    kinds = plugins.names(PACKAGE)
    if profiles is None and not path.exists():
        raise _unknown(name, kinds, f"'{short(name)}' is no kind of device, and there is no file of profiles {path}")
    document = _document(path)
    if name not in document.value:
        known = [*kinds, *document.value]
        raise _unknown(name, known, f"'{short(name)}' is no kind of device and no profile of {path}")
    return _device_of_profile(name, document, path)


def _document(path: Path) -> Document:
    document = read_document(path, "file of targets", "a profile is NAME: {KIND: {SETTING: VALUE}}")
    if not isinstance(document.value, dict):
        found = Mistake("", f"it holds {shown(document.value)}", "profiles, each NAME: {KIND: {SETTING: VALUE}}")
        raise recipe_error(str(path), [found])
    for name in document.value:
        if name in plugins.names(PACKAGE) or ":" in name or "@" in name:
            what = f"'{short(name)}' cannot be the name of a profile"
            found = Mistake(_line(document, (name,)), what, "a name of your own, without : and @")
            raise recipe_error(str(path), [found])
    return document


def _device_of_profile(name: str, document: Document, path: Path) -> Device:
    written = document.value[name]
    place: Place = (name, next(iter(written))) if isinstance(written, dict) and written else (name,)
    try:
        kind, settings = name_and_settings(written)
        cls = settings_class(PACKAGE, kind)
        read = cls.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        found = [
            mistake(each, (*place, *each["loc"]), _line(document, (*place, *each["loc"])), cls)
            for each in error.errors(include_url=False)
        ]
        raise recipe_error(str(path), found) from None
    except (UsageError, ValueError) as error:
        raise recipe_error(str(path), [_told(error, name, _line(document, place))]) from None
    return Device(name, kind, with_full_paths(read, path.parent.absolute()), name)


def _told(error: UsageError | ValueError, name: str, line: str) -> Mistake:
    """A refusal of `choice` or of `plugins`, as a mistake in a profile."""
    if isinstance(error, UsageError):
        return Mistake(line, f"{name}: {error.what}", error.expected, error.mend)
    context = getattr(error, "context", None) or {}
    return Mistake(line, f"{name}: {context.get('what', error)}", context.get("expected", ""), context.get("mend", ""))


def _line(document: Document, place: Place) -> str:
    around = (place[:end] for end in range(len(place), 0, -1))
    return next((f"line {document.lines[each]}" for each in around if each in document.lines), "")


def _unknown(name: str, known: Sequence[str], what: str) -> UsageError:
    near = plugins.nearest(name, list(known))
    return UsageError(
        f"{what}.",
        expected=f"one of: {', '.join(known)}; KIND:ADDRESS; or user@host[:port] over ssh",
        mend=f"did you mean '{near}'?" if near else "",
    )


@dataclass(frozen=True)
class _Choice:
    """Marks a field of a recipe that names a device, as a text or as `{kind: {settings}}`."""

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(lambda chosen: chosen.written)
        return core_schema.with_info_plain_validator_function(self._read, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        classes = {kind: settings_class(PACKAGE, kind) for kind in plugins.names(PACKAGE)}
        forms = [
            named_form(kind, handler(cls.__pydantic_core_schema__), may_be_empty=True) for kind, cls in classes.items()
        ]
        text = {
            "type": "string",
            "minLength": 1,
            "description": "A kind, KIND:ADDRESS, user@host[:port], or a profile.",
        }
        return {"anyOf": [{"enum": list(classes)}, text, *forms]}

    def _read(self, value: Any, info: ValidationInfo) -> Device:
        context = info.context or {}
        if isinstance(value, Device):
            return value
        try:
            if isinstance(value, str):
                return device(value, context.get("profiles"))
            kind, settings = name_and_settings(value)
            cls = settings_class(PACKAGE, kind)
            read = with_full_paths(cls.model_validate_json(json.dumps(settings)), context.get("folder"))
            label = getattr(read, "label", None) or kind
            return _sound(Device(label, kind, read, {kind: read.model_dump(mode="json")}))
        except UsageError as error:
            raise refusal(error.what, error.expected, error.mend) from None


DeviceChoice = Annotated[Device, _Choice()]
"""A field of a recipe that names a device."""
