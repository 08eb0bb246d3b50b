"""Reading report.json back: what is none, is cut, is foreign or too large is told in a sentence, never a traceback."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ReportError
from pipeline.report import read_report, read_reports, report_text
from pipeline.report._read import MOST_BYTES, completed
from tests.report.documents import EVIL, SCHEMA, full, many, with_text

TEXT = json.dumps(full())


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "report.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_folder_and_its_file_are_the_same_report(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    assert read_report(path) == read_report(tmp_path) == full()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends too early: it was cut"),
        (TEXT[: len(TEXT) // 2], "ends too early|is no JSON"),
        (TEXT[:-1], "ends too early: it was cut"),
        (b"\xff\xfe\x00", "is not text"),
        (b"PK\x03\x04", "is no JSON"),
        ("[1, 2]", "no report of edgesmith"),
        ('{"schema": 1, "model": {}, "operators": []}', "no report of edgesmith"),
        ('{"a": 1}', "no report of edgesmith"),
        ("[" * 100_000, "nested too deeply"),
        (TEXT.replace('"schema": 1', '"schema": 2'), "is a report of schema '2'"),
        (TEXT.replace('"schema": 1', '"schema": "1"'), "is a report of schema '1'"),
        (TEXT.replace('"schema": 1', '"schema": true'), "is a report of schema 'True'"),
        (TEXT.replace('"seconds": 48.9', '"seconds": NaN'), "NaN is no JSON number"),
        (TEXT.replace('"seconds": 48.9', '"seconds": 1e999'), "is too large"),
        (TEXT.replace('"size_bytes": 441872', '"size_bytes": 1' + "0" * 5000), "is too large"),
        (TEXT.replace('"size_bytes": 441872', '"size_bytes": -1'), r"artifact\.size_bytes must be bigger"),
        (TEXT.replace('"provenance": "host"', '"provenance": "guess"'), "provenance must be one of"),
    ],
)
def test_what_is_no_report_is_told_so(content: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=said) as caught:
        read_report(written(tmp_path, content))
    assert caught.value.exit_code == 2
    assert caught.value.mend
    assert len(str(caught.value).splitlines()) <= 3


def test_the_message_on_an_endless_key_is_short_and_printable(tmp_path: Path) -> None:
    document = full()
    document["versions"] = {EVIL * 100: 1}
    with pytest.raises(ReportError) as caught:
        read_report(written(tmp_path, json.dumps(document)))
    assert len(caught.value.what) < 400
    assert caught.value.what.isprintable()


def test_a_newer_report_asks_for_a_newer_edgesmith(tmp_path: Path) -> None:
    with pytest.raises(ReportError) as caught:
        read_report(written(tmp_path, TEXT.replace('"schema": 1', '"schema": 7')))
    assert "update edgesmith" in caught.value.mend


@pytest.mark.parametrize("name", ["nothing", "folder", "fifo"])
def test_what_is_no_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    tmp_path.joinpath("folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ReportError, match="There is no report"):
        read_report(tmp_path / name)


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with path.open("wb") as stream:
        stream.truncate(MOST_BYTES * 100)
    with pytest.raises(ReportError, match="larger than 16 MiB"):
        read_report(path)


def test_both_readers_of_the_schema_agree(tmp_path: Path) -> None:
    """The quick one that ships, and the thorough one of the tests, take the same documents."""
    for document in (full(), many(3, 5), with_text(EVIL, patterns=True)):
        jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
        assert read_report(written(tmp_path, json.dumps(document))) == document


def test_a_report_of_the_first_days_is_still_drawn(tmp_path: Path) -> None:
    """Every key that schema 1 does not require is gone, as it was before it was added."""
    old = _required_only(full(), SCHEMA)
    reports = read_reports((written(tmp_path, json.dumps(old)),))
    for form in ("html", "md", "card", "junit", "table", "json"):
        assert "mnist_demo" in report_text(reports, form)


def _required_only(value: Any, schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _required_only(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if isinstance(value, list):
        return [_required_only(item, schema.get("items", {})) for item in value]
    if isinstance(value, dict) and "properties" in schema:
        kept = schema.get("required", [])
        return {name: _required_only(value[name], schema["properties"].get(name, {})) for name in kept}
    return value


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from _places(inner, (*path, key))


SMALL = with_text("plain", patterns=True)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 0, 2**62, 0.5, -1e300, "", "x", [], {}, [[]], [1, 2], {"a": None}, [None], ["a", 1]]
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(sorted(_places(SMALL), key=str)), ODD), min_size=1, max_size=3))
def test_a_damaged_report_is_shown_or_refused(changes: list[tuple[tuple[Any, ...], Any]], tmp_path: Path) -> None:
    document = copy.deepcopy(SMALL)
    for place, odd in changes:
        _put(document, place, odd)
    try:
        reports = read_reports((written(tmp_path, json.dumps(document)),))
        for form in ("md", "card", "junit", "table"):
            report_text(reports, form)
    except ReportError as error:
        assert str(error)


def _put(document: Any, place: tuple[Any, ...], odd: Any) -> None:
    for key in place[:-1]:
        # An earlier change may have taken the place away.
        if not isinstance(document, dict | list) or (isinstance(document, dict) and key not in document):
            return
        if isinstance(document, list) and not (isinstance(key, int) and key < len(document)):
            return
        document = document[key]
    last = place[-1]
    if isinstance(document, dict) or (isinstance(document, list) and isinstance(last, int) and last < len(document)):
        document[last] = odd


def test_parts_that_contradict_each_other_are_a_sentence(tmp_path: Path) -> None:
    document = full()
    document["artifact"]["details"]["roc"]["true_positive_rate"].pop()
    reports = read_reports((written(tmp_path, json.dumps(document)),))
    with pytest.raises(ReportError, match="its parts contradict each other"):
        report_text(reports, "html")


def test_completing_changes_nothing_that_is_there() -> None:
    assert completed(full()) == full()
