"""A spool: examples on the disk instead of in memory, written one by one and read in any order."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Batch
from pipeline.errors import DataError, StorageError

DIGEST_BYTES = 16


def digest_of(x: NDArray[Any]) -> bytes:
    """What names the content of one example."""
    return hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True)
class SpooledSplit:
    """A split whose inputs lie in a file; only the batch that is read is in memory.

    Attributes:
        file: the stored inputs, one after another; it has no name any more and goes when the last split is closed.
        dtype: of a stored number.
        shape: of one stored example.
        places: which of the stored examples this split holds, in its order, (n,).
        y: its targets, (n, ...).
        divide_by: what inputs are divided by on their way out.
        subtract: what is subtracted from them before that.
    """

    file: IO[bytes]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    places: NDArray[np.int64]
    y: NDArray[Any]
    divide_by: float = 1.0
    subtract: float = 0.0

    @property
    def size(self) -> int:
        return len(self.places)

    def targets(self) -> NDArray[Any]:
        return self.y

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for start in range(0, self.size, batch_size):
            part = np.arange(start, min(start + batch_size, self.size))
            yield self._read(part), self.y[part]

    def shuffled(self, batch_size: int, seed: int) -> Any:
        return self._indexed(lambda order: order.shuffle(self.size, seed=seed), batch_size)

    def ordered(self, batch_size: int) -> Any:
        return self._indexed(lambda order: order, batch_size)

    def take(self, indices: NDArray[np.int64]) -> SpooledSplit:
        return replace(self, places=self.places[indices], y=self.y[indices])

    def with_targets(self, y: NDArray[Any]) -> SpooledSplit:
        return replace(self, y=y)

    def _read(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Inputs at these places of the split, (b, *shape) float32."""
        # Opened anew for every batch: pages of a mapping that stays would count as ours for good.
        stored = np.memmap(self.file, self.dtype, "r", shape=(self._stored(), *self.shape))
        read: NDArray[np.float32] = stored[self.places[indices]].astype(np.float32)
        read -= np.float32(self.subtract)
        read /= np.float32(self.divide_by)
        return read

    def _stored(self) -> int:
        return int(self.places.max()) + 1

    def _indexed(self, arrange: Any, batch_size: int) -> Any:
        from pipeline._tf import tf

        y = tf.constant(self.y)

        def gather(places: Any) -> Any:
            x = tf.numpy_function(self._read, [places], tf.float32)
            return tf.ensure_shape(x, (None, *self.shape)), tf.gather(y, places)

        order = arrange(tf.data.Dataset.range(self.size)).batch(batch_size)
        return order.map(gather, num_parallel_calls=2, deterministic=True).prefetch(2)


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
        # It has no name in the file system: nothing is left behind, however the process ends.
        self._file = tempfile.TemporaryFile(prefix="edgesmith-spool-")  # noqa: SIM115 - lives as long as the splits

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
        stored = np.ascontiguousarray(x, self.dtype)
        if stored.shape != self.shape:
            raise DataError(f"{source} has shape {stored.shape}.", expected=f"{self.shape}, as the others have")
        if stored.dtype.kind == "f" and not np.isfinite(stored).all():
            raise DataError(
                f"{source} holds NaN or infinite numbers.", expected="finite numbers", mend="drop or repair it"
            )
        try:
            self._file.write(stored.data)
        except OSError as error:
            raise StorageError(
                f"The temporary folder {tempfile.gettempdir()} cannot hold the examples: {error.strerror}.",
                expected="room for every example as it is stored",
                mend="set TMPDIR to a folder on a larger disk",
            ) from error
        self.y.append(y)
        self.digests.append(digest_of(stored))
        self.groups.append(group)

    def __len__(self) -> int:
        return len(self.y)

    def split(self) -> SpooledSplit:
        """All examples that were added, in their order. Nothing can be added any more."""
        self._file.flush()
        return SpooledSplit(
            self._file,
            np.dtype(self.dtype),
            self.shape,
            np.arange(len(self.y)),
            np.asarray(self.y),
            self.divide_by,
        )
