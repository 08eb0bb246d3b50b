"""A spool: examples on the disk instead of in memory, written one by one and read in any order."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Batch
from pipeline.errors import DataError, StorageError

DIGEST_BYTES = 16


def digest_of(x: NDArray[Any]) -> bytes:
    """What names the content of one example."""
    return hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=DIGEST_BYTES).digest()


def is_finite(x: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the rows of `x` (n, ...) hold finite numbers only, (n,)."""
    if x.dtype.kind != "f":
        return np.ones(len(x), bool)
    finite: NDArray[np.bool_] = np.isfinite(x).reshape(len(x), -1).all(axis=1)
    return finite


class _Store:
    """An open file without a name: nothing is left behind, however the process ends. Closed with its last user."""

    def __init__(self) -> None:
        with _told_as_storage_error(), tempfile.TemporaryFile(prefix="edgesmith-spool-") as file:
            self._descriptor = os.dup(file.fileno())

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            os.close(self._descriptor)

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows behind those that are there."""
        left = rows.data.cast("B")
        with _told_as_storage_error():
            while left:
                left = left[os.write(self._descriptor, left) :]

    def rows(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """All rows, (n, *shape), read from the disk as they are touched."""
        # Mapped anew for every batch: pages of a mapping that stays would count as ours for good.
        mapped = mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, dtype).reshape(-1, *shape)


@dataclass(frozen=True)
class SpooledSplit:
    """A split whose inputs lie in a file; only the batch that is read is in memory.

    Attributes:
        store: the stored inputs, one after another.
        dtype: of a stored number.
        shape: of one stored example.
        places: which of the stored examples this split holds, in its order, (n,).
        y: its targets, (n, ...).
        divide_by: what inputs are divided by on their way out: a number, or one for each channel (the last axis).
        subtract: what is subtracted from them before that, likewise.
    """

    store: _Store
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    places: NDArray[np.int64]
    y: NDArray[Any]
    divide_by: float | NDArray[np.float32] = 1.0
    subtract: float | NDArray[np.float32] = 0.0

    @property
    def size(self) -> int:
        return len(self.places)

    def targets(self) -> NDArray[Any]:
        return self.y

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, self.size, batch_size):
            part = np.arange(start, min(start + batch_size, self.size))
            x = self._stored(part).astype(np.float32)
            x -= np.asarray(self.subtract, np.float32)
            x /= np.asarray(self.divide_by, np.float32)
            yield x, self.y[part]

    def shuffled(self, batch_size: int, seed: int) -> Any:
        return self._indexed(lambda order: order.shuffle(self.size, seed=seed), batch_size)

    def ordered(self, batch_size: int) -> Any:
        return self._indexed(lambda order: order, batch_size)

    def take(self, indices: NDArray[np.int64]) -> SpooledSplit:
        return replace(self, places=self.places[indices], y=self.y[indices])

    def with_targets(self, y: NDArray[Any]) -> SpooledSplit:
        return replace(self, y=y)

    def _stored(self, indices: NDArray[np.int64]) -> NDArray[Any]:
        """Inputs at these places of the split as they are stored, (b, *shape)."""
        stored: NDArray[Any] = self.store.rows(self.dtype, self.shape)[self.places[indices]]
        return stored

    def _indexed(self, arrange: Any, batch_size: int) -> Any:
        from pipeline._tf import tf

        y, subtract, divide_by = (
            tf.constant(self.y),
            np.asarray(self.subtract, np.float32),
            np.asarray(self.divide_by, np.float32),
        )

        def gather(places: Any) -> Any:
            # Only the reading holds up Python; the arithmetic is TensorFlow's.
            x = tf.numpy_function(self._stored, [places], self.dtype)
            x = (tf.cast(tf.ensure_shape(x, (None, *self.shape)), tf.float32) - subtract) / divide_by
            return x, tf.gather(y, places)

        order = arrange(tf.data.Dataset.range(self.size)).batch(batch_size)
        # Asked for several calls at once, TensorFlow makes one of them where training must repeat, and complains.
        return order.map(gather).prefetch(2)


@dataclass
class Spool:
    """Takes examples one by one and keeps no more than one of them in memory.

    Args:
        shape: of every example; another one is an error.
        dtype: numbers are stored as this type: uint8 for pixels keeps the file small.
        divide_by: what inputs are divided by when they are read.
    """

    shape: tuple[int, ...]
    dtype: Any
    divide_by: float = 1.0
    y: list[Any] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._store = _Store()

    def add(self, x: NDArray[Any], y: Any, *, group: str = "", source: str) -> None:
        """Append one example.

        Args:
            x: the input, `shape`.
            y: its target: a number or an array.
            group: who or what it stems from (a person, a recording), for splits that must not share one.
            source: names it in messages: a file, a row.

        Raises:
            DataError: it has another shape, or holds numbers that are not finite.
            StorageError: the temporary folder is full.
        """
        # What is too large for the stored type becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(x, self.dtype)
        if stored.shape != self.shape:
            raise DataError(f"{source} has shape {stored.shape}.", expected=f"{self.shape}, as the others have")
        if not is_finite(stored[np.newaxis]).all():
            raise DataError(
                f"{source} holds NaN or infinite numbers.", expected="finite numbers", mend="drop or repair it"
            )
        self.extend(stored[np.newaxis], [y], [group])

    def extend(self, x: NDArray[Any], y: Iterable[Any], groups: Sequence[str] = ()) -> None:
        """Append examples that have been checked already.

        Args:
            x: the inputs, (n, *shape), finite.
            y: their n targets.
            groups: who or what each stems from, or nothing.

        Raises:
            StorageError: the temporary folder is full.
        """
        stored = np.ascontiguousarray(x, self.dtype)
        self._store.append(stored)
        self.y.extend(y)
        self.digests.extend(digest_of(each) for each in stored)
        self.groups.extend(groups or [""] * len(stored))

    def __len__(self) -> int:
        return len(self.y)

    def split(self) -> SpooledSplit:
        """All examples that were added, in their order. Nothing can be added any more."""
        return SpooledSplit(
            self._store,
            np.dtype(self.dtype),
            self.shape,
            np.arange(len(self.y)),
            np.asarray(self.y),
            self.divide_by,
        )


@contextlib.contextmanager
def _told_as_storage_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The temporary folder {tempfile.gettempdir()} cannot hold the examples: {error.strerror}.",
            expected="room for every example as it is stored",
            mend="set TMPDIR to a folder on a larger disk",
        ) from error
