"""A device over ssh: files and programs through its POSIX shell, which every Linux board has; sftp is not needed."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from edge_targets._answer import last_words
from edge_targets._errors import DeviceError, Timeout, ToolMissing
from edge_targets._event_loop import EventLoopThread
from edge_targets._ssh_connect import Login, connect, hang_up
from edge_targets._ssh_exec import CHUNK_BYTES, Excess, Shell, end, watched
from edge_targets._transport import MOST_OUTPUT_BYTES, Completed, _as_device_error, _plain

if TYPE_CHECKING:
    from asyncssh import SSHWriter

    from edge_targets._ssh_exec import Feed

MOST_FILE_BYTES = 2**30
# A board that swaps onto a worn memory card takes its time.
PATIENCE_S = 60.0
SLOWEST_BYTES_PER_S = 50_000
DAMAGED = 81
CANNOT_START = (126, 127)


class Ssh:
    """The way to one device over ssh, by keys alone, and only to a host whose key is known.

    The device removes the work folder by itself when the connection ends, however it ends.

    Args:
        login: whom to connect to, and how.
        folder: where on the device the work folder is made, `~/...` for the home there; None takes its TMPDIR or /tmp.
        most_output_bytes: a program that writes more to stdout is ended.
        most_file_bytes: a larger file is not pulled.
    """

    def __init__(
        self,
        login: Login,
        *,
        folder: str | None = None,
        most_output_bytes: int = MOST_OUTPUT_BYTES,
        most_file_bytes: int = MOST_FILE_BYTES,
    ) -> None:
        self._login = login
        self._root = folder
        self._most_output_bytes = most_output_bytes
        self._most_file_bytes = most_file_bytes

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._loop = stack.enter_context(EventLoopThread())
            connection = self._loop.run(connect(self._login))
            stack.callback(lambda: self._loop.run(hang_up(connection)))
            self._shell = Shell(connection, str(self._login))
            script = _keep_work_folder(self._root, self._shell.token)
            self._folder, lifeline = self._loop.run(self._shell.lifeline(script, "make a work folder", PATIENCE_S))
            stack.callback(lambda: self._loop.run(end(lifeline)))
            if not self._folder.startswith("/") or not self._folder.isprintable():
                raise self._shell.failed("make a work folder", b"")
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def path(self, name: str) -> str:
        return f"{self._folder}/{_plain(name)}"

    def push(self, local: Path, name: str) -> str:
        path, deed = self.path(name), f"take the file {name}"
        with _as_device_error(f"read {local}"), local.open("rb") as file:
            size_bytes, digest = local.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            script = _take_file(self._folder, name, digest, self._shell.token)
            done = self._run(script, deed, PATIENCE_S + size_bytes / SLOWEST_BYTES_PER_S, feed=_content_of(file))
        if done.returncode == DAMAGED:
            raise DeviceError(
                f"{name} arrived damaged on {self._shell.name}.", mend="try again; look at the disk there"
            )
        if done.returncode != 0:
            raise self._shell.failed(deed, done.stderr)
        return path

    def pull(self, name: str, local: Path) -> None:
        deed, half = f"give the file {_plain(name)}", local.with_name(f".{local.name}.part")
        script = f"cd {shlex.quote(self._folder)} && echo {self._shell.token} && exec cat ./{shlex.quote(name)}"
        timeout_s = PATIENCE_S + self._most_file_bytes / SLOWEST_BYTES_PER_S
        try:
            with _as_device_error(f"write {local}"), half.open("wb") as file:
                done = self._run(script, deed, timeout_s, keep=_into(file, local), most_bytes=self._most_file_bytes)
            if done.returncode != 0:
                raise self._shell.failed(deed, done.stderr)
            with _as_device_error(f"write {local}"):
                half.replace(local)
        finally:
            with suppress(OSError):
                half.unlink(missing_ok=True)

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        said = bytearray()
        script = watched(self._folder, self._shell.token, argv, len(stdin), env or {})
        feed = _bytes_of(stdin) if stdin else None
        most_bytes = self._most_output_bytes
        try:
            done = self._run(script, f"run '{argv[0]}'", timeout_s, feed=feed, keep=said.extend, most_bytes=most_bytes)
        except Timeout as error:
            raise Timeout(
                f"'{argv[0]}' had not finished on {self._shell.name} after {timeout_s:g} s, and was ended.",
                mend="a slow device or a large model may need fewer runs",
            ) from error
        if done.returncode in CANNOT_START:
            raise ToolMissing(
                f"The program '{argv[0]}' could not be started on {self._shell.name}.{last_words(done.stderr)}",
                expected="a program that is installed there, may be run, and is made for its processor",
            )
        return Completed(done.returncode, bytes(said), done.stderr)

    def _run(
        self,
        script: str,
        deed: str,
        timeout_s: float,
        *,
        feed: Feed | None = None,
        keep: Callable[[bytes], object] = lambda chunk: None,
        most_bytes: int = CHUNK_BYTES,
    ) -> Completed:
        work = self._shell.run(script, deed, timeout_s=timeout_s, feed=feed, keep=keep, most_bytes=most_bytes)
        try:
            return self._loop.run(work)
        except Excess as error:
            raise DeviceError(
                f"To {deed}, {self._shell.name} sent more than {most_bytes} bytes, and was stopped."
            ) from error


def _keep_work_folder(root: str | None, token: str) -> str:
    """The script that makes the work folder, tells its path, and removes it once its stdin ends."""
    where = _shell_path(root) if root else '"${TMPDIR:-/tmp}"'
    old = "-maxdepth 1 -name 'edgesmith-????????' -mtime +2 -exec rm -rf {} +"
    steps = [
        "umask 077",
        f"mkdir -p {where}",
        f"cd {where}",
        "d=$(pwd)/$(mktemp -d edgesmith-XXXXXXXX)",
        # What a power failure left behind; there is no hurry.
        f"{{ find . {old} </dev/null >/dev/null 2>&1 & }}",
        "trap '' HUP TERM",
        f"echo {token}",
        'echo "$d"',
        '{ cat; rm -rf "$d" || { sleep 1; rm -rf "$d"; }; } >/dev/null 2>&1',
    ]
    return " && ".join(steps)


def _take_file(folder: str, name: str, digest: str, token: str) -> str:
    """The script that takes a file under another name, and gives it its own once it is what was sent."""
    half, whole = shlex.quote(f".{name}.part"), shlex.quote(f"./{name}")
    return (
        f"cd {shlex.quote(folder)} && umask 077 && echo {token} || exit; "
        f"cat > {half} && s=$(sha256sum < {half}) || {{ c=$?; rm -f {half}; exit $c; }}; "
        f'case "$s" in {digest}*) mv -f {half} {whole};; *) rm -f {half}; exit {DAMAGED};; esac'
    )


def _shell_path(path: str) -> str:
    """A path as a shell's word; `~` is the home on the device."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:])
    return shlex.quote(path if path.startswith("/") else f"./{path}")


def _content_of(file: IO[bytes]) -> Feed:
    async def feed(stdin: SSHWriter[bytes]) -> None:
        import asyncssh

        # A device that stops reading says why on stderr, or is found to be gone where its output is read.
        with suppress(BrokenPipeError, ConnectionError, asyncssh.Error):
            while chunk := file.read(CHUNK_BYTES):
                stdin.write(chunk)
                await stdin.drain()
            stdin.write_eof()

    return feed


def _bytes_of(content: bytes) -> Feed:
    async def feed(stdin: SSHWriter[bytes]) -> None:
        import asyncssh

        with suppress(ConnectionError, asyncssh.Error):
            stdin.write(content)
            await stdin.drain()

    return feed


def _into(file: IO[bytes], local: Path) -> Callable[[bytes], None]:
    def write(chunk: bytes) -> None:
        with _as_device_error(f"write {local}"):
            file.write(chunk)

    return write
