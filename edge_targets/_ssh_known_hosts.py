"""Which host keys are known, and in which line of which file each one stands. Nothing is ever written there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._errors import DeviceError

if TYPE_CHECKING:
    from asyncssh import SSHKnownHosts

SSH_PORT = 22
# Where OpenSSH looks where nothing else is set.
DEFAULT_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class _Line:
    file: Path
    number: int
    entry: SSHKnownHosts


class KnownHosts:
    """The lines of some known_hosts files. A file that is not there has none; a line that cannot be read is none.

    Args:
        files: the files, in order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._lines = [line for file in files for line in _lines(file)]

    def trusted(self, host: str, address: str, port: int | None) -> Sequence[Any]:
        """What asyncssh asks for: keys, authorities, revoked keys and their X.509 like, of all that names this host.

        As OpenSSH does, a port of its own comes first, and the address is left aside: a name that was made to lead
        to another machine that is known must not be trusted.
        """
        found = self._matches(_name(host, port)) or self._matches(host)
        return [[each for _, match in found for each in match[kind]] for kind in range(7)]

    def places(self, host: str, port: int) -> list[str]:
        """Where a key of this host stands: `FILE line N`, for each."""
        return [f"{line.file} line {line.number}" for line, _ in self._host_keys(host, port)]

    def how_to_forget(self, host: str, port: int) -> str:
        """The command that removes what is known of a host, which has a place."""
        file = self._host_keys(host, port)[0][0].file
        return shlex.join(["ssh-keygen", "-R", _name(host, port), "-f", str(file)])

    def _host_keys(self, host: str, port: int) -> list[tuple[_Line, Sequence[Any]]]:
        return [(line, match) for line, match in self._matches(_name(host, port)) if match[0]]

    def _matches(self, name: str) -> list[tuple[_Line, Sequence[Any]]]:
        matches = [(line, line.entry.match(name, "", None)) for line in self._lines]
        return [(line, match) for line, match in matches if any(match)]


def files_of(setting: Path | None, configured: Any) -> list[Path]:
    """The files to look into.

    Args:
        setting: the one that the user named, or None.
        configured: what asyncssh made of the ssh settings: names; none at all, or None where they say `none`.

    Raises:
        DeviceError: the file that the user named is not there.
    """
    if setting is not None:
        if not setting.expanduser().is_file():
            raise DeviceError(f"There is no file of known host keys {setting}.", expected="a known_hosts file")
        return [setting.expanduser()]
    # To asyncssh, `UserKnownHostsFile none` means: trust everybody. To us it means that nobody is known.
    names = [] if configured is None else list(configured) or list(DEFAULT_FILES)
    return [Path(name).expanduser() for name in names]


def _name(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if port and port != SSH_PORT else host


def _lines(file: Path) -> Iterator[_Line]:
    import asyncssh

    try:
        texts = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for number, text in enumerate(texts, start=1):
        try:
            yield _Line(file, number, asyncssh.import_known_hosts(text))
        # As to ssh, a line that makes no sense is no line.
        except ValueError:
            continue
