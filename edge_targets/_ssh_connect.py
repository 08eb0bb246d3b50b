"""Connecting by ssh with keys alone, to a host whose key is known; and a sentence for each way in which that fails."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._answer import printable
from edge_targets._errors import WrongAddress
from edge_targets._ssh_known_hosts import KnownHosts, files_of

if TYPE_CHECKING:
    import asyncssh
    from asyncssh import SSHClientConnection

# A device that was unplugged answers nothing, for ever: it is given up after three questions.
KEEPALIVE_S, KEEPALIVES = 5, 3
HANG_UP_S = 2.0
# A ProxyCommand in the ssh settings is a shell's line, and these are put into it.
_HOST = re.compile(r"[\w.:%][\w.:%-]{0,254}")
_USER = re.compile(r"[\w.@+][\w.@+-]{0,254}")


@dataclass(frozen=True)
class Login:
    """Whom to connect to, and how. What is None is left to the ssh settings, and to ssh's defaults.

    Attributes:
        host: a name, an address or an alias of the ssh settings.
        user, port: who to be there, and where it listens.
        key_file: the private key.
        known_hosts: the file of known host keys.
        ssh_config: the ssh settings, in the place of `~/.ssh/config`.
        connect_timeout_s: for all of it, logging in included.
    """

    host: str
    user: str | None = None
    port: int | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None
    ssh_config: Path | None = None
    connect_timeout_s: float = 15

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise WrongAddress(f"'{printable(self.host, 80)}' is no name of a host.", expected="a name or an address")
        if self.user is not None and not _USER.fullmatch(self.user):
            raise WrongAddress(f"'{printable(self.user, 80)}' is no name of a user.", expected="a login name")
        if self.port is not None and not 0 < self.port < 2**16:
            raise WrongAddress(f"{self.port} is no port.", expected="a number from 1 to 65535")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


class Attempt:
    """One attempt to connect: what was tried, for the message if it fails.

    Attributes:
        login: what was asked for.
        host, port: what the ssh settings make of it, and what its key is looked up as.
        keys: the key files that the settings name, if any.
        known: the known host keys.
        shown: the key that the host showed, or that of its authority, where it is not known.
    """

    def __init__(self, login: Login) -> None:
        import asyncssh

        self.login = login
        self._arguments = _arguments(login)
        options = asyncssh.SSHClientConnectionOptions(**self._arguments)
        self._jumps = options.tunnel
        self.host, self.port = options.host_key_alias or options.host, options.port
        self.keys: Any = self._arguments.get("client_keys") or options.config.get("IdentityFile", ())
        self.known = KnownHosts(files_of(login.known_hosts, options.known_hosts))
        self.shown: asyncssh.SSHKey | None = None

    def jumps(self) -> list[Login]:
        """The hosts in between, from `ProxyJump`."""
        return [_jump(each, self.login) for each in self._jumps.split(",")] if isinstance(self._jumps, str) else []

    async def connect(self, over: SSHClientConnection | None) -> SSHClientConnection:
        """Connect, through another connection if there is one."""
        import asyncssh

        attempt = self

        class Client(asyncssh.SSHClient):
            """Trusts no key that is not known, and keeps the one that was shown."""

            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                attempt.shown = key
                return False

            validate_host_ca_key = validate_host_public_key

        return await asyncssh.connect(
            **self._arguments, known_hosts=self.known.trusted, client_factory=Client, tunnel=over
        )


async def connect(login: Login) -> SSHClientConnection:
    """Connect and log in.

    Raises:
        Timeout: nobody answered in time.
        DeviceError: it was refused, or the host is not the one that is known.
    """
    from edge_targets._ssh_explain import settings_explained

    with settings_explained(login):
        attempt = Attempt(login)
        hops = [*(Attempt(jump) for jump in attempt.jumps()), attempt]
    deadline_s = asyncio.get_running_loop().time() + login.connect_timeout_s
    connection = await _hop(hops[0], None, deadline_s)
    for hop in hops[1:]:
        connection = await _hop(hop, connection, deadline_s)
    return connection


async def hang_up(connection: SSHClientConnection) -> None:
    """Disconnect, politely where the other end still answers."""
    connection.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(connection.wait_closed(), HANG_UP_S)
    connection.abort()


async def _hop(attempt: Attempt, over: SSHClientConnection | None, deadline_s: float) -> SSHClientConnection:
    import asyncssh

    from edge_targets._ssh_explain import explained

    try:
        async with asyncio.timeout_at(deadline_s):
            connection = await attempt.connect(over)
    except BaseException as error:
        if over is not None:
            over.abort()
        if isinstance(error, OSError | ValueError | asyncssh.Error):
            raise explained(error, attempt) from error
        raise
    if over is not None:
        connection.set_tunnel(over)
    return connection


def _arguments(login: Login) -> dict[str, Any]:
    """What is the same for every connection: keys and nothing else, and nothing of ours is forwarded."""
    given = {"port": login.port, "username": login.user}
    return {
        "host": login.host,
        "config": [str(login.ssh_config.expanduser())] if login.ssh_config else (),
        "client_keys": [str(login.key_file.expanduser())] if login.key_file else (),
        # The agent may hold what is encrypted on disk.
        "ignore_encrypted": True,
        "preferred_auth": ["publickey"],
        "password_auth": False,
        "kbdint_auth": False,
        "host_based_auth": False,
        "gss_auth": False,
        "gss_kex": False,
        "agent_forwarding": False,
        "x11_forwarding": False,
        "request_pty": False,
        # One deadline stands around all of it.
        "connect_timeout": None,
        "login_timeout": 0,
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVES,
        **{name: value for name, value in given.items() if value is not None},
    }


def _jump(text: str, login: Login) -> Login:
    user, _, place = text.strip().rpartition("@")
    host, _, port = place.rpartition(":") if re.search(r":\d+$", place) else (place, "", "")
    return replace(login, host=host.strip("[]"), user=user or None, port=int(port) if port else None, key_file=None)
