"""Reading report.json back: it may come from anyone, so nothing in it is believed before it was checked."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.errors import ReportError, StorageError
from pipeline.report import _format as fmt
from pipeline.report._json import SCHEMA, JsonObject

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 16 * 2**20
"""Fifty devices with two hundred operators each take 4 MB."""

_LARGEST = 2**63
_MEND = "give the folder of a run, or the report.json in it"


def read_report(path: Path) -> JsonObject:
    """A report, as `Report.to_json` gave it.

    Args:
        path: the folder of a run, or its report.json.

    Raises:
        ReportError: there is none, it is damaged, it is something else, or it is of another version.
        StorageError: it cannot be read.
    """
    where = path / "report.json" if path.is_dir() else path
    document = _parsed(_text(where), where)
    if not isinstance(document, dict) or "schema" not in document or "artifact" not in document:
        _refuse(f"{where} is JSON, but no report of edgesmith.", "what `edgesmith run` writes")
    _must_be_known(document["schema"], where)
    _must_follow_the_schema(document, where)
    return document


def completed(document: JsonObject) -> JsonObject:
    """The same report with the keys that schema 1 got later: all that draws one may rely on them."""
    late = ("macs", "macs_share", "bytes", "bytes_share", "error")
    layers = [{**dict.fromkeys(late), **layer} for layer in document["layers"]]
    steps = [{"notes": {}, **step} for step in document["steps"]]
    artifact = {"precision": "int8", **document["artifact"]}
    late_keys: JsonObject = {"advice": [], "mixed_precision": None}
    return {**late_keys, **document, "artifact": artifact, "layers": layers, "steps": steps}


def _text(where: Path) -> str:
    if not where.is_file():
        _refuse(f"There is no report {where}.", "a report.json")
    try:
        with where.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise StorageError(f"The report {where} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if len(content) > MOST_BYTES:
        _refuse(f"{where} is larger than {MOST_BYTES // 2**20} MiB.", "a report of a few MB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(f"{where} is not text.", "JSON in UTF-8")


def _parsed(text: str, where: Path) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_float, parse_int=_integer)
    except json.JSONDecodeError as error:
        # A file that was cut ends where something was still expected.
        what = "ends too early: it was cut" if error.pos >= len(text.rstrip()) - 1 else f"is no JSON: {error.msg}"
        _refuse(f"{where} {what} (line {error.lineno}, column {error.colno}).", "a whole report.json")
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        _refuse(f"{where} is no report: {reason}.", "a report.json")


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _integer(digits: str) -> int:
    # The digits are counted first: to read millions of them takes quadratic time.
    if len(digits) > len(str(_LARGEST)) + 1 or abs(int(digits)) > _LARGEST:
        raise ValueError(f"the number {digits[:40]} is too large")
    return int(digits)


def _must_be_known(version: object, where: Path) -> None:
    if version == SCHEMA and not isinstance(version, bool):
        return
    newer = isinstance(version, int) and version > SCHEMA
    raise ReportError(
        f"{where} is a report of schema {str(version)[:40]!r}.",
        expected=f"schema {SCHEMA}",
        mend="update edgesmith: it is older than the report" if newer else _MEND,
    )


def _must_follow_the_schema(document: JsonObject, where: Path) -> None:
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator()(document)
    except JsonSchemaValueException as error:
        # The first words of the message are the place, which may hold any key: it must not fill the screen.
        _refuse(f"{where} is no report of schema {SCHEMA}: {_short(error.message)}.", "docs/schemas/report.schema.json")


@cache
def _validator() -> Callable[[JsonObject], object]:
    import fastjsonschema

    schema = Path(__file__).with_name("report.schema.json").read_text(encoding="utf-8")
    validate: Callable[[JsonObject], object] = fastjsonschema.compile(json.loads(schema), use_default=False)
    return validate


def _short(message: str) -> str:
    line = fmt.printable(message.removeprefix("data."))
    return line if len(line) <= 160 else f"{line[:159]}…"


def _refuse(what: str, expected: str) -> NoReturn:
    raise ReportError(what, expected=expected, mend=_MEND)
