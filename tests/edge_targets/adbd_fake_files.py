"""How the fake Android device behaves, and its sync service, which takes and gives files (AOSP's SYNC.TXT)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Stream(Protocol):
    """What a service reads and writes."""

    def exactly(self, size: int) -> bytes:
        """So many bytes of what comes in."""

    def write(self, data: bytes) -> None:
        """Send, and wait until it was taken."""


@dataclass
class Manners:
    """How a device behaves; a well-kept one by default. May be changed while it runs.

    Attributes:
        features: what it says it can; without `shell_v2` it is an old device.
        authorized: whether it takes the client's key.
        disk_bytes: how much it takes before its disk is full.
        drop_after_bytes: after how many pushed bytes the cable is pulled.
        drop_on: a word; the cable is pulled as soon as a command prints it.
        silent: it takes connections and never greets.
        hang_on: a word; a command with it is taken and never answered.
        corrupt: a byte of what is pushed changes on the way.
        garbage_on: a word; a command with it gives binary nonsense, `answer`, and exit code 0.
        answer: text after the nonsense, where {token} stands for the one that was to be printed.
        shell: what runs commands.
        programs: folder that comes first on the PATH of commands; None for the machine's own programs only.
    """

    features: str = "shell_v2"
    authorized: bool = True
    disk_bytes: int = 2**40
    drop_after_bytes: int = 2**40
    drop_on: str | None = None
    hang_on: str | None = None
    corrupt: bool = False
    garbage_on: str | None = None
    answer: str = ""
    silent: bool = False
    programs: Path | None = None
    shell: str = "/bin/sh"


class Files:
    """The sync service on one stream.

    Args:
        stream: the client.
        root: the only folder that files are taken into.
        manners: how it behaves.
        unplug: pulls the cable.
    """

    def __init__(self, stream: Stream, root: Path, manners: Manners, unplug: Callable[[], None]) -> None:
        self._stream = stream
        self._root = root
        self._manners = manners
        self._unplug = unplug

    def serve(self) -> None:
        while True:
            request, length = struct.unpack("<4sI", self._stream.exactly(8))
            if request == b"QUIT":
                return
            text = self._stream.exactly(length).decode()
            if request == b"STAT":
                self._stat(Path(text))
            elif request == b"SEND":
                self._take_file(Path(text.rpartition(",")[0]))
            elif request == b"RECV":
                self._give_file(Path(text))
            else:
                raise ValueError(request)

    def _stat(self, path: Path) -> None:
        found = path.stat() if path.exists() else None
        facts = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
        self._stream.write(struct.pack("<4s3I", b"STAT", *facts))

    def _take_file(self, path: Path) -> None:
        content = b"".join(self._chunks())
        if self._manners.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        if not path.is_relative_to(self._root):
            self._fail("couldn't create file: Permission denied")
        elif len(content) > self._manners.disk_bytes:
            self._fail("write failed: No space left on device")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755)
            self._stream.write(struct.pack("<4sI", b"OKAY", 0))

    def _chunks(self) -> Iterator[bytes]:
        seen = 0
        while True:
            kind, length = struct.unpack("<4sI", self._stream.exactly(8))
            if kind == b"DONE":
                return
            chunk = self._stream.exactly(length)
            seen += length
            if seen > self._manners.drop_after_bytes:
                self._unplug()
            yield chunk

    def _give_file(self, path: Path) -> None:
        if not path.is_file():
            self._fail("No such file or directory")
            return
        content = path.read_bytes()
        for start in range(0, len(content), 2**16):
            chunk = content[start : start + 2**16]
            self._stream.write(struct.pack("<4sI", b"DATA", len(chunk)) + chunk)
        self._stream.write(struct.pack("<4sI", b"DONE", 0))

    def _fail(self, why: str) -> None:
        self._stream.write(struct.pack("<4sI", b"FAIL", len(why)) + why.encode())
