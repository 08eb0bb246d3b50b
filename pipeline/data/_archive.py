"""A folder or a .zip, read file by file: nothing is unpacked to the disk, and nothing outside is ever reached."""

from __future__ import annotations

import contextlib
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pipeline.errors import DataError

MAX_FILE_BYTES = 256 * 2**20
"""The largest single file: each is read whole."""

MAX_UNPACKED_BYTES = 256 * 2**30
MAX_RATIO = 200
RATIO_COUNTS_FROM_BYTES = 256 * 2**20
"""Archives that unpack to more than this must not unpack to more than MAX_RATIO times their size."""

_JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}


class UnreadableError(Exception):
    """A file that cannot be used; the text says why. The source decides whether it may be skipped."""


@dataclass(frozen=True)
class Entry:
    """A file of a folder or archive.

    Attributes:
        name: its path from there, with forward slashes.
        read: gives its bytes; raises UnreadableError.
    """

    name: str
    read: Callable[[], bytes]


@contextlib.contextmanager
def entries(path: Path, suffixes: frozenset[str] = frozenset()) -> Iterator[list[Entry]]:
    """All files below a folder or in a .zip, sorted by name, as long as the block lasts. Hidden files are left out.

    Args:
        path: the folder or archive.
        suffixes: a folder whose name ends in one of these poses as a file: it becomes an entry that cannot be read.

    Raises:
        DataError: there is no such folder or archive, or the archive is damaged or unsafe.
    """
    if path.is_dir():
        yield sorted(_of_folder(path, path, (), suffixes), key=lambda entry: entry.name)
        return
    with open_zip(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
        yield sorted((_of_zip(archive, info) for info in infos), key=lambda entry: entry.name)


@contextlib.contextmanager
def open_zip(path: Path, *, expected: str = "a folder, or a .zip of one") -> Iterator[zipfile.ZipFile]:
    """An archive whose table of contents has been checked; its members are safe to read in pieces.

    Raises:
        DataError: there is none, or it is damaged or unsafe.
    """
    try:
        # Opened here: zipfile leaves a file open that it opened itself and could not read.
        stream = path.open("rb")
    except FileNotFoundError:
        raise DataError(
            f"There is no file {path}.", expected=expected, mend="set its path; it is relative to the recipe"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", expected=expected) from error
    with stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
            raise DataError(f"{path} cannot be read: {error}", expected=expected) from error
        with archive:
            _check_contents(path, archive.infolist())
            yield archive


def _of_folder(folder: Path, root: Path, above: tuple[Path, ...], suffixes: frozenset[str]) -> Iterator[Entry]:
    """Files below `folder`. Links to folders are followed, except back to one of those `above`."""
    above = (*above, folder.resolve())
    try:
        children = [child for child in folder.iterdir() if not _is_hidden(child.name)]
    except OSError as error:
        yield Entry(folder.relative_to(root).as_posix(), partial(_refuse, f"is a folder: {error.strerror}"))
        return
    for child in children:
        name = child.relative_to(root).as_posix()
        if not child.is_dir():
            yield Entry(name, partial(_read_file, child))
        elif child.suffix.lower() in suffixes:
            yield Entry(name, partial(_refuse, "is a folder"))
        elif child.resolve() in above:
            yield Entry(name, partial(_refuse, "is a link back to a folder that it lies in"))
        else:
            yield from _of_folder(child, root, above, suffixes)


def _of_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    return Entry(info.filename, partial(_read_member, archive, info))


def _read_file(path: Path) -> bytes:
    try:
        facts = path.stat()
        # Reading a pipe would wait for ever.
        if not stat.S_ISREG(facts.st_mode):
            raise UnreadableError("is no regular file")
        _check_file_size(facts.st_size)
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableError("is a link to nowhere") from None
    except OSError as error:
        raise UnreadableError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    _check_file_size(info.file_size)
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise UnreadableError(f"is damaged in the archive: {error}") from error


def _check_file_size(size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise UnreadableError(f"has {size} bytes, more than the {MAX_FILE_BYTES} that one file may have")


def _check_contents(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    for info in infos:
        why = _unsafe(info)
        if why:
            raise DataError(
                f"The archive {path} is not safe to read: {why}.",
                expected="plain files below the archive's own root, stored or deflated, without a password",
                mend="pack the folder anew with zip",
            )
    unpacked = sum(info.file_size for info in infos)
    packed = path.stat().st_size
    is_bomb = unpacked > RATIO_COUNTS_FROM_BYTES and unpacked > MAX_RATIO * packed
    if is_bomb or unpacked > MAX_UNPACKED_BYTES:
        raise DataError(
            f"The archive {path} has {packed} bytes and would unpack to {unpacked}: it looks like a zip bomb.",
            expected=f"at most {MAX_RATIO} times its size, and at most {MAX_UNPACKED_BYTES} bytes",
            mend="unpack it yourself if you trust it, and name the folder",
        )


def _unsafe(info: zipfile.ZipInfo) -> str:
    """Why an entry is refused, or ''."""
    # zipfile cuts names at a NUL and turns backslashes on Windows only: the name as it was written is judged.
    name = info.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or ":" in (parts[0] if parts else "") or "\0" in name:
        return f"'{name}' points outside (path traversal)"
    if stat.S_ISLNK(info.external_attr >> 16):
        return f"'{name}' is a symbolic link"
    if info.flag_bits & 1:
        return f"'{name}' is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"'{name}' is packed by method {info.compress_type}"
    return ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _JUNK for part in PurePosixPath(name).parts)


def _refuse(why: str) -> bytes:
    raise UnreadableError(why)
