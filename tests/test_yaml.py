"""YAML that cannot hurt: plain data passes unchanged, everything else is refused with its line, and at once."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import _yaml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(bool), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),  # PyYAML on its own reads text here, and a learning rate is often written so
        ("no", "no"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("010", 10),
        ("0x1F", 31),
        ("-.inf", -math.inf),
        ("'5'", "5"),
        ("~", None),
        ("", None),
        ("True", True),
        ("\ufeffa: 1", {"a": 1}),
        ("on: 1", {"on": 1}),
    ],
)
def test_scalars_are_read_as_yaml_1_2_has_them(text: str, value: Any) -> None:
    assert _yaml.parse(text).value == value


@given(PLAIN)
@example(["1e-3", "0o17", "+1", "no", "a\x85b"])
def test_what_is_dumped_is_parsed_back(value: Any) -> None:
    assert _yaml.parse(_yaml.dump(value)).value == value


@given(PLAIN)
def test_a_yaml_1_1_reader_understands_the_dump_alike(value: Any) -> None:
    assert yaml.safe_load(_yaml.dump(value)) == value


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [x]", "!!python/object", 2),
        ("a: !mine 1", "!mine", 1),
        ("a: ! b", "the tag '!'", 1),
        ("a: &x 1", "the anchor '&x'", 1),
        ("a: *x", "the alias '*x'", 1),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands there twice, first on line 1", 3),
        ("a: {b: 1, b: 2}", "the key 'b' stands there twice", 1),
        ("? [a]\n: b", "a key of a mapping is not a word", 1),
        ("a: 1\n---\nb: 2", "more than one document", 2),
        ("a: [", "it is no YAML", 1),
        ("\tx: 1", "it is no YAML", 1),
        ('a: "\\ud800"', "surrogate", 1),
        ('"\\ud800": 1', "surrogate", 1),
        ("a: 'x\x07'", "U+0007", 0),
        ("a: " + "9" * 5000, "a number of 5,000 digits", 1),
    ],
)
def test_what_is_not_plain_data_is_refused(text: str, said: str, line: int) -> None:
    with pytest.raises(_yaml.YamlError) as caught:
        _yaml.parse(text)
    assert said in caught.value.what
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "levels deep"),
        ("- " * 100_000, "levels deep"),
        ("? " * 100_000, "levels deep"),
        ("{a: " * 100_000, "levels deep"),
        ("- a\n" * 200_000, "more than 10,000 values"),
        ("!" * _yaml.MAX_BYTES, "the tag"),
    ],
)
def test_bombs_are_refused_before_they_grow(text: str, said: str) -> None:
    with pytest.raises(_yaml.YamlError) as caught:
        _yaml.parse(text)
    assert said in caught.value.what
    assert len(caught.value.what) < 200


def test_the_deepest_and_the_longest_that_are_allowed_pass() -> None:
    deep = "[" * _yaml.MAX_DEPTH + "]" * _yaml.MAX_DEPTH
    assert yaml.safe_load(deep) == _yaml.parse(deep).value
    with pytest.raises(_yaml.YamlError):
        _yaml.parse(f"[{deep}]")
    assert len(_yaml.parse("- a\n" * (_yaml.MAX_NODES - 1)).value) == _yaml.MAX_NODES - 1


def test_every_value_has_its_line() -> None:
    lines = _yaml.parse("a: 1\nb:\n  - x\n  - c: 2\n    d: 3\n").lines
    assert lines[("a",)] == 1
    assert lines[("b", 0)] == 3
    assert lines[("b", 1, "d")] == 5
