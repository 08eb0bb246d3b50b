"""A device that speaks adb's transport protocol on loopback, for the real client; commands run in this machine's sh.

Written after AOSP's protocol.txt, SYNC.TXT and shell_protocol.h. It can misbehave on demand, which the real daemon
cannot; where both behave, tests/lab/test_android.py holds it against the real one.

    message  command, arg0, arg1, length, sum of the data's bytes, command ^ 0xffffffff (little-endian words), data
    stream   OPEN(ours, 0, service) is answered by OKAY(theirs, ours); each WRTE waits for an OKAY; CLSE ends it
"""

from __future__ import annotations

import contextlib
import os
import pty
import queue
import re
import signal
import socket
import struct
import subprocess
import threading
import tty
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

from tests.edge_targets.adbd_fake_files import Files, Manners

VERSION, MOST_DATA = 0x01000001, 256 * 1024
STDOUT, STDERR, EXIT = 1, 2, 3
TOKEN, SIGNATURE = 1, 2
GARBAGE = bytes(range(256)) * 64 + b"\x1b]0;title\x07"


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

    def serve(self, service: str) -> None:
        name, _, command = service.partition(":")
        with contextlib.suppress(OSError, EOFError, ValueError):
            if name == "sync":
                Files(self, self._connection.device.root, self._manners, self._connection.close).serve()
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
        """The other end is gone: as adbd does, tell the shell and nobody else."""
        self._open = False
        self._acknowledged.release()
        self._inbox.put(b"")
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), MOST_DATA):
            self._connection.send(b"WRTE", self._number, self._number, data[start : start + MOST_DATA])
            self._acknowledged.acquire()
            if not self._open:
                raise EOFError

    def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            more = self._inbox.get()
            if not more:
                raise EOFError
            self._rest += more
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

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
        ours, theirs = zip(*(os.pipe() for _ in range(2)), strict=True) if split else raw_terminal()
        self._process = subprocess.Popen(
            [manners.shell, "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=theirs[0],
            stderr=theirs[-1],
            cwd=self._connection.device.root,
            env={"PATH": os.pathsep.join([*([str(manners.programs)] if manners.programs else []), os.defpath])},
            start_new_session=True,
        )
        for number in theirs:
            os.close(number)
        self._relay(self._process, [os.fdopen(number, "rb") for number in ours], split=split)

    def _relay(self, process: subprocess.Popen[bytes], ends: list[IO[bytes]], *, split: bool) -> None:
        """What the program writes, as it writes it, and its exit code."""
        pipes = zip((STDOUT, STDERR), ends, strict=False)
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
            self.write(struct.pack("<BI", kind, len(data)) + data)
        elif kind != EXIT:
            self.write(data)


def raw_terminal() -> tuple[tuple[int], tuple[int]]:
    """What adbd gives to programs without the shell protocol, so that they hear of its end: (ours,), (theirs,)."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return (ours,), (theirs,)
