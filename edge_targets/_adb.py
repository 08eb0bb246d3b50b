"""Android devices over the `adb` client program: files by its sync service, programs by its shell service.

Every command is one line for the device's shell, built here, each word quoted. It ends by printing a token that only
this call knows: output without it is that of a device which was lost, whatever exit code the client gives.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from edge_targets._adb_client import ASK_TIMEOUT_S, AdbClient, last_words
from edge_targets._errors import DeviceError, TargetError, Timeout, ToolMissing
from edge_targets._transport import MOST_OUTPUT_BYTES, STDERR_TAIL_BYTES, Completed, _as_device_error, _plain

ROOT = "/data/local/tmp/edgesmith"
MOST_PULLED_BYTES = 512 * 2**20
# USB 1.1 still has half a megabyte a second; an emulated device much less.
SLOWEST_BYTES_A_S = 2**17
# Whoever ends something has waited already.
END_TIMEOUT_S = 5.0
NO_SUCH_PROGRAM = (126, 127)
NO_SHA256SUM, OTHER_CONTENT = 81, 82


class Adb:
    """The way to one Android device.

    Commands need Android 7 (shell protocol 2); Android 5 and 6 are served by a fallback, where the exit code comes
    from the token's line, stderr by way of a file, and stdout is a raw terminal. Nothing is installed, and root is not
    needed.

    Args:
        serial: which device; None takes the only one.
        connect: `host:port` to connect to first. The connection stays: others may use it.
        adb: the client program.
        server_port: the adb server's port, None for its own choice.
        root: where work folders are made on the device. Those that a lost connection left there go after two days.
        most_output_bytes: a program that writes more to stdout is ended.
        most_pulled_bytes: a larger file is not pulled.
    """

    def __init__(
        self,
        serial: str | None = None,
        connect: str | None = None,
        *,
        adb: str = "adb",
        server_port: int | None = None,
        root: str = ROOT,
        most_output_bytes: int = MOST_OUTPUT_BYTES,
        most_pulled_bytes: int = MOST_PULLED_BYTES,
    ) -> None:
        self._wanted = serial
        self._address = connect
        self._adb = adb
        self._server_port = server_port
        self._root = root
        self._most_output_bytes = most_output_bytes
        self._most_pulled_bytes = most_pulled_bytes

    def __enter__(self) -> Self:
        self._client = AdbClient(self._adb, self._server_port)
        self._client.start_server()
        self.serial = self._found()
        features = self._client.run("-s", self.serial, "features", timeout_s=ASK_TIMEOUT_S)
        self._split = b"shell_v2" in features.stdout.split()
        self._folder = f"{self._root}/run-{secrets.token_hex(8)}"
        self._make_folder()
        return self

    def __exit__(self, *error: object) -> None:
        # A device that is gone keeps its folder; a later visit sweeps it.
        with suppress(TargetError):
            self._shell(f"rm -rf {shlex.quote(self._folder)}")

    def path(self, name: str) -> str:
        return f"{self._folder}/{_plain(name)}"

    def push(self, local: Path, name: str) -> str:
        with _as_device_error(f"read {local}"), local.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        path, half = self.path(name), f"{self._folder}/.{name}.part"
        try:
            self._send(local, half)
            self._switch(half, path, digest)
        except TargetError:
            with suppress(TargetError):
                self._shell(f"rm -f {shlex.quote(half)}")
            raise
        return path

    def pull(self, name: str, local: Path) -> None:
        content = self._read(self.path(name))
        half = local.with_name(f".{local.name}.part")
        with _as_device_error(f"write {local}"):
            half.write_bytes(content)
            half.replace(local)

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float, env: Mapping[str, str] | None = None
    ) -> Completed:
        source = self._push_stdin(stdin) if stdin else "/dev/null"
        exports = "".join(f"export {_variable(name)}={shlex.quote(value)}; " for name, value in (env or {}).items())
        program = f"{exports}exec {shlex.join(argv)}"
        done = self._shell(
            f"cd {shlex.quote(self._folder)} || exit 1; ( {program} ) < {shlex.quote(source)}",
            timeout_s=timeout_s,
            most_output_bytes=self._most_output_bytes,
            subject=argv[0],
        )
        if done.returncode in NO_SUCH_PROGRAM:
            raise ToolMissing(
                f"The program '{argv[0]}' could not be started on {self.serial}.{last_words(done)}",
                expected="a program that is there, may be run, and is made for its processor",
            )
        return done

    def shell(self, script: str) -> bytes:
        """What a script of ours printed; it takes a moment, and gets nothing of a user's into it."""
        return self._shell(script).stdout

    def _found(self) -> str:
        if self._address is not None:
            serial = self._client.connect(self._address)
            if self._wanted is None:
                return serial
        serial = self._wanted or self._client.choose()
        self._client.require(serial)
        return serial

    def _make_folder(self) -> None:
        root, folder = shlex.quote(self._root), shlex.quote(self._folder)
        left = "\\( -name 'run-*' -o -name '.[0-9a-f]*' \\)"
        sweep = f"find {root} -maxdepth 1 {left} -mtime +1 -exec rm -rf {{}} +"
        done = self._shell(f"mkdir -p {root} && mkdir -m 700 {folder} && {{ {sweep}; }} 2>/dev/null; [ -d {folder} ]")
        if done.returncode != 0:
            raise DeviceError(f"No work folder could be made on {self.serial}.{last_words(done)}", mend=_room(done))

    def _send(self, local: Path, remote: str) -> None:
        timeout_s = ASK_TIMEOUT_S + local.stat().st_size / SLOWEST_BYTES_A_S
        try:
            # Absolute, so that no name can pass for an option.
            done = self._client.run("-s", self.serial, "push", str(local.absolute()), remote, timeout_s=timeout_s)
        except Timeout as error:
            raise Timeout(f"{self.serial} had not taken {local.name} after {timeout_s:.0f} s.") from error
        if done.returncode != 0:
            raise DeviceError(f"{local.name} could not be sent to {self.serial}.{last_words(done)}", mend=_room(done))

    def _switch(self, half: str, path: str, digest: str) -> None:
        """Give a file that was sent its name, if it is what was to be sent."""
        old, new = shlex.quote(half), shlex.quote(path)
        done = self._shell(
            f"sum=$(sha256sum < {old}) || exit {NO_SHA256SUM};"
            f" case $sum in {digest}*) mv -f {old} {new};; *) exit {OTHER_CONTENT};; esac",
            timeout_s=10 * ASK_TIMEOUT_S,
        )
        # Android 7 and older have no sha256sum: what is there is read back.
        same = done.returncode == 0
        if done.returncode == NO_SHA256SUM and hashlib.sha256(self._read(half)).hexdigest() == digest:
            same = self._shell(f"mv -f {old} {new}").returncode == 0
        if not same:
            raise DeviceError(
                f"What arrived on {self.serial} is not what was sent.{last_words(done)}", mend="try again; free space"
            )

    def _read(self, path: str) -> bytes:
        done = self._shell(
            f"cat {shlex.quote(path)}",
            timeout_s=ASK_TIMEOUT_S + self._most_pulled_bytes / SLOWEST_BYTES_A_S,
            most_output_bytes=self._most_pulled_bytes,
            subject=path,
        )
        if done.returncode != 0:
            raise DeviceError(f"{path} could not be read from {self.serial}.{last_words(done)}")
        return done.stdout

    def _push_stdin(self, stdin: bytes) -> str:
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            local = Path(folder, "stdin")
            local.write_bytes(stdin)
            return self.push(local, "edgesmith-stdin")

    def _shell(
        self, script: str, *, timeout_s: float = ASK_TIMEOUT_S, most_output_bytes: int = 2**20, subject: str = "it"
    ) -> Completed:
        """Run a script in the device's shell, in a process group of its own that is ended with all that is in it."""
        token = secrets.token_hex(8)
        line = _guarded(script, token, self._root, split=self._split)
        with _in_our_words(subject, self.serial, timeout_s, most_output_bytes):
            try:
                done = self._ask(line, timeout_s, most_output_bytes)
            # Ctrl-C, too: not every device notices that nobody listens any more.
            except BaseException:
                self._end(token)
                raise
        return self._ended(done, token)

    def _ask(self, line: str, timeout_s: float, most_output_bytes: int = 2**20) -> Completed:
        # No terminal, or line ends would change; no stdin, it comes by file.
        words = ["shell", "-T", "-n"] if self._split else ["exec-out"]
        return self._client.run(
            "-s", self.serial, *words, line, timeout_s=timeout_s, most_output_bytes=most_output_bytes
        )

    def _ended(self, done: Completed, token: str) -> Completed:
        """What a script gave, taken apart. Without the token at its end, the device was lost on the way."""
        body, found, code = done.stdout.rpartition(f"\n{token} ".encode())
        if not found or not re.fullmatch(rb"\d{1,3}\s*", code):
            raise DeviceError(
                f"The device '{self.serial}' was lost.{last_words(Completed(1, stderr=done.stderr))}",
                mend="see whether it is plugged in and on: adb devices",
            )
        if self._split:
            return Completed(int(code), body, done.stderr)
        said, _, complaints = body.rpartition(f"\n{token}-stderr\n".encode())
        return Completed(int(code), said, complaints)

    def _end(self, token: str) -> None:
        """End a process group that outlived its client. One whose device is gone gets a hangup there."""
        mark = _mark(self._root, token)
        with suppress(TargetError):
            self._ask(f"p=$(cat {mark}) && {{ kill -9 -$p || kill -9 $p; }}; rm -f {mark} {mark}-stderr", END_TIMEOUT_S)


@contextmanager
def _in_our_words(subject: str, serial: str, timeout_s: float, most_output_bytes: int) -> Iterator[None]:
    """The client's errors are about the client; a user wants to know of the program on the device."""
    try:
        yield
    except Timeout as error:
        raise Timeout(
            f"'{subject}' had not finished on {serial} after {timeout_s:g} s, and was ended.",
            mend="a slow device or a large model may need fewer runs",
        ) from error
    except DeviceError as error:
        what = f"'{subject}' on {serial} gave more than {most_output_bytes} bytes, and was ended."
        raise DeviceError(what) from error


def _guarded(script: str, token: str, root: str, *, split: bool) -> str:
    """A script in a process group that can be ended, followed by the token and its exit code on a line."""
    mark, stderr = _mark(root, token), f"{_mark(root, token)}-stderr"
    # adbd makes the shell the leader of a session. It waits for a child in the background, because only so does it
    # hear the hangup that tells of a lost connection while the child runs.
    begin = f"{{ mkdir -p {shlex.quote(root)}; echo $$ > {mark}; }} 2>/dev/null; trap 'kill -9 -$$' HUP"
    child = f"( {script} )" if split else f"( {script} ) 2> {stderr}"
    told = "" if split else f" echo; echo {token}-stderr; tail -c {STDERR_TAIL_BYTES} {stderr} || cat {stderr};"
    return f"{begin}; {child} & wait $!; code=$?;{told} rm -f {mark} {stderr}; echo; echo {token} $code"


def _mark(root: str, token: str) -> str:
    """The file, quoted, that holds the number of a script's process group while it runs."""
    return shlex.quote(f"{root}/.{token}")


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise DeviceError(f"'{name}' cannot be a variable of the device's shell.", expected="letters, digits and _")
    return name


def _room(done: Completed) -> str:
    return "free some space on the device" if b"No space left" in done.stderr + done.stdout else ""
