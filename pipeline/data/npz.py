"""npz: one numpy archive with x_train, y_train, x_test and y_test."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pipeline.data._arrays import Array, ArraySource, RawArrays
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task


class Npz(ArraySource):
    """A numpy archive. Pickled object arrays are refused: they can run code."""

    path: Path = Field(description="The .npz file, relative to the recipe.")
    x_train: str = Field("x_train", description="Key of the training inputs, (n, ...).")
    y_train: str = Field("y_train", description="Key of the training targets, (n, ...).")
    x_test: str = Field("x_test", description="Key of the held-out inputs, (n, ...).")
    y_test: str = Field("y_test", description="Key of the held-out targets, (n, ...).")

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        raw = RawArrays(*_read(self.path, (self.x_train, self.y_train, self.x_test, self.y_test)))
        return self.assemble(raw, task, seed=seed, origin=f"{self.path.name} (npz)")


def _read(path: Path, keys: tuple[str, ...]) -> list[Array]:
    try:
        # numpy leaves a file open that it opened itself and could not read.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds one bare array.", expected="an .npz archive of named arrays")
            with archive:
                return [_array(path, archive, key) for key in keys]
    except FileNotFoundError:
        raise DataError(
            f"There is no file {path}.",
            expected="an .npz archive",
            mend="set data.npz.path; it is relative to the recipe",
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read: {error}", expected="an .npz archive as numpy.savez writes it, without pickles"
        ) from error


def _array(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> Array:
    if key not in archive.files:
        raise DataError(
            f"{path} has no array '{key}'.",
            expected=f"one of its own: {', '.join(archive.files) or 'none'}",
            mend="name the arrays with data.npz.x_train, y_train, x_test and y_test",
        )
    try:
        array: Array = archive[key]
    except ValueError as error:
        raise DataError(
            f"The array '{key}' of {path} cannot be read: {error}",
            expected="numbers; pickled objects are refused because they can run code",
            mend="save it as a plain numeric array",
        ) from error
    if array.ndim == 0:
        raise DataError(f"The array '{key}' of {path} is a single number.", expected="one row an example, (n, ...)")
    return array
