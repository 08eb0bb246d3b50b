"""What can be set of one stage, target, model, data source or task: its JSON Schema in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
_NULL = {"type": "null"}


@dataclass(frozen=True)
class Setting:
    """A setting of a plugin.

    Attributes:
        name: its key in a recipe; a dot stands between a group's and its own.
        kind: what it takes, in words.
        default: what it is where it is not given, as JSON has it; None also where it is off.
        required: whether there is no default.
        description: what it does, in a sentence or two; may be empty.
    """

    name: str
    kind: str
    default: Any
    required: bool
    description: str


def settings_of(schema: Mapping[str, Any]) -> list[Setting]:
    """Every setting that a JSON Schema of pydantic describes, groups opened up behind themselves."""
    return list(_settings(schema, schema.get("$defs", {}), ""))


def _settings(schema: Mapping[str, Any], shared: Mapping[str, Any], prefix: str) -> Iterator[Setting]:
    for name, field in schema.get("properties", {}).items():
        inner = _group(field, shared)
        described = field.get("description") or (inner or {}).get("description", "")
        default, required = field.get("default"), name in schema.get("required", ())
        if isinstance(default, dict | list) and inner is not None:
            default = None  # the group's own defaults, which follow
        kind = "group" if inner is not None else _kind(field, shared)
        yield Setting(prefix + name, kind, default, required, " ".join(described.split()))
        if inner is not None:
            yield from _settings(inner, shared, f"{prefix}{name}.")


def _group(field: Mapping[str, Any], shared: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The group of settings that a setting is, or may be; None where it is a value."""
    for one in (field, *field.get("anyOf", ())):
        named = shared.get(str(one.get("$ref", "")).rpartition("/")[2])
        if named is not None and "properties" in named:
            return dict(named)
    return None


def _kind(field: Mapping[str, Any], shared: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _kind(shared[field["$ref"].rpartition("/")[2]], shared)
    if "anyOf" in field:
        return " or ".join(_kind(one, shared) for one in field["anyOf"] if one != _NULL)
    if "const" in field or "enum" in field:
        return " | ".join(map(str, field.get("enum", [field.get("const")])))
    bounds = [f"{sign} {field[key]}" for key, sign in _BOUNDS if key in field]
    kind = str(field.get("format") or field.get("type", "anything"))
    return " ".join(filter(None, (kind, ", ".join(bounds))))
