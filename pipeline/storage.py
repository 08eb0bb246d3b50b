"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import StorageError


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Put `data` at `path`: a reader finds the old file or the whole new one, whatever happens in between.

    The bytes go to a temporary file in the same folder, are synced to the disk, and take the name in one rename.
    A missing folder is made.

    Args:
        path: where the file shall lie.
        data: all of its bytes.

    Raises:
        StorageError: the disk is full, read-only, gone, or not ours to write on. What lay at `path` is untouched.
    """
    with _told_as_storage_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_beside(path) as (descriptor, temporary):
            _write_and_sync(descriptor, data)
            temporary.replace(path)
        _sync_folder(path.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """`atomic_write_bytes` for text, as UTF-8 with the line ends it has."""
    atomic_write_bytes(path, text.encode("utf-8"))


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one that is there already is fine.

    Raises:
        StorageError: it cannot be made.
    """
    with _told_as_storage_error(path):
        path.mkdir(parents=True, exist_ok=True)


def _write_and_sync(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _temporary_beside(path: Path) -> Iterator[tuple[int, Path]]:
    """An open new file in the folder of `path`; it is gone when the block ends, unless it was renamed.

    Its name does not grow with that of `path`, which may be as long as names can be. Unlike `tempfile`'s, which only
    their owner can read, it has the rights that the umask allows: it becomes the result.
    """
    temporary = path.parent / f".writing-{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to the disk. Some file systems cannot; the file is whole all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _told_as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot write {path}: {_reason(error)}.",
            expected="a folder that can be written to, on a disk with room.",
            mend=_MEND.get(error.errno or 0, "choose another output folder."),
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


_MEND = {
    errno.ENOSPC: "free some space on that disk, or choose an output folder on another one.",
    errno.EDQUOT: "your quota is used up: free some space, or choose an output folder elsewhere.",
    errno.EROFS: "that file system is read-only: choose an output folder elsewhere.",
    errno.EACCES: "you may not write there: change the folder's rights, or choose another output folder.",
    errno.EPERM: "you may not write there: change the folder's rights, or choose another output folder.",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another output folder.",
    errno.EEXIST: "a file has the name of the folder: move it away, or choose another output folder.",
    errno.EISDIR: "a folder has the name of the file: move it away, or choose another output folder.",
    errno.ENAMETOOLONG: "choose a shorter name.",
    errno.EIO: "the disk reports an error: look at the system's log, and choose another disk.",
}
