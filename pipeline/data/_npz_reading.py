"""The arrays of an .npz, read in pieces: neither their size nor what their header says of it can fill the memory."""

from __future__ import annotations

import contextlib
import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data._archive import open_zip
from pipeline.errors import DataError

CHUNK_BYTES = 2**23

_HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_EXPECTED = "an .npz archive as numpy.savez writes it, without pickles"


@dataclass(frozen=True)
class Header:
    """What stands before the numbers of an array: their shape and type, and which axis runs fastest."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool


@dataclass(frozen=True)
class NpzArchive:
    """An open .npz.

    Attributes:
        path: named in messages.
        archive: the zip that it is.
    """

    path: Path
    archive: zipfile.ZipFile

    def header(self, key: str) -> Header:
        """Shape and type of an array of rows, (n, ...).

        Raises:
            DataError: there is none, or it is no array of numbers.
        """
        with self._open(key) as (header, _):
            return header

    def chunks(self, key: str) -> Iterator[NDArray[Any]]:
        """The rows of an array, some at a time, (m, ...).

        Raises:
            DataError: the array is damaged.
        """
        with self._open(key) as (header, stream):
            if header.is_fortran:
                # The rows of such an array are scattered over all of it.
                yield self._numbers(key, header, stream, math.prod(header.shape)).reshape(header.shape, order="F")
                return
            row = math.prod(header.shape[1:])
            rows_at_once = max(1, CHUNK_BYTES // max(1, row * header.dtype.itemsize))
            for start in range(0, header.shape[0], rows_at_once):
                rows = min(rows_at_once, header.shape[0] - start)
                yield self._numbers(key, header, stream, rows * row).reshape(rows, *header.shape[1:])

    def whole(self, key: str) -> NDArray[Any]:
        """An array at once, (n, ...).

        Raises:
            DataError: it is damaged.
        """
        header = self.header(key)
        return np.concatenate([np.empty((0, *header.shape[1:]), header.dtype), *self.chunks(key)])

    @contextlib.contextmanager
    def _open(self, key: str) -> Iterator[tuple[Header, IO[bytes]]]:
        names = [name.removesuffix(".npy") for name in self.archive.namelist()]
        if key not in names:
            raise DataError(
                f"{self.path} has no array '{key}'.",
                expected=f"one of its own: {', '.join(names) or 'none'}",
                mend="name the arrays with data.npz.x_train, y_train, x_test and y_test",
            )
        with (
            _told_as_data_error(self.path, key),
            self.archive.open(self.archive.namelist()[names.index(key)]) as stream,
        ):
            yield self._header(key, stream), stream

    def _header(self, key: str, stream: IO[bytes]) -> Header:
        version: tuple[int, int] = np.lib.format.read_magic(stream)  # type: ignore[no-untyped-call]  # numpy's stub
        if version not in _HEADERS:
            raise ValueError(f"its format has version {version[0]}.{version[1]}, and 1.0 and 2.0 are known")
        shape, is_fortran, dtype = _parsed(_HEADERS[version], stream)
        if dtype.hasobject:
            raise DataError(
                f"The array '{key}' of {self.path} holds pickled objects.",
                expected="numbers; pickled objects are refused because they can run code",
                mend="save it as a plain numeric array",
            )
        if not shape:
            raise DataError(
                f"The array '{key}' of {self.path} is a single number.", expected="one row an example, (n, ...)"
            )
        if dtype.itemsize == 0 or min(shape) < 0:
            raise ValueError(f"it has shape {shape} and type {dtype}")
        return Header(shape, dtype, is_fortran)

    def _numbers(self, key: str, header: Header, stream: IO[bytes], count: int) -> NDArray[Any]:
        # A header may announce more than any memory holds: what is there is read before room is made for it.
        content = bytearray()
        while len(content) < count * header.dtype.itemsize:
            piece = stream.read(min(CHUNK_BYTES, count * header.dtype.itemsize - len(content)))
            if not piece:
                raise ValueError("it ends before its header says")
            content += piece
        return np.frombuffer(content, header.dtype).astype(header.dtype.newbyteorder("="), copy=False)


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[NpzArchive]:
    """An .npz to read from, as long as the block lasts.

    Raises:
        DataError: there is none, or it is none.
    """
    if _is_bare_array(path):
        raise DataError(f"{path} holds one bare array.", expected="an .npz archive of named arrays")
    with open_zip(path, expected=_EXPECTED) as archive:
        yield NpzArchive(path, archive)


def _parsed(parse: Any, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        with warnings.catch_warnings():
            # Headers that Python 2 wrote are as good as any.
            warnings.simplefilter("ignore", UserWarning)
            header: tuple[tuple[int, ...], bool, np.dtype[Any]] = parse(stream)
            return header
    except Exception as error:  # numpy lets errors of Python's own parser out
        raise ValueError(f"its header is damaged: {error}") from error


def _is_bare_array(path: Path) -> bool:
    if not path.is_file():
        return False
    with contextlib.suppress(OSError), path.open("rb") as stream:
        return stream.read(6) == np.lib.format.MAGIC_PREFIX
    return False


@contextlib.contextmanager
def _told_as_data_error(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"The array '{key}' of {path} cannot be read: {error}", expected=_EXPECTED) from error
