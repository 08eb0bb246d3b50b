"""npz: one numpy archive with x_train, y_train, x_test and y_test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pipeline.data._arrays import ArraySource, Shape, check_finite, check_inputs
from pipeline.data._assemble import Examples
from pipeline.data._npz_reading import NpzArchive, open_npz
from pipeline.data._spool import Spool

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task


class Npz(ArraySource):
    """A numpy archive, read in pieces into a spool. Pickled object arrays are refused: they can run code."""

    path: Path = Field(description="The .npz file, relative to the recipe.")
    x_train: str = Field("x_train", description="Key of the training inputs, (n, ...).")
    y_train: str = Field("y_train", description="Key of the training targets, (n, ...).")
    x_test: str = Field("x_test", description="Key of the held-out inputs, (n, ...).")
    y_test: str = Field("y_test", description="Key of the held-out targets, (n, ...).")

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        with open_npz(self.path) as archive:
            train, train_shape = self._streamed(archive, self.x_train, self.y_train, "training")
            test, test_shape = self._streamed(archive, self.x_test, self.y_test, "test")
        origin = f"{self.path.name} (npz)"
        return self.assembled(train, test, (train_shape, test_shape), task, seed=seed, origin=origin)

    def _streamed(self, archive: NpzArchive, x: str, y: str, split: str) -> tuple[Examples, Shape]:
        """The examples of a split, and the shape of its inputs as they were stored, (n, ...)."""
        header, targets = archive.header(x), archive.whole(y)
        check_inputs(header.shape, header.dtype, len(targets), split)
        # Training reads 32 bits anyway.
        dtype = np.dtype(np.float32) if header.dtype.kind == "f" else header.dtype.newbyteorder("=")
        spool = Spool(self._shape(header.shape), dtype, self.divide_by)
        for chunk in archive.chunks(x):
            first = len(spool)
            with np.errstate(over="ignore"):
                stored = chunk.astype(dtype, copy=False)
            check_finite(stored, split, first)
            spool.extend(stored, targets[first : first + len(chunk)])
        return Examples.of(spool), header.shape
