"""A device that speaks adb's transport protocol on loopback, for the real client; commands run in this machine's sh.

Written after AOSP's protocol.txt, SYNC.TXT and shell_protocol.h. It can misbehave on demand, which the real daemon
cannot; where both behave, tests/lab/test_android.py holds it against the real one.

    message  command, arg0, arg1, length, sum of the data's bytes, command ^ 0xffffffff (little-endian words), data
    stream   OPEN(ours, 0, service) is answered by OKAY(theirs, ours); each WRTE waits for an OKAY; CLSE ends it
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

VERSION, MOST_DATA = 0x01000001, 256 * 1024
STDOUT, STDERR, EXIT = 1, 2, 3
TOKEN, SIGNATURE = 1, 2
GARBAGE = bytes(range(256)) * 64 + b"\x1b]0;title\x07"


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


@dataclass
class FakeAdbd:
    """The daemon of one device. Enter it to start; `unplug` or leave it to end.

    Args:
        root: the only folder that files are taken into.
        manners: how it behaves.
        port: where it listens; 0 takes a free one. One of 5555, 5557 … is found by adb as `emulator-5554` …

    Attributes:
        commands: every command line that came.
    """

    root: Path
    manners: Manners = field(default_factory=Manners)
    port: int = 0
    commands: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            # A plain close would leave the other thread in accept.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.unplug()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def unplug(self) -> None:
        """Pull the cable. The device listens on, and can be connected to anew."""
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = _Connection(self, self._listener.accept()[0])
                self._connections.append(connection)
                threading.Thread(target=connection.serve, daemon=True).start()


class _Connection:
    """One client's connection: many streams over one socket."""

    def __init__(self, device: FakeAdbd, sock: socket.socket) -> None:
        self.device = device
        self._socket = sock
        self._sending = threading.Lock()
        self._streams: dict[int, _Stream] = {}

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                self._take(*self._receive())
        self.close()

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        word = int.from_bytes(command, "little")
        head = struct.pack("<6I", word, first, second, len(data), sum(data) & 0xFFFFFFFF, word ^ 0xFFFFFFFF)
        with self._sending:
            self._socket.sendall(head + data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for stream in list(self._streams.values()):
            stream.hang_up()

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)

    def _receive(self) -> tuple[bytes, int, int, bytes]:
        command, first, second, length, *_ = struct.unpack("<4s5I", self._exactly(24))
        return command, first, second, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(min(2**16, size - len(data)))
            if not more:
                raise EOFError
            data += more
        return data

    def _take(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command == b"CNXN":
            self._greet()
        elif command == b"AUTH" and first == SIGNATURE:
            # The key is not known. The client then sends it, and the owner is asked, who says nothing.
            self.send(b"AUTH", TOKEN, 0, bytes(20))
        elif command == b"OPEN":
            self._open(first, data.rstrip(b"\0").decode())
        elif stream := self._streams.get(second):
            stream.take(command, data)

    def _greet(self) -> None:
        if self.device.manners.silent:
            return
        if not self.device.manners.authorized:
            self.send(b"AUTH", TOKEN, 0, bytes(20))
            return
        banner = f"device::ro.product.name=fake;ro.product.model=Fake;features={self.device.manners.features}"
        self.send(b"CNXN", VERSION, MOST_DATA, banner.encode())

    def _open(self, theirs: int, service: str) -> None:
        stream = _Stream(self, theirs)
        self._streams[theirs] = stream
        self.send(b"OKAY", theirs, theirs)
        threading.Thread(target=stream.serve, args=(service,), daemon=True).start()


class _Stream:
    """One service's stream. Both ends give it the same number."""

    def __init__(self, connection: _Connection, number: int) -> None:
        self._connection = connection
        self._manners = connection.device.manners
        self._number = number
        self._inbox: queue.Queue[bytes] = queue.Queue()
        self._rest = b""
        self._acknowledged = threading.Semaphore(0)
        self._open = True
        self._process: subprocess.Popen[bytes] | None = None
        self._split = False

    def serve(self, service: str) -> None:
        name, _, command = service.partition(":")
        with contextlib.suppress(OSError, EOFError, ValueError):
            if name == "sync":
                self._sync()
            else:
                self._run(command, split="v2" in name.split(","))
        with contextlib.suppress(OSError):
            self._connection.send(b"CLSE", self._number, self._number)
        self._connection.forget(self._number)

    def take(self, command: bytes, data: bytes) -> None:
        if command == b"OKAY":
            self._acknowledged.release()
        elif command == b"WRTE":
            self._inbox.put(data)
            self._connection.send(b"OKAY", self._number, self._number)
        elif command == b"CLSE":
            self.hang_up()

    def hang_up(self) -> None:
        """The other end is gone: as adbd does, tell the shell and nobody else, and that only in the new protocol."""
        self._open = False
        self._acknowledged.release()
        self._inbox.put(b"")
        if self._split and self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def _write(self, data: bytes) -> None:
        for start in range(0, len(data), MOST_DATA):
            self._connection.send(b"WRTE", self._number, self._number, data[start : start + MOST_DATA])
            self._acknowledged.acquire()
            if not self._open:
                raise EOFError

    def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            more = self._inbox.get()
            if not more:
                raise EOFError
            self._rest += more
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    # ---- files ----

    def _sync(self) -> None:
        while True:
            request, length = struct.unpack("<4sI", self._exactly(8))
            if request == b"QUIT":
                return
            text = self._exactly(length).decode()
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
        self._write(struct.pack("<4s3I", b"STAT", *facts))

    def _take_file(self, path: Path) -> None:
        content = b"".join(self._chunks())
        if self._manners.corrupt:
            content = bytes([content[0] ^ 1]) + content[1:]
        if not path.is_relative_to(self._connection.device.root):
            self._fail("couldn't create file: Permission denied")
        elif len(content) > self._manners.disk_bytes:
            self._fail("write failed: No space left on device")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755)
            self._write(struct.pack("<4sI", b"OKAY", 0))

    def _chunks(self) -> Iterator[bytes]:
        seen = 0
        while True:
            kind, length = struct.unpack("<4sI", self._exactly(8))
            if kind == b"DONE":
                return
            chunk = self._exactly(length)
            seen += length
            if seen > self._manners.drop_after_bytes:
                self._connection.close()
            yield chunk

    def _give_file(self, path: Path) -> None:
        if not path.is_file():
            self._fail("No such file or directory")
            return
        content = path.read_bytes()
        for start in range(0, len(content), 2**16):
            chunk = content[start : start + 2**16]
            self._write(struct.pack("<4sI", b"DATA", len(chunk)) + chunk)
        self._write(struct.pack("<4sI", b"DONE", 0))

    def _fail(self, why: str) -> None:
        self._write(struct.pack("<4sI", b"FAIL", len(why)) + why.encode())

    # ---- programs ----

    def _run(self, command: str, *, split: bool) -> None:
        self._connection.device.commands.append(command)
        manners = self._manners
        if manners.hang_on and manners.hang_on in command:
            while self._open:
                self._inbox.get()
        if manners.garbage_on and manners.garbage_on in command:
            token = re.search(r"echo ([0-9a-f]{16}) \$code$", command)
            answer = manners.answer.format(token=token.group(1) if token else "")
            self._tell(STDOUT, GARBAGE + answer.encode(), split=split)
            self._tell(EXIT, b"\0", split=split)
            return
        self._split = split
        self._process = subprocess.Popen(
            [manners.shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if split else subprocess.STDOUT,
            cwd=self._connection.device.root,
            env={"PATH": os.pathsep.join([*([str(manners.programs)] if manners.programs else []), os.defpath])},
            start_new_session=True,
        )
        self._relay(self._process, split=split)

    def _relay(self, process: subprocess.Popen[bytes], *, split: bool) -> None:
        """What the program writes, as it writes it, and its exit code."""
        pipes = [(kind, pipe) for kind, pipe in ((STDOUT, process.stdout), (STDERR, process.stderr)) if pipe]
        # A packet must not come between the parts of another.
        telling = threading.Lock()

        def relay(kind: int, pipe: IO[bytes]) -> None:
            with pipe, contextlib.suppress(OSError, EOFError):
                while data := os.read(pipe.fileno(), 2**16):
                    if self._manners.drop_on and self._manners.drop_on.encode() in data:
                        self._connection.close()
                    with telling:
                        self._tell(kind, data, split=split)

        readers = [threading.Thread(target=relay, args=each, daemon=True) for each in pipes]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        code = process.wait()
        self._tell(EXIT, bytes([code if code >= 0 else 128 - code]), split=split)

    def _tell(self, kind: int, data: bytes, *, split: bool) -> None:
        if split:
            self._write(struct.pack("<BI", kind, len(data)) + data)
        elif kind != EXIT:
            self._write(data)
