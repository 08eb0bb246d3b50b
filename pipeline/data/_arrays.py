"""From raw arrays to a Dataset: what every source that holds its data in memory has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.data._assemble import Examples, Parts, SplitSource
from pipeline.data._spool import digest_of, is_finite
from pipeline.dataset import ArraySplit, Dataset
from pipeline.errors import DataError
from pipeline.task import Task

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class RawArrays:
    """Arrays as they were stored: inputs (n, ...) and targets (n, ...) of the two splits."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


class ArraySource(SplitSource):
    """What can be set for every source that gives arrays."""

    divide_by: float = Field(1.0, gt=0, description="Inputs are divided by this: 255 turns pixels into 0..1.")
    add_channel: bool = Field(False, description="Append a channel axis: (28, 28) images become (28, 28, 1).")

    def assemble(self, raw: RawArrays, task: Task, *, seed: int, origin: str) -> Dataset:
        """Check arrays that lie in memory and make a Dataset of them.

        Raises:
            DataError: what is wrong with which array.
        """
        train = self._examples(raw.x_train, raw.y_train, "training")
        test = self._examples(raw.x_test, raw.y_test, "test")
        return self.assembled(train, test, (raw.x_train.shape, raw.x_test.shape), task, seed=seed, origin=origin)

    def assembled(
        self, train: Examples, test: Examples, shapes: tuple[Shape, Shape], task: Task, *, seed: int, origin: str
    ) -> Dataset:
        """Make a Dataset of checked examples.

        Args:
            train, test: the examples.
            shapes: of the inputs of both as they were stored, (n, ...).
            task: what the targets mean.
            seed: fixes the validation split.
            origin: one line for the report.

        Raises:
            DataError: the two do not fit each other or the task.
        """
        train_shape, test_shape = (self._shape(shape) for shape in shapes)
        if train_shape != test_shape:
            raise DataError(
                f"Training examples have shape {train_shape}, test examples {test_shape}.", expected="one shape"
            )
        scaled = {"divide_by": self.divide_by}
        return self.dataset(Parts(train, test, train_shape, origin, preprocessing=scaled), task, seed=seed)

    def _shape(self, stored: Shape) -> Shape:
        """Of one example, from that of all of them, (n, ...)."""
        return (*stored[1:], 1) if self.add_channel else stored[1:]

    def _examples(self, x: Array, y: Array, split: str) -> Examples:
        check_inputs(x.shape, x.dtype, len(y), split)
        check_finite(x, split)
        shaped = x[..., np.newaxis] if self.add_channel else x
        return Examples(ArraySplit(shaped, y, self.divide_by), tuple(digest_of(each) for each in x))


def check_inputs(shape: Shape, dtype: np.dtype[Any], targets: int, split: str) -> None:
    """Refuse inputs that cannot be examples.

    Args:
        shape: of all inputs, (n, ...).
        dtype: their type.
        targets: how many targets there are.
        split: named in the message.

    Raises:
        DataError: what is wrong.
    """
    if shape[0] != targets:
        raise DataError(
            f"The {split} split has {shape[0]} inputs and {targets} targets.",
            expected="as many of one as of the other",
        )
    if shape[0] == 0 or 0 in shape:
        raise DataError(f"The {split} split is empty: its inputs have shape {shape}.", expected="at least one example")
    if dtype.kind not in "iuf":
        raise DataError(f"The inputs of the {split} split have type {dtype}.", expected="integers or floats")


def check_finite(x: Array, split: str, first: int = 0) -> None:
    """Refuse inputs (n, ...) that hold NaN or infinite numbers; `first` is the number of the first of them."""
    bad = np.flatnonzero(~is_finite(x))
    if len(bad):
        raise DataError(
            f"Inputs of the {split} split hold NaN or infinite numbers; the first is number {first + bad[0]}.",
            expected="finite numbers",
            mend="drop or repair these examples",
        )
