"""tfds: a data set of TensorFlow Datasets; needs the extra `edgesmith[tfds]`."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline.data._archive import UnreadableError
from pipeline.data._assemble import Examples, Parts, SplitSource, cut_test
from pipeline.data._image_decoding import ImageShape, Resize, Side
from pipeline.data._spool import Spool
from pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task


class Tfds(SplitSource):
    """One feature is the input, one the target; most data sets say themselves which (their supervised keys)."""

    places: ClassVar[frozenset[str]] = frozenset(("data_dir",))

    # Names of data sets in other people's repositories ("owner:name") would run their code.
    name: str = Field(
        pattern=r"^\w+(/[\w.-]+)?(:\d[\w.*]*)?$",
        description="The data set, 'mnist', 'coil100/default' or 'mnist:3.0.1'.",
    )
    data_dir: Path | None = Field(
        None, description="Where it lies or is downloaded to, relative to the recipe; default: ~/tensorflow_datasets."
    )
    download: bool = Field(True, description="Whether tfds may download it; false takes only what lies in data_dir.")
    x: str | None = Field(None, description="The feature that is the input; default: what the data set says.")
    y: str | None = Field(None, description="The feature that is the target; default: what the data set says.")
    train: str = Field("train", description="The training split, in the notation of tfds: 'train[:80%]'.")
    validation: str | None = Field(None, description="The validation split; default: cut from the training examples.")
    test: str | None = Field("test", description="The held-out split; null cuts it from the training examples.")
    test_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of each class that becomes the test split where test is null."
    )
    size: tuple[Side, Side] | None = Field(
        None, description="Height and width that images are brought to; needed where they differ."
    )
    resize: Resize = Field("stretch", description="Stretch to the size, or scale to cover it and crop the middle.")
    divide_by: float = Field(1.0, gt=0, description="Inputs are divided by this: 255 turns pixels into 0..1.")

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        tfds = _tfds()
        progress.note(f"loading {self.name} by TensorFlow Datasets")
        builder = self._prepared(tfds)
        keys = self._keys(builder)
        train = self._read(builder, self.train, keys, progress)
        validation = None if self.validation is None else self._read(builder, self.validation, keys, progress)
        if self.test is None:
            train, test = cut_test(train, self.test_fraction)
        else:
            test = self._read(builder, self.test, keys, progress)
        parts = Parts(
            train,
            test,
            next(train.split.batches(1))[0].shape[1:],
            f"{builder.info.full_name} (tfds)",
            validation=validation,
            class_names=tuple(getattr(builder.info.features[keys[1]], "names", None) or ()),
            preprocessing={"divide_by": self.divide_by, "size": self.size, "resize": self.resize},
        )
        return self.dataset(parts, task, seed=seed)

    def _prepared(self, tfds: Any) -> Any:
        """The builder of the data set, with its files in place."""
        try:
            # Its progress bars and tips go where ours go; stdout is for data.
            with contextlib.redirect_stdout(sys.stderr):
                builder = tfds.builder(self.name, data_dir=self.data_dir, try_gcs=False)
                if self.download:
                    builder.download_and_prepare()
        except Exception as error:  # tfds lets errors of many libraries out
            raise DataError(
                f"TensorFlow Datasets could not bring '{self.name}': {_first_line(error)}",
                expected="a data set that it knows, and a connection at first use, or its files in data_dir",
                mend="check the name; connect once, or set data.tfds.data_dir to where the files lie",
            ) from error
        return builder

    def _keys(self, builder: Any) -> tuple[str, str]:
        """The names of the features that are the input and the target."""
        own = builder.info.supervised_keys or ("", "")
        x, y = self.x or own[0], self.y or own[1]
        known = list(builder.info.features)
        if x not in known or y not in known:
            raise DataError(
                f"'{x}' and '{y}' are not both features of {self.name}.",
                expected=f"two of its own: {', '.join(known)}",
                mend="set data.tfds.x to the input and data.tfds.y to the target",
            )
        return x, y

    def _read(self, builder: Any, split: str, keys: tuple[str, str], progress: Progress) -> Examples:
        """All examples of one split."""
        spool = None
        for number, (x, y) in enumerate(self._stored(builder, split, keys, progress)):
            source = f"example {number} of {split}"
            pixels = self._input(x, source)
            if spool is None:
                spool = Spool(pixels.shape, np.uint8 if pixels.dtype == np.uint8 else np.float32, self.divide_by)
            spool.add(pixels, y, source=source)
        if spool is None:
            raise DataError(f"The split '{split}' of {self.name} is empty.", expected="at least one example")
        return Examples.of(spool)

    def _stored(self, builder: Any, split: str, keys: tuple[str, str], progress: Progress) -> Iterator[tuple[Any, Any]]:
        """Inputs and targets of one split, in the order of its files."""
        try:
            examples = builder.as_dataset(split=split, shuffle_files=False)
            pairs = examples.map(lambda example: tuple(example[key] for key in keys))
            with progress.bar(f"reading {split}", len(examples)) as bar:
                for pair in pairs.as_numpy_iterator():
                    yield pair
                    bar.advance()
        except DataError:
            raise
        except Exception as error:  # of tfds for a wrong split, of TensorFlow for a damaged file
            raise DataError(
                f"The split '{split}' of {self.name} cannot be read: {_first_line(error)}",
                expected=f"one of its own, in whole files: {', '.join(builder.info.splits) or 'none'}",
                mend="set data.tfds.train and data.tfds.test; with download: false, set data_dir to where it lies",
            ) from error

    def _input(self, x: Any, source: str) -> NDArray[Any]:
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "iuf" or not x.ndim:
            raise DataError(
                f"The input of {source} in {self.name} is no array of numbers.",
                expected="images, sounds or other numbers",
            )
        if self.size is None:
            return x
        if x.dtype != np.uint8 or x.ndim != 3:
            raise DataError(
                f"The input of {source} has shape {x.shape} and type {x.dtype}.",
                expected="an image of uint8, which size asks for",
                mend="leave size out",
            )
        try:
            return ImageShape(*self.size, x.shape[2], self.resize).of_pixels(x)
        except UnreadableError as error:
            raise DataError(f"The input of {source} {error}.", expected="an image") from error


def _tfds() -> Any:
    from pipeline._tf import quiet_stderr

    try:
        with quiet_stderr():
            import tensorflow_datasets
    except ImportError as error:
        raise DataError(
            f"TensorFlow Datasets cannot be imported: {error}.",
            expected="the package tensorflow-datasets",
            mend="pip install 'edgesmith[tfds]'",
        ) from error
    tensorflow_datasets.disable_progress_bar()
    # Each try of a download that fails would be a line of warning.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return tensorflow_datasets


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
