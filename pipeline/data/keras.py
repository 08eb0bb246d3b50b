"""keras: a data set that Keras brings itself (mnist, fashion_mnist, cifar10, cifar100)."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from pipeline.data._arrays import ArraySource, RawArrays
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task


class KerasData(ArraySource):
    """Downloaded by Keras at first use into its own folder, ~/.keras."""

    name: Literal["mnist", "fashion_mnist", "cifar10", "cifar100"] = Field(description="Which data set.")

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        from pipeline._tf import keras

        progress.note(f"loading {self.name} by Keras")
        try:
            # Keras prints its downloads; stdout is for data.
            with contextlib.redirect_stdout(sys.stderr):
                (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, self.name).load_data()
        except Exception as error:  # Keras raises bare Exception when a download fails
            raise DataError(
                f"Keras could not bring the data set {self.name}: {error}",
                expected="a connection at first use, or the files in Keras' own folder",
                mend="connect once, or save the arrays in an .npz and use the source npz",
            ) from error
        raw = RawArrays(x_train, np.ravel(y_train), x_test, np.ravel(y_test))
        return self.assemble(raw, task, seed=seed, origin=f"{self.name} (Keras)")
