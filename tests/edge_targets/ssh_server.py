"""A real ssh server on loopback, in a process of its own that can be killed, which runs real programs of this machine.

    python ssh_server.py HOST_KEY AUTHORIZED_KEYS HOME SHELL

prints its port. Programs run as `SHELL -c COMMAND` in HOME, each in a session of its own, as sshd has it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from edge_targets._ssh_connect import Login


@dataclass
class Server:
    """One that runs, and what a client needs to reach it."""

    process: subprocess.Popen[str]
    port: int
    folder: Path

    @property
    def home(self) -> Path:
        """The home folder there."""
        return self.folder / "home with $(spaces)"

    def login(self, **changes: Any) -> Login:
        """The right way to log in, with some of it changed."""
        given = {"host": "127.0.0.1", "user": "pi", "port": self.port, "key_file": self.folder / "client key"}
        return Login(**{**given, "known_hosts": self.folder / "known hosts", **changes})

    def kill(self) -> None:
        """Pull the plug: nothing is said to anybody."""
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(folder: Path, shell: str = "/bin/sh", *, authority: Path | None = None) -> Iterator[Server]:
    """A server whose keys and home lie in a folder; its host key may be certified by an authority's key."""
    folder.joinpath("home with $(spaces)").mkdir(parents=True)
    for name in ("host key", "client key"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / name)
        key.write_public_key(folder / f"{name}.pub")
    if authority is not None:
        signer, public = asyncssh.read_private_key(authority), asyncssh.read_public_key(folder / "host key.pub")
        certificate = signer.generate_host_certificate(public, "host", principals=["127.0.0.1"])
        certificate.write_certificate(folder / "host key-cert.pub")
    command = [sys.executable, __file__, *(str(folder / name) for name in ("host key", "client key.pub"))]
    root = Path(__file__).parent.parent.parent
    process = subprocess.Popen(
        [*command, str(folder / "home with $(spaces)"), shell],
        stdout=subprocess.PIPE,
        # asyncssh's server grumbles where a client is gone.
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    with process:
        try:
            assert process.stdout is not None
            server = Server(process, int(process.stdout.readline()), folder)
            shown = folder.joinpath("host key.pub").read_text()
            folder.joinpath("known hosts").write_text(f"[127.0.0.1]:{server.port} {shown}")
            yield server
        finally:
            process.kill()


class _Daemon(asyncssh.SSHServer):
    """Lets itself be jumped through."""

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


async def _handle(process: asyncssh.SSHServerProcess[bytes], home: str, shell: str) -> None:
    child = await asyncio.create_subprocess_exec(
        shell,
        *("-c", process.command or ""),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": home, "SSH_AUTH_SOCK": _agent(process)},
        start_new_session=True,
    )
    # asyncssh could join the streams itself, but loses the end of stdin.
    feeding = asyncio.create_task(_feed(process, child.stdin))
    with suppress(OSError, asyncssh.Error):
        await asyncio.gather(_tell(child.stdout, process.stdout), _tell(child.stderr, process.stderr))
    code = await child.wait()
    feeding.cancel()
    if child.stdin is not None:
        child.stdin.close()
    if code < 0:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


async def _feed(process: asyncssh.SSHServerProcess[bytes], stdin: Any) -> None:
    with suppress(OSError, asyncssh.Error):
        while chunk := await process.stdin.read(2**16):
            stdin.write(chunk)
            await stdin.drain()
    stdin.close()


async def _tell(source: Any, sink: asyncssh.SSHWriter[bytes]) -> None:
    while chunk := await source.read(2**16):
        sink.write(chunk)
        await sink.drain()


def _agent(process: asyncssh.SSHServerProcess[bytes]) -> str:
    return process.channel.get_agent_path() or ""


async def _serve(host_key: str, authorized: str, home: str, shell: str) -> None:
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        server_factory=_Daemon,
        authorized_client_keys=authorized,
        process_factory=lambda process: _handle(process, home, shell),
        encoding=None,
        password_auth=False,
    )
    sys.stdout.write(f"{acceptor.get_port()}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
