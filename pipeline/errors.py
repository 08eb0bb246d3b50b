"""Every error that a user can meet. Each says what happened, what was expected and how to mend it.

    EdgesmithError            exit 3
    ├── UsageError            exit 2   the command was asked for something that cannot be
    │   ├── RecipeError                the recipe is not one
    │   ├── DataError                  the data is not what the recipe says
    │   └── ReportError                what was given as a report is none, or none of this version
    ├── BrokenPromise         exit 1   the work ran, its result is not what was promised
    │   └── Diverged                   training left the finite numbers
    ├── ModelError            exit 3   a model that cannot be read, built or converted
    └── StorageError          exit 3   a disk that is full, read-only or gone

Devices have a tree of their own (`edge_targets/_errors.py`), because they know nothing of this package.
Only `cli.py` turns errors into exits.
"""

from __future__ import annotations

from typing import ClassVar


class EdgesmithError(Exception):
    """The root: a sentence on what happened, and if it helps, what was expected and how to mend it.

    Args:
        what: what happened, in one sentence that names the thing.
        expected: what would have been right.
        mend: what the user can do now.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, expected: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.mend = mend

    def __str__(self) -> str:
        lines = [self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.mend:
            lines.append(f"  to mend it: {self.mend}")
        return "\n".join(lines)


class UsageError(EdgesmithError):
    """The command was asked for something that cannot be."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe is not one: a wrong key, a wrong type, an impossible order of stages."""


class DataError(UsageError):
    """The data is missing, unsafe, or not what the recipe says it is."""


class ReportError(UsageError):
    """What was given as a report is none, is damaged, or is of a version that is not read here."""


class BrokenPromise(EdgesmithError):
    """The work ran to its end, and the result is not what was promised."""

    exit_code = 1


class Diverged(BrokenPromise):
    """Training left the finite numbers: the loss became NaN or infinite."""


class ModelError(EdgesmithError):
    """A model that cannot be read, built, trained or converted."""


class StorageError(EdgesmithError):
    """A disk that is full, read-only or gone."""
