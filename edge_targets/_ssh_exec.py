"""One shell script on the device, over an ssh connection: what it reads, what it says, and that it ends.

The user's login shell may be any, and may print what it likes before our script begins: a token that only this
connection knows marks where the script's own output starts.

What runs on the device must not outlive us there, even if we are killed or the cable is pulled. So the channel's
stdin is kept open as a lifeline: a small watcher beside the program reads from it, and once it ends, which sshd sees
to in all those cases, ends the program's process group.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from edge_targets._answer import last_words, printable
from edge_targets._errors import DeviceError, Timeout
from edge_targets._transport import STDERR_TAIL_BYTES, Completed

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection, SSHClientProcess, SSHReader, SSHWriter

    Feed = Callable[[SSHWriter[bytes]], Awaitable[None]]

CHUNK_BYTES = 2**16
# How much a login shell may say before our script begins.
MOST_GREETING_BYTES = 2**16
# What was told to end gets this long to do so, before its channel is closed over its head.
END_S = 3.0
# sshd has a name of its own for the signals that the protocol does not know: of those that end a crashing program,
# SIGBUS is the only one.
_OTHER_SIGNAL, _SIGBUS = -99, -7
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Excess(Exception):
    """More output than is sane."""


class Output:
    """What a script says after the token, handed on as it comes; no more than `most_bytes` of it."""

    def __init__(self, token: str, keep: Callable[[bytes], object], most_bytes: int) -> None:
        self._mark = f"{token}\n".encode()
        self._keep = keep
        self._most_bytes = most_bytes
        self._greeting = b""
        self.began = False

    def take(self, chunk: bytes) -> None:
        """The next piece. Excess: it is too much."""
        if not self.began:
            self._greeting += chunk
            _, found, chunk = self._greeting.partition(self._mark)
            self.began = bool(found)
            if not found and len(self._greeting) > MOST_GREETING_BYTES:
                raise Excess
        self._most_bytes -= len(chunk)
        if self._most_bytes < 0:
            raise Excess
        self._keep(chunk)


class Shell:
    """The device's shell, for as long as the connection is open.

    Args:
        connection: the connection.
        name: what the device is called in messages.
    """

    def __init__(self, connection: SSHClientConnection, name: str) -> None:
        self.name = name
        self.token = secrets.token_hex(16)
        self._connection = connection

    async def run(
        self,
        script: str,
        deed: str,
        *,
        timeout_s: float,
        feed: Feed | None = None,
        keep: Callable[[bytes], object],
        most_bytes: int,
    ) -> Completed:
        """Run a script that says the token before anything else.

        Args:
            script: for a POSIX shell, on one line.
            deed: what it does, as in "could not ...".
            timeout_s: for all of it.
            feed: writes what it reads.
            keep: gets what it says after the token.
            most_bytes: the most that it may say.

        Returns:
            its exit code, minus the signal's number if one ended it, and the last of what it said to stderr.

        Raises:
            Timeout: it took too long, and was ended.
            Excess: it said too much, and was ended.
            DeviceError: the device was lost, or did not run the script.
        """
        output, complaints = Output(self.token, keep, most_bytes), bytearray()
        with self._lost_explained(deed):
            async with asyncio.timeout(timeout_s):
                process = await self._start(script)
                try:
                    await asyncio.gather(
                        _read(process.stdout, output.take),
                        _read(process.stderr, lambda chunk: _keep_tail(complaints, chunk)),
                        feed(process.stdin) if feed else asyncio.sleep(0),
                    )
                    await process.wait_closed()
                finally:
                    await end(process)
        return self._ended(process.returncode, bytes(complaints), output.began, deed)

    async def lifeline(self, script: str, deed: str, timeout_s: float) -> tuple[str, SSHClientProcess[bytes]]:
        """Start a script that says the token and one line, and then waits for its stdin to end.

        Returns:
            the line, and the process.
        """
        said, complaints = bytearray(), b""
        output = Output(self.token, said.extend, MOST_GREETING_BYTES)
        with self._lost_explained(deed):
            async with asyncio.timeout(timeout_s):
                process = await self._start(script)
                with suppress(Excess):
                    while not said.endswith(b"\n") and (chunk := await process.stdout.read(CHUNK_BYTES)):
                        output.take(chunk)
                    complaints = b"" if said.endswith(b"\n") else await process.stderr.read(STDERR_TAIL_BYTES)
        if not said.endswith(b"\n"):
            process.close()
            raise self.failed(deed, complaints)
        return said.decode("utf-8", "replace").rstrip("\n"), process

    def failed(self, deed: str, complaints: bytes) -> DeviceError:
        """The device ran the script, and could not do what it was to do."""
        full = b"No space left" in complaints or b"quota" in complaints
        mend = "free some space there, or let `folder` lie on a disk that has it" if full else ""
        return DeviceError(f"{self.name} could not {deed}.{last_words(complaints)}", mend=mend)

    async def _start(self, script: str) -> SSHClientProcess[bytes]:
        # exec: the shell of the script is then the leader of the group that sshd made.
        command = f"exec /bin/sh -c {shlex.quote(script)}"
        return await self._connection.create_process(command, encoding=None, request_pty=False)

    def _ended(self, code: int | None, complaints: bytes, began: bool, deed: str) -> Completed:
        if code is None:
            raise self._lost(deed)
        if not began:
            raise self.failed(deed, complaints)
        return Completed(_SIGBUS if code == _OTHER_SIGNAL else code, b"", complaints)

    def _lost(self, deed: str) -> DeviceError:
        return DeviceError(
            f"The connection to {self.name} broke while it was to {deed}.",
            expected="a device that stays on and in the network",
            mend="see whether it is on, and try again",
        )

    @contextmanager
    def _lost_explained(self, deed: str) -> Iterator[None]:
        import asyncssh

        try:
            yield
        except TimeoutError as error:
            raise Timeout(f"{self.name} took too long to {deed}.") from error
        except asyncssh.ChannelOpenError as error:
            if self._connection.is_closed():
                raise self._lost(deed) from error
            reason = printable(str(error), 200)
            raise DeviceError(f"{self.name} opens no session to {deed}: {reason}.") from error
        except (OSError, asyncssh.Error) as error:
            raise self._lost(deed) from error


def watched(folder: str, token: str, argv: Sequence[str], stdin_bytes: int, env: Mapping[str, str]) -> str:
    """The script that runs a program in a folder, with the watcher beside it.

    Args:
        folder: the work folder.
        token: said when all is ready.
        argv: the program.
        stdin_bytes: how much of the channel's stdin is for the program; it waits in a file that has no name.
        env: variables on top of the device's own.
    """
    held = ".stdin-$$" if stdin_bytes else "/dev/null"
    steps = [
        f"cd {shlex.quote(folder)}",
        "umask 077",
        *([f"head -c {stdin_bytes} > {held}"] if stdin_bytes else []),
        f"exec 3<&0 4< {held}",
        *([f"rm -f {held}"] if stdin_bytes else []),
        # Not the leader where the server makes no group: then the program alone is ended.
        "{ { cat; kill -s KILL -- -$$ || kill -s KILL $$; } <&3 >/dev/null 2>&1 4<&- & }",
        *(f"export {_variable(name)}={shlex.quote(value)}" for name, value in env.items()),
        f"echo {token}",
        f"exec {shlex.join(argv)} <&4 3<&- 4<&-",
    ]
    return " && ".join(steps)


async def end(process: SSHClientProcess[bytes]) -> None:
    """See to it that a process ends: first by its lifeline, then by its channel."""
    with suppress(OSError, RuntimeError):
        process.stdin.write_eof()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait_closed(), END_S)
    process.close()


async def _read(stream: SSHReader[bytes], take: Callable[[bytes], None]) -> None:
    while chunk := await stream.read(CHUNK_BYTES):
        take(chunk)


def _keep_tail(kept: bytearray, chunk: bytes) -> None:
    kept += chunk
    del kept[: max(0, len(kept) - STDERR_TAIL_BYTES)]


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise DeviceError(
            f"'{printable(name, 80)}' cannot be a variable of the device's shell.", expected="A-Z, 0-9, _"
        )
    return name
