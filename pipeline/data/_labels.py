"""Labels as they were written become class indices with names, or stay the numbers that they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data._file_names import class_order
from pipeline.errors import DataError

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


def as_classes(y: NDArray[Any], names: Sequence[str] = ()) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Targets (n, ...) with text as the place of its name; numbers stay.

    Args:
        y: targets.
        names: the classes in the order of the outputs; default: those that occur, sorted.

    Raises:
        DataError: a label is none of the names, or a number beyond them.
    """
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind == "U":
        known = tuple(names) or tuple(class_order(np.unique(y).tolist()))
        places = {name: place for place, name in enumerate(known)}
        unknown = sorted(set(np.unique(y).tolist()) - places.keys())
        if unknown:
            raise DataError(f"'{unknown[0]}' is none of the classes.", expected=f"one of: {', '.join(known)}")
        return np.array([places[label] for label in y.tolist()], np.int64), known
    if names and y.dtype.kind in "iu" and y.ndim == 1 and len(y) and y.max() >= len(names):
        raise DataError(
            f"The labels run to {y.max()}, and {len(names)} classes are named.", expected="a name for each class"
        )
    return y, tuple(names)


def from_text(texts: NDArray[np.str_]) -> NDArray[Any]:
    """Labels out of a text file, (n,): whole numbers where all are, numbers where all are, else text as it is.

    Raises:
        DataError: some are numbers and some are not.
    """
    kinds = {text: _kind(text) for text in np.unique(texts).tolist()}
    found = set(kinds.values())
    if "text" in found and len(found) > 1:
        word = next(text for text, kind in kinds.items() if kind == "text")
        number = next(text for text, kind in kinds.items() if kind != "text")
        raise DataError(
            f"The labels mix numbers and words: '{number}' and '{word}'.",
            expected="numbers only, or words only",
            mend="give every class a name, or every class a number",
        )
    if "text" in found:
        return texts
    return texts.astype(np.float64 if "real" in found else np.int64)


def _kind(text: str) -> str:
    if _INTEGER.fullmatch(text):
        return "whole"
    try:
        return "real" if np.isfinite(float(text)) else "text"
    except ValueError:
        return "text"
