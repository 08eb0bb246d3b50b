"""The records of TFRecord files, one at a time, with the file and number of the first that is damaged."""

from __future__ import annotations

import contextlib
import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data._archive import MAX_FILE_BYTES
from pipeline.errors import DataError

Compression = Literal["none", "gzip"]

_LENGTH = struct.Struct("<Q")
_CRC_BYTES = 4
_PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Record:
    """One `tf.train.Example`.

    Attributes:
        source: file and number, for messages.
        example: the parsed message.
    """

    source: str
    example: Any

    def feature(self, name: str) -> NDArray[Any] | list[bytes]:
        """The values of a feature: int64 or float32, (n,), or a list of bytes.

        Raises:
            DataError: there is none.
        """
        features = self.example.features.feature
        if name not in features:
            raise DataError(
                f"{self.source} has no feature '{name}'.",
                expected=f"one of its own: {', '.join(sorted(features)) or 'none'}",
                mend="name the features with data.tfrecord.x and data.tfrecord.y",
            )
        feature = features[name]
        if feature.WhichOneof("kind") == "bytes_list":
            return list(feature.bytes_list.value)
        if feature.WhichOneof("kind") == "float_list":
            return np.array(feature.float_list.value, np.float32)
        return np.array(feature.int64_list.value, np.int64)


def files_at(place: Path) -> list[Path]:
    """The files that a path names: itself, those of a folder, or those that a glob finds; sorted.

    Raises:
        DataError: there is none.
    """
    if place.is_dir():
        found = [path for path in place.iterdir() if path.is_file() and not path.name.startswith(".")]
    elif place.exists():
        found = [place]
    else:
        # Only the last parts may be a pattern: the folder of the recipe is a name as it is.
        found = [path for path in place.parent.glob(place.name) if path.is_file()]
    if not found:
        raise DataError(
            f"There is no file {place}.",
            expected="a TFRecord file, a folder of them, or a pattern such as train-*.tfrecord",
            mend="set its path; it is relative to the recipe",
        )
    return sorted(found)


def count_records(path: Path, compression: Compression) -> int:
    """How many records a file has, by their lengths alone.

    TensorFlow makes room for a record before it reads it, and a damaged length would end the process: no file reaches
    it before this.

    Raises:
        DataError: a record goes beyond the end of the file, or is larger than any example.
    """
    count = 0
    with _told_as_data_error(path, compression), _opened(path, compression) as stream:
        while head := stream.read(_LENGTH.size):
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else MAX_FILE_BYTES + 1
            if size > MAX_FILE_BYTES or not _skip(stream, _CRC_BYTES + size + _CRC_BYTES):
                raise DataError(
                    f"Record {count} of {path} is damaged: it goes beyond the end of the file, or is too large.",
                    expected=f"whole records of up to {MAX_FILE_BYTES} bytes, as TFRecordWriter writes them",
                    mend="write the file anew; set compression if it is packed",
                )
            count += 1
    return count


def records(path: Path, compression: Compression) -> Iterator[Record]:
    """The records of a file that `count_records` has passed, in order.

    Raises:
        DataError: a checksum is wrong, or a record is no `tf.train.Example`.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types

    from pipeline._tf import tf

    number = 0
    try:
        packed = "" if compression == "none" else "GZIP"
        for content in tf.data.TFRecordDataset([str(path)], compression_type=packed).as_numpy_iterator():
            yield Record(f"record {number} of {path}", tf.train.Example.FromString(content))
            number += 1
    except (tf.errors.OpError, DecodeError) as error:
        raise DataError(
            f"Record {number} of {path} is damaged: {_first_line(error)}.",
            expected="a tf.train.Example with right checksums",
            mend="write the file anew",
        ) from error


def _opened(path: Path, compression: Compression) -> Any:
    return path.open("rb") if compression == "none" else gzip.open(path, "rb")


def _skip(stream: IO[bytes], count: int) -> bool:
    """Go on by so many bytes; False where the file ends before that."""
    while count:
        piece = stream.read(min(count, _PIECE_BYTES))
        if not piece:
            return False
        count -= len(piece)
    return True


@contextlib.contextmanager
def _told_as_data_error(path: Path, compression: Compression) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected="TFRecords" if compression == "none" else "TFRecords packed by gzip",
            mend="set data.tfrecord.compression as the file was written",
        ) from error


def _first_line(error: Exception) -> str:
    """What happened, without TensorFlow's names for the place in its own graph."""
    text = str(getattr(error, "message", "") or error).split("[Op:")[0]
    return text.rsplit("}}", 1)[-1].strip().rstrip(".") or type(error).__name__
