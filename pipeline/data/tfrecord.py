"""tfrecord: TFRecord files of tf.train.Example, with one feature for the input and one for the target."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.data._archive import UnreadableError
from pipeline.data._assemble import Examples, Parts, SplitSource, cut_test
from pipeline.data._image_decoding import CHANNELS, MAX_SIDE, ImageShape, Resize
from pipeline.data._spool import Spool
from pipeline.data._tfrecord_reading import Compression, Record, count_records, files_at, records
from pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task

Side = Annotated[int, Field(ge=1)]


class TfRecord(SplitSource):
    """Every record is one example. Files may be named one by one, as a folder, or by a pattern (`train-*.tfrecord`)."""

    places: ClassVar[frozenset[str]] = frozenset(("train", "validation", "test"))

    train: Path = Field(description="Training files: a file, a folder or a pattern, relative to the recipe.")
    validation: Path | None = Field(None, description="Validation files; default: cut from the training examples.")
    test: Path | None = Field(None, description="Held-out files; default: cut from the training examples.")
    compression: Compression = Field("none", description="How the files are packed.")
    x: str = Field("image", description="The feature that is the input.")
    x_kind: Literal["encoded_image", "raw_uint8", "float", "int"] = Field(
        "encoded_image",
        description="How it is stored: the bytes of an image file, the bytes of uint8 numbers, a list of floats, or a "
        "list of integers.",
    )
    x_shape: tuple[Side, ...] = Field(description="Shape of an input, (height, width, channels) for images.")
    resize: Resize = Field("stretch", description="How encoded images come to their shape.")
    y: str = Field("label", description="The feature that is the target: integers or floats.")
    divide_by: float = Field(1.0, gt=0, description="Inputs are divided by this: 255 turns pixels into 0..1.")
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of each class that becomes the test split where no test files are named."
    )

    @model_validator(mode="after")
    def _images_have_a_shape(self) -> Self:
        sizes_fit = len(self.x_shape) == 3 and self.x_shape[2] in CHANNELS.values() and max(self.x_shape) <= MAX_SIDE
        if self.x_kind == "encoded_image" and not sizes_fit:
            raise ValueError(f"x_shape must be (height, width, 1 or 3) for encoded images, up to {MAX_SIDE} a side")
        return self

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        train = self._read(self.train, progress)
        validation = None if self.validation is None else self._read(self.validation, progress)
        train, test = (
            cut_test(train, self.test_fraction) if self.test is None else (train, self._read(self.test, progress))
        )
        origin = f"{self.train.name} (tfrecord)"
        parts = Parts(train, test, self.x_shape, origin, validation=validation, preprocessing=self._described())
        return self.dataset(parts, task, seed=seed)

    def _read(self, place: Path, progress: Progress) -> Examples:
        """All records of the files at a place."""
        files = files_at(place)
        total = sum(count_records(path, self.compression) for path in files)
        if not total:
            raise DataError(f"{place} holds no records.", expected="at least one example")
        spool = Spool(self.x_shape, np.float32 if self.x_kind in ("float", "int") else np.uint8, self.divide_by)
        with progress.bar(f"reading {place.name}", total) as bar:
            for path in files:
                for record in records(path, self.compression):
                    self._add(spool, record)
                    bar.advance()
        return Examples.of(spool)

    def _add(self, spool: Spool, record: Record) -> None:
        y = self._target(record)
        if len(spool) and y.shape != spool.y[0].shape:
            raise DataError(
                f"The target of {record.source} has shape {y.shape}.",
                expected=f"{spool.y[0].shape}, as the others have",
            )
        spool.add(self._input(record), y, source=record.source)

    def _input(self, record: Record) -> NDArray[Any]:
        values = record.feature(self.x)
        is_bytes = isinstance(values, list)
        if is_bytes != (self.x_kind in ("encoded_image", "raw_uint8")):
            raise DataError(
                f"The feature '{self.x}' of {record.source} holds {'bytes' if is_bytes else 'numbers'}.",
                expected=f"what x_kind says: {self.x_kind}",
            )
        return self._from_bytes(values, record) if isinstance(values, list) else self._shaped(values, record)

    def _from_bytes(self, values: list[bytes], record: Record) -> NDArray[Any]:
        if len(values) != 1:
            raise DataError(
                f"The feature '{self.x}' of {record.source} has {len(values)} values.", expected="one string of bytes"
            )
        if self.x_kind == "raw_uint8":
            return self._shaped(np.frombuffer(values[0], np.uint8), record)
        height, width, channels = self.x_shape
        try:
            return ImageShape(height, width, channels, self.resize).decode(values[0])
        except UnreadableError as error:
            raise DataError(
                f"The image of {record.source} {error}.", expected="an image", mend="write the file anew"
            ) from error

    def _shaped(self, values: NDArray[Any], record: Record) -> NDArray[Any]:
        if values.size != math.prod(self.x_shape):
            raise DataError(
                f"The feature '{self.x}' of {record.source} has {values.size} numbers.",
                expected=f"{math.prod(self.x_shape)}, for x_shape {self.x_shape}",
            )
        return values.reshape(self.x_shape)

    def _target(self, record: Record) -> NDArray[Any]:
        """A number, or (n,) where the feature has several."""
        values = record.feature(self.y)
        if isinstance(values, list) or not values.size:
            found = "bytes" if isinstance(values, list) else "nothing"
            raise DataError(
                f"The feature '{self.y}' of {record.source} holds {found}.",
                expected="integers or floats",
                mend="store classes as integers from 0",
            )
        return values if values.size > 1 else values[0]

    def _described(self) -> dict[str, Any]:
        if self.x_kind == "encoded_image":
            height, width, channels = self.x_shape
            return ImageShape(height, width, channels, self.resize).preprocessing(self.divide_by)
        return {"divide_by": self.divide_by}
