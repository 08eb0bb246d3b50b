"""report.json: plain values only, so that any JSON reader of any language takes it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pipeline.storage import atomic_write_text

JsonObject = dict[str, Any]

SCHEMA = 1
"""The version of the contract. Additions keep it; anything else must raise it."""


_BREAK = r"\n *"
_NUMBER = r"(?:-?[\d.]+(?:e[+-]?\d+)?|null)"
# A line break inside a string is written \n, so what has real ones between its brackets is no part of any string.
_NUMBERS = re.compile(rf"\[{_BREAK}({_NUMBER}(?:,{_BREAK}{_NUMBER})*){_BREAK}\]")


def json_object(values: Mapping[str, Any]) -> JsonObject:
    """A mapping as JSON can hold it.

    NaN and infinity, which JSON does not know, become null; numpy's numbers become Python's; text that is no valid
    Unicode (names of files in an odd encoding) gets question marks.

    Raises:
        TypeError: something has no JSON form.
    """
    return {_text(str(name)): _value(value) for name, value in values.items()}


def json_text(document: JsonObject) -> str:
    """A document as it stands in the file: indented, with a line end; a row of a matrix or a curve on one line."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(lambda row: f"[{re.sub(_BREAK, ' ', row[1])}]", text) + "\n"


def write_json(document: JsonObject, path: Path) -> None:
    """Write a document, whole or not at all.

    Raises:
        StorageError: the disk does not take it.
    """
    atomic_write_text(path, json_text(document))


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | Path):
        return _text(str(value))
    if isinstance(value, Mapping):
        return json_object(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return _number(value)


def _number(value: Any) -> int | float | None:
    # numpy's numbers are registered as these, so numpy itself need not be imported.
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else None
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
