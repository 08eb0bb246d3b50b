"""Examples out of a user's generator: his function runs in a child, and what goes wrong there is told as DataError."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import DataError
from pipeline.process import ChildError
from pipeline.user_code import Example, UserFunction


def check_reference(path: Path) -> Path:
    """The path, once it names a function.

    Raises:
        ValueError: it does not.
    """
    if UserFunction.parse(path) is None:
        raise ValueError(f"'{path}' names no function; expected file.py:function")
    return path


def user_examples(function: UserFunction, most: int | None = None) -> Iterator[Example]:
    """What the function yields; one example at a time is in memory.

    Args:
        function: the user's.
        most: how many it may yield, or None.

    Raises:
        DataError: there is no such file or function; it failed, crashed, gave something else, or never ends.
    """
    try:
        for number, example in enumerate(function.examples(), start=1):
            if most is not None and number > most:
                raise DataError(
                    f"{function} yields more than {most} examples.",
                    expected="a generator that ends",
                    mend="end it after one pass over the data, or raise most_examples",
                )
            yield example
    except ChildError as error:
        raise DataError(
            f"{function} {error.what.rstrip('.')}.",
            expected=error.expected or "a generator that runs to its end and yields examples",
            mend=error.mend or "run it alone: for example in function(): …",
        ) from error
