"""YAML as a recipe may use it: plain data of a bounded size. What could run code, expand or surprise is refused.

Scalars are read by YAML 1.2's core schema, not by PyYAML's 1.1: `1e-3` is a number, `no` and `12:30` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_NODES = 10_000

Path = tuple[str | int, ...]


class YamlError(ValueError):
    """Text that is not the plain YAML which is read here.

    Args:
        what: what was found.
        line: where, counted from 1; 0 if it is not about a line.
        mend: what to write instead.
    """

    def __init__(self, what: str, line: int = 0, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.line = line
        self.mend = mend


@dataclass(frozen=True)
class Document:
    """A YAML document as plain values, and the line (from 1) on which each of them begins."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


def parse(text: str) -> Document:
    """Read one YAML document.

    Raises:
        YamlError: it is no YAML, or more than plain data.
    """
    try:
        node = _Loader(text).get_single_node()
        lines: dict[Path, int] = {}
        return Document(None if node is None else _value(node, (), lines), lines)
    except yaml.reader.ReaderError as error:
        # Control characters: most likely the file is no text at all.
        raise YamlError(f"it holds the character U+{error.character:04X}, which no YAML may hold") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from None


def dump(value: Any) -> str:
    """Plain data as YAML that both `parse` and YAML 1.1 readers understand alike."""
    text = _dump(value, allow_unicode=True)
    # PyYAML writes Unicode's own line breaks as they are, and reads them back as blanks: these it must escape.
    return _dump(value, allow_unicode=False) if re.search("[\x85\u2028\u2029\ufeff]", text) else text


def _dump(value: Any, *, allow_unicode: bool) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=100)


# Whole matches: PyYAML itself only tries a prefix.
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF|nan|NaN|NAN))\Z")

# How much of a word a message shows.
_SHOWN = 60

# Longest number that Python turns into an int; no setting comes near.
_MAX_DIGITS = 4000


class _Loader(yaml.SafeLoader):
    """Builds nodes and refuses, before they are built, all that plain data does not need."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way: scalars are read in `_scalar`

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._refuse(self.peek_event())  # type: ignore[no-untyped-call]  # types-PyYAML has no type for it
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, event: Any) -> None:
        line = event.start_mark.line + 1
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlError(f"it has more than {MAX_NODES:,} values", line)
        if self._depth >= MAX_DEPTH:
            raise YamlError(f"it nests more than {MAX_DEPTH} levels deep", line)
        if getattr(event, "tag", None) is not None:
            raise YamlError(f"it has the tag '{_tag(event.tag)}'", line, "tags are refused: write plain values")
        if getattr(event, "anchor", None) is not None:
            kind = "alias '*" if isinstance(event, yaml.AliasEvent) else "anchor '&"
            mend = "anchors and aliases are refused: write the value out where it is needed"
            raise YamlError(f"it has the {kind}{event.anchor[:_SHOWN]}'", line, mend)


def _value(node: yaml.Node, path: Path, lines: dict[Path, int]) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, index), lines) for index, item in enumerate(node.value)]
    return _scalar(node.value, plain=getattr(node, "style", None) is None, line=line)


def _mapping(node: yaml.MappingNode, path: Path, lines: dict[Path, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _scalar(key_node.value, plain=False, line=line) if isinstance(key_node, yaml.ScalarNode) else ""
        if not key:
            raise YamlError("a key of a mapping is not a word", line)
        if key in found:
            first = lines[(*path, key)]
            raise YamlError(
                f"the key '{key[:_SHOWN]}' stands there twice, first on line {first}", line, "remove one of them"
            )
        lines[(*path, key)] = line
        found[key] = _value(value_node, (*path, key), lines)
    return found


def _scalar(text: str, *, plain: bool, line: int) -> Any:
    """A scalar by YAML 1.2's core schema; quoted, it is always text."""
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise YamlError("it has half a character (a surrogate)", line)
    if not plain:
        return text
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text.lower() == "true"
    if _INT.match(text):
        return _integer(text, line)
    # Python writes infinity and NaN without the dot.
    return float(re.sub(r"\.(?=[a-zA-Z])", "", text)) if _FLOAT.match(text) else text


def _integer(text: str, line: int) -> int:
    if len(text) > _MAX_DIGITS:
        raise YamlError(f"it has a number of {len(text):,} digits", line)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _syntax_error(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    if isinstance(error, yaml.composer.ComposerError):
        return YamlError("it holds more than one document", line, "keep one document, without '---' after it")
    return YamlError(f"it is no YAML: {error.problem or error.context}", line)


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:_SHOWN]


class _Dumper(yaml.SafeDumper):
    """Quotes text that either YAML 1.1 or 1.2 would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
