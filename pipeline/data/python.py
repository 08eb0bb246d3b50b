"""python: examples that a generator in one's own python file yields; it runs in a child process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from pipeline.data._assemble import Examples, Parts, SplitSource, cut_test
from pipeline.data._labels import as_classes
from pipeline.data._spool import Spool
from pipeline.data._user_examples import check_reference, user_examples
from pipeline.errors import DataError
from pipeline.user_code import UserFunction

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task
    from pipeline.user_code import Example

STORED_AS_THEY_ARE = ("bool", "uint8", "int8", "uint16", "int16", "float16")
"""Other numbers are stored as float32: that is what training reads anyway."""


class PythonData(SplitSource):
    """Functions that yield `(x, y)` or `(x, y, group)`: x of one shape and type, y a number, an array or a name.

    What stems from one group never lies in two splits.
    """

    places: ClassVar[frozenset[str]] = frozenset(("train", "test"))

    train: Path = Field(description="file.py:function that yields examples to train on; relative to the recipe.")
    test: Path | None = Field(
        None, description="file.py:function that yields held-out examples; default: a share of the others."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What both are called with by keyword.")
    divide_by: float = Field(1.0, gt=0, description="Inputs are divided by this: 255 turns pixels into 0..1.")
    class_names: tuple[str, ...] = Field(
        (), description="What people call the classes, in the order of the outputs; default: names that y has, sorted."
    )
    preprocessing: dict[str, Any] = Field(
        default_factory=dict,
        description="What the functions did to the raw data, for the manifest: the device must do the same.",
    )
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the groups, or of each class, that is held out if test is not given."
    )
    most_examples: int = Field(
        1_000_000, ge=1, description="A function that yields more than this is taken for one that never ends."
    )

    @field_validator("train", "test")
    @classmethod
    def _names_a_function(cls, path: Path | None) -> Path | None:
        return None if path is None else check_reference(path)

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        train = self._read(self.train, progress)
        test = self._read(self.test, progress, train.kind) if self.test else None
        examples, names = self._labelled(Examples.of(train.spool), Examples.of(test.spool) if test else None)
        parts = Parts(
            *examples,
            train.spool.shape,
            f"{self.train.name} (python)",
            class_names=names,
            preprocessing={**self.preprocessing, "divide_by": self.divide_by},
        )
        return self.dataset(parts, task, seed=seed)

    def _read(self, path: Path, progress: Progress, kind: _Kind | None = None) -> _Read:
        """All examples of a function; they must be of this kind, or of that of the first one."""
        function = UserFunction.parse(path, **self.options)
        assert function is not None
        progress.note(f"reading examples from {function}")
        read = None
        for number, example in enumerate(user_examples(function, self.most_examples), start=1):
            source = f"Example {number} of {function}"
            if read is None:
                kind = kind or _Kind.of(example, source)
                read = _Read(kind, Spool(kind.shape, kind.stored, self.divide_by))
            read.add(example, source)
        if read is None:
            raise DataError(f"{function} yields no example.", expected="`yield x, y` for each example")
        return read

    def _labelled(self, train: Examples, test: Examples | None) -> tuple[tuple[Examples, Examples], tuple[str, ...]]:
        """Training and test examples with numbers as targets, and the names of the classes."""
        parts = [train] if test is None else [train, test]
        y, names = as_classes(np.concatenate([part.split.targets() for part in parts]), self.class_names)
        ends = np.split(y, [train.split.size])
        numbered = [replace(part, split=part.split.with_targets(each)) for part, each in zip(parts, ends, strict=False)]
        if test is None:
            return cut_test(numbered[0], self.test_fraction), names
        shared = sorted(set(train.groups) & set(test.groups) - {""})
        if shared:
            raise DataError(
                f"Group '{shared[0]}' yields training and test examples.",
                expected="groups that are in one split only",
                mend="leave the group out where it means something else in each function",
            )
        return (numbered[0], numbered[1]), names


@dataclass(frozen=True)
class _Kind:
    """What all examples share: shape and type of x, shape of y, and whether y is text."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    y_shape: tuple[int, ...]
    y_is_text: bool

    @classmethod
    def of(cls, example: Example, source: str) -> _Kind:
        if example.x.ndim == 0 or example.x.size == 0:
            raise DataError(f"{source} has shape {example.x.shape}.", expected="an array of at least one number")
        is_text = example.y.dtype.kind == "U"
        if is_text and example.y.ndim:
            raise DataError(f"{source} has several names as its target.", expected="one name, or numbers")
        return cls(example.x.shape, example.x.dtype, example.y.shape, is_text)

    @property
    def stored(self) -> np.dtype[Any]:
        return self.dtype if self.dtype.name in STORED_AS_THEY_ARE else np.dtype(np.float32)

    def __str__(self) -> str:
        x = f"x of shape {self.shape} and type {self.dtype}"
        return f"{x}, y of shape {self.y_shape} that is {'text' if self.y_is_text else 'numbers'}"


@dataclass(frozen=True)
class _Read:
    """What was read of a function."""

    kind: _Kind
    spool: Spool

    def add(self, example: Example, source: str) -> None:
        found = _Kind.of(example, source)
        if found != self.kind:
            raise DataError(
                f"{source} has {found}.",
                expected=f"{self.kind}, as the first one",
                mend="give every example the same shape, and the same type with .astype",
            )
        if example.y.dtype.kind == "f" and not np.isfinite(example.y).all():
            raise DataError(f"The target of {source.lower()} is NaN or infinite.", expected="finite numbers")
        # A number takes less memory than an array of one.
        y = example.y if example.y.ndim else example.y.item()
        self.spool.add(example.x, y, group=example.group, source=source)
