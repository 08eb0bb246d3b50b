"""The output folder of a run: one run at a time works in it, and a result appears in it whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge_targets._cascade_file import CASCADE, REST, RUN_CASCADE
from pipeline.errors import StorageError, UsageError
from pipeline.storage import make_folder

LAST = "report.json"
"""The file that appears last: where it lies, everything that it names is there and whole."""


@contextlib.contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """A folder to work in, inside `out`, on its disk; gone when the block ends.

    Args:
        out: the output folder; made where it is missing.

    Raises:
        StorageError: it cannot be written to. That is found out before any work.
        UsageError: another run is at work in it.
    """
    make_folder(out)
    with _locked(out):
        work = out / ".work"
        shutil.rmtree(work, ignore_errors=True)
        make_folder(work)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def publish(work: Path, out: Path) -> None:
    """Move every file of a finished run from its workplace to the output folder, the report last.

    An older report goes first: at no instant does a report lie beside a model that it does not speak of.
    """
    try:
        out.joinpath(LAST).unlink(missing_ok=True)
        _clear_second_stage(work, out)
        for path in sorted(work.iterdir(), key=lambda path: path.name == LAST):
            path.replace(out / path.name)
    except OSError as error:
        raise StorageError(f"The results cannot be moved to {out}: {error.strerror}.") from error


def _clear_second_stage(work: Path, out: Path) -> None:
    """Take away what an earlier run left of a model in two files, where this one's is one file."""
    for path in [out / CASCADE, out / RUN_CASCADE, *out.glob(f"{REST}*")]:
        if not work.joinpath(path.name).exists():
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    # The system takes the lock back when the process ends, however it ends.
    try:
        descriptor = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(
            f"The output folder {out} cannot be written: {(error.strerror or str(error)).lower()}.",
            expected="a folder that can be written to",
            mend="choose another one with --out",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(
            f"Another run is at work in {out}.",
            expected="one run a folder",
            mend="wait for it, or choose another --out",
        ) from None
    finally:
        os.close(descriptor)
