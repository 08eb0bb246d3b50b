"""From raw arrays to a checked Dataset: what every source that holds its data in memory has in common."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.dataset import ArraySplit, Dataset, DataSource
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


class ArraySource(DataSource):
    """What can be set for every source that gives arrays."""

    divide_by: float = Field(1.0, gt=0, description="Inputs are divided by this: 255 turns pixels into 0..1.")
    add_channel: bool = Field(False, description="Append a channel axis: (28, 28) images become (28, 28, 1).")
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="Share of the training examples that is held out for choices."
    )

    def assemble(self, raw: RawArrays, task: Task, *, seed: int, origin: str) -> Dataset:
        """Check the arrays, hold out the validation split, and name it all by a fingerprint.

        Raises:
            DataError: what is wrong with which array.
        """
        x_train, y_train = self._checked(raw.x_train, raw.y_train, "training")
        x_test, y_test = self._checked(raw.x_test, raw.y_test, "test")
        if x_train.shape[1:] != x_test.shape[1:]:
            raise DataError(
                f"Training examples have shape {x_train.shape[1:]}, test examples {x_test.shape[1:]}.",
                expected="one shape",
            )
        y_train = task.check_targets(y_train, "training")
        num_outputs = task.num_outputs(y_train)
        y_test = task.check_targets(y_test, "test", num_outputs)
        train, validation = self._held_out(ArraySplit(x_train, y_train, self.divide_by), seed)
        return Dataset(
            task=task,
            train=train,
            validation=validation,
            test=ArraySplit(x_test, y_test, self.divide_by),
            input_shape=x_train.shape[1:],
            num_outputs=num_outputs,
            class_names=(),
            fingerprint=self._fingerprint(raw, task, seed),
            origin=origin,
        )

    def _checked(self, x: Array, y: Array, split: str) -> tuple[Array, Array]:
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
        return (x[..., np.newaxis] if self.add_channel else x), y

    def _held_out(self, split: ArraySplit, seed: int) -> tuple[ArraySplit, ArraySplit]:
        count = max(1, round(split.size * self.validation_fraction))
        if count >= split.size:
            raise DataError(
                f"{split.size} training examples leave none to train on once {count} are held out for validation.",
                expected="more examples, or a smaller data.validation_fraction",
            )
        order = np.random.default_rng(seed).permutation(split.size)
        return split.take(np.sort(order[count:])), split.take(np.sort(order[:count]))

    def _fingerprint(self, raw: RawArrays, task: Task, seed: int) -> str:
        settings = self.model_dump_json(exclude={"path"}) + task.model_dump_json()
        digest = hashlib.sha256(f"{type(self).__module__} {settings} {seed}".encode())
        for array in (raw.x_train, raw.y_train, raw.x_test, raw.y_test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


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
