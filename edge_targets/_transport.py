"""How files and commands get to a device. Every program that a target starts goes through `Transport.run`.

A transport owns one private work folder on the device, made when it is entered and removed when it is left. Files
have plain names in it, chosen by us: no path or name that a user gave ever becomes part of a remote command.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, Self

from edge_targets._errors import DeviceError, TargetError, Timeout, ToolMissing

MOST_OUTPUT_BYTES = 64 * 2**20
STDERR_TAIL_BYTES = 64 * 2**10


@dataclass(frozen=True)
class Completed:
    """A program that ended.

    Attributes:
        returncode: its exit code; minus the signal's number if a signal ended it.
        stdout: all that it wrote there.
        stderr: the last `STDERR_TAIL_BYTES` that it wrote there.
    """

    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""


class Transport(Protocol):
    """The way to one device. It is entered for the time of one piece of work."""

    def __enter__(self) -> Self:
        """Connect, and make the work folder."""

    def __exit__(self, *error: object) -> None:
        """Remove the work folder, and disconnect."""

    def path(self, name: str) -> str:
        """Where a file of the work folder lies, in the device's own terms."""

    def push(self, local: Path, name: str) -> str:
        """Copy a file into the work folder, whole or not at all; one of that name is replaced.

        Returns:
            its path there.

        Raises:
            DeviceError: it could not be written.
        """

    def pull(self, name: str, local: Path) -> None:
        """Copy a file out of the work folder, whole or not at all.

        Raises:
            DeviceError: it is not there or could not be read.
        """

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run a program in the work folder and wait for it.

        Args:
            argv: the program and its arguments; no shell takes part.
            stdin: what it reads.
            timeout_s: after this it is ended, with all that it started.
            env: variables on top of the device's own.

        Raises:
            ToolMissing: there is no such program.
            Timeout: it took too long.
            DeviceError: it wrote more than is sane, or the device is gone.
        """


_RUNNING: set[subprocess.Popen[bytes]] = set()
_STOPPED = threading.Event()


@contextmanager
def nothing_running() -> Iterator[None]:
    """End every program that a `Local` waits for, in whichever thread, and start none while the block lasts.

    What waited then fails, and clears up.
    """
    _STOPPED.set()
    try:
        for process in tuple(_RUNNING):
            _end_group(process)
        yield
    finally:
        _STOPPED.clear()


class Local:
    """This machine as a device: a temporary folder and child processes.

    Args:
        most_output_bytes: a program that writes more to stdout is ended.
    """

    def __init__(self, most_output_bytes: int = MOST_OUTPUT_BYTES) -> None:
        self._most_output_bytes = most_output_bytes
        self._folder = Path()

    def __enter__(self) -> Self:
        with _as_device_error("make a temporary folder"):
            self._folder = Path(tempfile.mkdtemp(prefix="edgesmith-"))
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def path(self, name: str) -> str:
        return str(self._folder / _plain(name))

    def push(self, local: Path, name: str) -> str:
        with _as_device_error(f"copy {local} into the temporary folder"):
            _copy_atomically(local, Path(self.path(name)))
        return self.path(name)

    def pull(self, name: str, local: Path) -> None:
        with _as_device_error(f"copy {name} out of the temporary folder"):
            _copy_atomically(Path(self.path(name)), local)

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        with _file_of(stdin) as source:
            process = self._start(argv, source, env)
        _RUNNING.add(process)
        try:
            # Stopped in between, it was not among those that were ended.
            _must_go_on()
            return self._wait(process, argv[0], timeout_s)
        except BaseException:
            _end_group(process)
            process.wait()
            raise
        finally:
            _RUNNING.discard(process)

    def _start(self, argv: Sequence[str], stdin: IO[bytes], env: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
        _must_go_on()
        try:
            # A session of its own makes a process group that can be ended as a whole.
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise ToolMissing(
                f"The program '{argv[0]}' could not be started: {error.strerror}.",
                expected="a program that is installed and may be run",
            ) from error

    def _wait(self, process: subprocess.Popen[bytes], program: str, timeout_s: float) -> Completed:
        deadline = time.monotonic() + timeout_s
        stdout = _Tap(process.stdout, self._most_output_bytes, on_excess=lambda: _end_group(process))
        stderr = _Tap(process.stderr, STDERR_TAIL_BYTES)
        try:
            said, complained = stdout.all_until(deadline), stderr.all_until(deadline)
            returncode = process.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise Timeout(
                f"'{program}' had not finished after {timeout_s:g} s, and was ended.",
                mend="a slow device or a large model may need fewer runs",
            ) from error
        if stdout.overflowed:
            raise DeviceError(f"'{program}' wrote more than {self._most_output_bytes} bytes, and was ended.")
        return Completed(returncode, said, complained)


@dataclass(frozen=True)
class Call:
    """One program that a `Recording` was asked to run."""

    argv: tuple[str, ...]
    stdin: bytes
    timeout_s: float
    env: Mapping[str, str]


@dataclass
class Recording:
    """A device that plays back recorded answers and keeps what it was asked: for tests without a device.

    Args:
        answers: what `run` gives, one each call, in order; an error is raised.
        files: what `pull` finds besides the pushed files, name to content.

    Attributes:
        calls: every `run`.
        pushed: every file that was pushed, name to content.
    """

    answers: Iterable[Completed | TargetError]
    files: Mapping[str, bytes] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    pushed: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._next = iter(self.answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to undo: what was asked stays to be looked at."""

    def path(self, name: str) -> str:
        return f"/recording/{_plain(name)}"

    def push(self, local: Path, name: str) -> str:
        self.pushed[_plain(name)] = local.read_bytes()
        return self.path(name)

    def pull(self, name: str, local: Path) -> None:
        content = {**self.pushed, **self.files}.get(_plain(name))
        if content is None:
            raise DeviceError(f"There is no file {name} on the recorded device.")
        local.write_bytes(content)

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        self.calls.append(Call(tuple(argv), stdin, timeout_s, dict(env or {})))
        answer = next(self._next, None)
        if answer is None:
            raise DeviceError(f"The recording has {len(self.calls) - 1} answers, and was asked for one more.")
        if isinstance(answer, TargetError):
            raise answer
        return answer


class _Tap(threading.Thread):
    """Reads a pipe to its end, so that the program never blocks on it, and keeps no more than the last `most` bytes.

    It alone closes the pipe: closing it from another thread would hand its number to the next file opened while
    this one still reads from that number.
    """

    def __init__(self, pipe: IO[bytes] | None, most: int, on_excess: Callable[[], None] = lambda: None) -> None:
        super().__init__(daemon=True)
        self.overflowed = False
        self._pipe = pipe
        self._most = most
        self._on_excess = on_excess
        self._kept = bytearray()
        self.start()

    def run(self) -> None:
        if self._pipe is None:
            return
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 2**16):
                self._keep(chunk)

    def all_until(self, deadline: float) -> bytes:
        """What was kept, once the pipe's other end is closed."""
        self.join(max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            raise TimeoutError
        return bytes(self._kept)

    def _keep(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) <= self._most:
            return
        del self._kept[: len(self._kept) - self._most]
        if not self.overflowed:
            self.overflowed = True
            self._on_excess()


def _must_go_on() -> None:
    if _STOPPED.is_set():
        raise DeviceError("Interrupted.")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    # An unreaped process keeps its number, so the group is certainly still ours.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _file_of(content: bytes) -> Iterator[IO[bytes]]:
    # A file, unlike a pipe, cannot block us when the program does not read.
    with tempfile.TemporaryFile() as file:
        with _as_device_error("write what the program is to read"):
            file.write(content)
            file.seek(0)
        yield file


@contextmanager
def _as_device_error(deed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        mend = "free some space, or set TMPDIR to a disk that has it" if full else ""
        raise DeviceError(f"Could not {deed}: {error.strerror or error}.", mend=mend) from error


def _copy_atomically(source: Path, destination: Path) -> None:
    half = destination.with_name(f".{destination.name}.part")
    try:
        shutil.copyfile(source, half)
        half.replace(destination)
    except OSError:
        half.unlink(missing_ok=True)
        raise


def _plain(name: str) -> str:
    """A name that is only a name: no folder, no option, no hidden file."""
    if not name or name != Path(name).name or name.startswith((".", "-")):
        raise DeviceError(f"'{name}' cannot be a file of the work folder.", expected="a plain file name")
    return name
