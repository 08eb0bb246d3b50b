"""From raw arrays to a Dataset: what every source that holds its data in memory has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.data._assemble import Examples, Parts, SplitSource
from pipeline.data._spool import digest_of
from pipeline.dataset import ArraySplit, Dataset
from pipeline.errors import DataError
from pipeline.task import Task

Array = NDArray[Any]


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
        """Check the arrays and make a Dataset of them.

        Raises:
            DataError: what is wrong with which array.
        """
        train = self._examples(raw.x_train, raw.y_train, "training")
        test = self._examples(raw.x_test, raw.y_test, "test")
        shapes = [self._shape(x) for x in (raw.x_train, raw.x_test)]
        if shapes[0] != shapes[1]:
            raise DataError(
                f"Training examples have shape {shapes[0]}, test examples {shapes[1]}.", expected="one shape"
            )
        scaled = {"divide_by": self.divide_by}
        return self.dataset(Parts(train, test, shapes[0], origin, preprocessing=scaled), task, seed=seed)

    def _shape(self, x: Array) -> tuple[int, ...]:
        return (*x.shape[1:], 1) if self.add_channel else x.shape[1:]

    def _examples(self, x: Array, y: Array, split: str) -> Examples:
        if len(x) != len(y):
            raise DataError(
                f"The {split} split has {len(x)} inputs and {len(y)} targets.",
                expected="as many of one as of the other",
            )
        if len(x) == 0:
            raise DataError(f"The {split} split is empty.", expected="at least one example")
        if x.dtype.kind not in "iuf":
            raise DataError(f"The inputs of the {split} split have type {x.dtype}.", expected="integers or floats")
        _check_finite(x, split)
        shaped = x[..., np.newaxis] if self.add_channel else x
        return Examples(ArraySplit(shaped, y, self.divide_by), tuple(digest_of(each) for each in x))


def _check_finite(x: Array, split: str) -> None:
    if x.dtype.kind != "f":
        return
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if len(bad):
        raise DataError(
            f"{len(bad)} inputs of the {split} split hold NaN or infinite numbers; the first is number {bad[0]}.",
            expected="finite numbers",
            mend="drop or repair these examples",
        )
