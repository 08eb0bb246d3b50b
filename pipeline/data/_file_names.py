"""What the name of a file says of it: its split, its class, who it stems from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
"""Folders that are splits, and of which."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = {"label": r"(?P<label>[^/]+?)", "group": r"(?P<group>[^/]+?)", "index": r"(?P<index>\d+)", "_": r"[^/]+?"}


@dataclass(frozen=True)
class Said:
    """What a name says.

    Attributes:
        split: "train", "validation" or "test"; "" where it does not say.
        label: the class.
        group: who or what it stems from, or "".
        index: its number, or None.
    """

    split: str
    label: str
    group: str = ""
    index: int | None = None


def check_pattern(pattern: str) -> str:
    """The pattern, once it is one.

    Raises:
        ValueError: what is wrong with it.
    """
    fields = _FIELD.findall(pattern)
    unknown = [field for field in fields if field not in _FIELDS]
    if unknown:
        raise ValueError(
            f"the pattern has an unknown field {{{unknown[0]}}}; there are {{label}} {{group}} {{index}} {{_}}"
        )
    twice = [field for field in _FIELDS if field != "_" and fields.count(field) > 1]
    if "label" not in fields or twice:
        raise ValueError("the pattern needs {label} once, and {group} and {index} at most once")
    return pattern


def has_field(pattern: str, field: str) -> bool:
    """Whether a pattern asks for `label`, `group` or `index`."""
    return field in _FIELD.findall(pattern)


def read_name(name: str, pattern: str, has_splits: bool) -> Said | None:
    """What a name says, or None where it is not as the pattern has it.

    Args:
        name: relative path, without the folders that all files share.
        pattern: "folder", or one for the last parts of the path without the suffix, as many as it has itself.
        has_splits: whether the first folder is a split.
    """
    parts = PurePosixPath(name).parts
    split, parts = (SPLITS[parts[0].lower()], parts[1:]) if has_splits else ("", parts)
    if pattern == "folder":
        return Said(split, parts[0]) if len(parts) > 1 else None
    depth = pattern.count("/") + 1
    found = _expression(pattern).fullmatch(str(PurePosixPath(*parts[-depth:]).with_suffix("")))
    if found is None:
        return None
    said = found.groupdict()
    index = said.get("index")
    return Said(split, said["label"], said.get("group") or "", None if index is None else int(index))


def without_shared_folders(names: Sequence[str], folders: int) -> tuple[list[str], bool]:
    """Names without the folders that all of them begin with, and whether they begin with splits now.

    Args:
        names: relative paths.
        folders: how many folders each name must keep.
    """
    paths = [PurePosixPath(name).parts for name in names]
    while paths and min(map(len, paths)) > folders + 1 and len(firsts := {parts[0] for parts in paths}) == 1:
        if firsts.pop().lower() in SPLITS:
            break
        paths = [parts[1:] for parts in paths]
    tops = {parts[0].lower() if len(parts) > 1 else "" for parts in paths}
    return ["/".join(parts) for parts in paths], "train" in tops and tops <= SPLITS.keys()


def class_order(labels: Sequence[str]) -> list[str]:
    """The classes that these labels name, in the order of the outputs: numbers by value, other names by letter."""
    found = sorted(set(labels))
    return sorted(found, key=int) if all(label.isascii() and label.isdigit() for label in found) else found


def _expression(pattern: str) -> re.Pattern[str]:
    literal_and_field = _FIELD.split(pattern)
    return re.compile(
        "".join(_FIELDS[part] if place % 2 else re.escape(part) for place, part in enumerate(literal_and_field))
    )
