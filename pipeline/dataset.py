"""Dataset: real data in three splits that never overlap, as numpy for checking and tf.data for training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.augment import Augment
from pipeline.settings import Settings
from pipeline.task import Task

if TYPE_CHECKING:
    from pipeline.progress import Progress

Batch = tuple[NDArray[np.float32], NDArray[Any]]


class Split(Protocol):
    """A part of the data: `size` examples, as float32 inputs in the units that the model sees."""

    @property
    def size(self) -> int:
        """How many examples."""

    def targets(self) -> NDArray[Any]:
        """All targets in order, (n, ...)."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Examples in order, as numpy: x (b, ...) float32 and y (b, ...). Imports no TensorFlow."""

    def shuffled(self, batch_size: int, seed: int) -> Any:
        """A `tf.data.Dataset` of (x, y), shuffled anew each epoch in an order that `seed` fixes."""

    def ordered(self, batch_size: int) -> Any:
        """A `tf.data.Dataset` of (x, y) in order."""

    def take(self, indices: NDArray[np.int64]) -> Split:
        """The examples at these places, in this order."""

    def with_targets(self, y: NDArray[Any]) -> Split:
        """The same inputs with other targets, (n, ...)."""


@dataclass(frozen=True)
class ArraySplit:
    """A split that lies in memory, in the type it was stored in; scaled only as it is read.

    Attributes:
        x: inputs as stored, (n, ...).
        y: targets, (n, ...).
        divide_by: what inputs are divided by on their way out (255 turns pixels into 0..1).
    """

    x: NDArray[Any]
    y: NDArray[Any]
    divide_by: float = 1.0

    @property
    def size(self) -> int:
        return len(self.x)

    def targets(self) -> NDArray[Any]:
        return self.y

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, self.size, batch_size):
            part = slice(start, start + batch_size)
            yield self.x[part].astype(np.float32) / np.float32(self.divide_by), self.y[part]

    def shuffled(self, batch_size: int, seed: int) -> Any:
        return self._indexed(lambda order: order.shuffle(self.size, seed=seed), batch_size)

    def ordered(self, batch_size: int) -> Any:
        return self._indexed(lambda order: order, batch_size)

    def take(self, indices: NDArray[np.int64]) -> ArraySplit:
        return ArraySplit(self.x[indices], self.y[indices], self.divide_by)

    def with_targets(self, y: NDArray[Any]) -> ArraySplit:
        return ArraySplit(self.x, y, self.divide_by)

    def _indexed(self, arrange: Any, batch_size: int) -> Any:
        # Shuffling places instead of images keeps the shuffle buffer at 8 bytes an example.
        from pipeline._tf import tf

        x, y, scale = tf.constant(self.x), tf.constant(self.y), np.float32(self.divide_by)

        def gather(places: Any) -> Any:
            return tf.cast(tf.gather(x, places), tf.float32) / scale, tf.gather(y, places)

        order = arrange(tf.data.Dataset.range(self.size)).batch(batch_size)
        return order.map(gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


@dataclass(frozen=True)
class Dataset:
    """Real data for one run.

    Attributes:
        task: what the targets mean.
        train, validation, test: the splits. Choices are made on `validation`; `test` is only looked at to report.
        input_shape: of one example, without batch, (28, 28, 1).
        num_outputs: size of the model's last layer.
        class_names: what people call the outputs, or empty.
        fingerprint: hash of the content and of all that shaped it; part of every cache key.
        origin: one line for the report.
        augment: how training inputs are varied, or None.
        preprocessing: what was done to a raw recording to make it an input; the device must do the same. JSON-ready.
        notes: what people should know of it, a sentence each: files that were skipped, examples that were dropped.
    """

    task: Task
    train: Split
    validation: Split
    test: Split
    input_shape: tuple[int, ...]
    num_outputs: int
    class_names: tuple[str, ...]
    fingerprint: str
    origin: str
    augment: Augment | None = None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def training_batches(self, batch_size: int, seed: int) -> Any:
        """The training split as a `tf.data.Dataset` of (x, what the model is trained towards), shuffled and varied."""
        batches = self.train.shuffled(batch_size, seed)
        if self.augment is not None:
            batches = self.augment.over(batches, self.input_shape, seed)
        return self._towards(batches)

    def validation_batches(self, batch_size: int) -> Any:
        """The validation split in order, never varied, as a `tf.data.Dataset` of (x, training target)."""
        return self._towards(self.validation.ordered(batch_size))

    def _towards(self, batches: Any) -> Any:
        return batches.map(lambda x, y: (x, self.task.training_target(x, y)))

    def describe(self) -> dict[str, Any]:
        """The data's facts for the report."""
        sizes = {"train": self.train.size, "validation": self.validation.size, "test": self.test.size}
        return {
            "origin": self.origin,
            "task": {self.task.task_name(): self.task.model_dump(mode="json")},
            "splits": sizes,
            "fingerprint": self.fingerprint,
            "class_names": list(self.class_names),
            "preprocessing": self.preprocessing,
            "notes": list(self.notes),
        }

    def calibration(self, samples: int, seed: int) -> NDArray[np.float32]:
        """Training inputs for calibration, balanced over the classes, (samples, ...) float32.

        With targets that are not classes, the examples are drawn evenly.
        """
        y = self.train.targets()
        rng = np.random.default_rng(seed)
        places = _balanced(y, samples, rng) if y.dtype.kind in "iu" and y.ndim == 1 else rng.permutation(len(y))
        chosen = self.train.take(np.sort(places[:samples]))
        return np.concatenate([x for x, _ in chosen.batches(256)])


class DataSource(Settings, ABC):
    """A kind of data that a recipe can name: its fields are its settings; `load` reads it."""

    augment: Augment | None = Field(None, description="How training inputs are varied, anew in every epoch.")

    @abstractmethod
    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        """Read and check the data.

        Args:
            task: what the targets mean; it checks them.
            seed: fixes the split into training and validation.
            progress: told when reading takes long.

        Raises:
            DataError: the data is missing, unsafe or not what the settings say.
        """


def _balanced(y: NDArray[Any], samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places that take one of each class in turn, until `samples` are reached."""
    queues = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
    longest = max(len(queue) for queue in queues)
    rounds = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return np.asarray(rounds[:samples], dtype=np.int64)
