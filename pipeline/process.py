"""A child process for what is not ours: code that users bring, and files that nobody vouches for.

Whatever goes wrong in there, a crash of a C++ reader, an endless loop, a bomb that fills the memory, ends the child and
comes back as an error. The child's half is `_children/channel.py`.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline._children.channel import LENGTHS

ROOT = Path(__file__).resolve().parent.parent
MOST_HEADER_BYTES = 64 * 2**20
TAIL_BYTES = 4096


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Attributes:
        silence_s: the longest it may work without a word.
        memory_bytes: the most it may hold (TensorFlow alone takes about 1 GB).
    """

    silence_s: float = 600.0
    memory_bytes: int = 16 * 2**30


@dataclass(frozen=True)
class Frame:
    """One message of a child."""

    header: dict[str, Any]
    payload: bytes


class ChildError(Exception):
    """The child ended without a proper answer, or told what is wrong in words of its own.

    Attributes:
        what: what happened, in one sentence without a subject: `was ended by SIGSEGV`.
        expected, mend: as in `errors.EdgesmithError`, where the child told them.
        details: what else the child told of the error.
        told: whether the child itself told; a crash or a limit is not told.
        tail: the end of what it wrote to stderr.
    """

    def __init__(
        self, what: str, *, expected: str = "", mend: str = "", details: Any = None, told: bool = False, tail: str = ""
    ) -> None:
        super().__init__(what)
        self.what, self.expected, self.mend = what, expected, mend
        self.details, self.told, self.tail = details, told, tail


def frames(module: str, request: Mapping[str, Any], limits: Limits | None = None) -> Iterator[Frame]:
    """Run a module of `pipeline._children` in a child, and yield what it sends until it ends.

    Args:
        module: dotted name; it is run as a script.
        request: what it is asked, JSON-ready.
        limits: what it may take.

    Raises:
        ChildError: it crashed, broke a limit, or sent an error. The child is gone by then.
    """
    limits = limits or Limits()
    with tempfile.TemporaryFile() as words:
        process = _start(module, words)
        try:
            _limit_memory(process.pid, limits.memory_bytes)
            _ask(process, request)
            assert process.stdout is not None
            reader = _Reader(process.stdout.fileno(), limits)
            while (frame := reader.next()) is not None:
                if "error" in frame.header:
                    raise _told(frame.header["error"])
                yield frame
            _check_end(process, limits, words)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def answer(module: str, request: Mapping[str, Any], limits: Limits | None = None) -> Frame:
    """Run a module of `pipeline._children` that sends exactly one frame.

    Raises:
        ChildError: as `frames`; or it ended without a frame.
    """
    found = list(frames(module, request, limits))
    if len(found) != 1:
        raise ChildError(f"sent {len(found)} answers instead of one")
    return found[0]


def _start(module: str, words: IO[bytes]) -> subprocess.Popen[bytes]:
    # -P: the folder we stand in is no place to import from. A child is found where we are ourselves.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    set_by_us: frozenset[str] = getattr(sys.modules.get("pipeline._tf"), "SET_HERE", frozenset())
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=words,
        env={**{name: value for name, value in os.environ.items() if name not in set_by_us}, "PYTHONPATH": path},
        # A Ctrl-C at the terminal is ours to handle: we end the child ourselves.
        start_new_session=True,
    )


def _limit_memory(pid: int, most_bytes: int) -> None:
    # A limit that we are under ourselves cannot be raised again.
    _, ours = resource.getrlimit(resource.RLIMIT_DATA)
    least = most_bytes if ours == resource.RLIM_INFINITY else min(most_bytes, ours)
    resource.prlimit(pid, resource.RLIMIT_DATA, (least, least))


def _ask(process: subprocess.Popen[bytes], request: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
    except BrokenPipeError:
        process.stdin = None  # it ended before it heard the question; its exit tells why


class _Reader:
    """Reads frames from a pipe, and gives up when nothing comes."""

    def __init__(self, descriptor: int, limits: Limits) -> None:
        self._descriptor, self._limits = descriptor, limits

    def next(self) -> Frame | None:
        """The next frame; None once the child has closed its end."""
        lengths = self._read(LENGTHS.size)
        if len(lengths) < LENGTHS.size:
            return None
        header_bytes, payload_bytes = LENGTHS.unpack(lengths)
        if header_bytes > MOST_HEADER_BYTES or payload_bytes > self._limits.memory_bytes:
            raise ChildError("sent something that is no message")
        header, payload = self._read(header_bytes), self._read(payload_bytes)
        if len(payload) < payload_bytes:
            return None
        return Frame(_header(header), payload)

    def _read(self, count: int) -> bytes:
        read = bytearray()
        deadline = time.monotonic() + self._limits.silence_s
        while len(read) < count:
            ready, _, _ = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise ChildError(f"gave no sign of life for {self._limits.silence_s:g} s")
            chunk = os.read(self._descriptor, min(count - len(read), 2**20))
            if not chunk:
                break
            read += chunk
        return bytes(read)


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ChildError("sent something that is no message")
    return header


def _check_end(process: subprocess.Popen[bytes], limits: Limits, words: IO[bytes]) -> None:
    try:
        code = process.wait(limits.silence_s)
    except subprocess.TimeoutExpired:
        raise ChildError(f"did not end within {limits.silence_s:g} s") from None
    if code == 0:
        return
    tail = _tail(words)
    if any(word in tail for word in ("MemoryError", "bad_alloc", "Cannot allocate memory")):
        raise ChildError(f"needed more than {limits.memory_bytes / 2**30:.3g} GiB of memory", tail=tail)
    if code < 0:
        raise ChildError(f"was ended by {signal.Signals(-code).name}", tail=tail)
    raise ChildError(f"failed: {tail.strip().splitlines()[-1] if tail.strip() else f'exit code {code}'}", tail=tail)


def _tail(words: IO[bytes]) -> str:
    size = words.seek(0, os.SEEK_END)
    words.seek(max(0, size - TAIL_BYTES))
    return words.read().decode("utf-8", "replace")


def _told(error: Mapping[str, Any]) -> ChildError:
    return ChildError(
        str(error["what"]),
        expected=str(error.get("expected", "")),
        mend=str(error.get("mend", "")),
        details=error.get("details"),
        told=True,
    )
