"""The real `adb` client for tests: the machine's own, or Debian's package unpacked into the cache, not installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("adb", "android-libbase", "android-libboringssl", "android-libcutils", "android-liblog", "libusb-1.0-0")


@dataclass(frozen=True)
class AdbServer:
    """The client, and a port for a server of the test's own.

    Attributes:
        program: path of the client.
        port: the server's.
    """

    program: str
    port: int

    def ask(self, *words: str) -> str:
        """What the client prints."""
        command = [self.program, "-P", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def forget_devices(self) -> None:
        """Disconnect from every device."""
        self.ask("disconnect")

    def announce(self, port: int) -> None:
        """Tell the server of an emulator, as emulators do when they start, and wait until it is ready."""
        serial, service = f"emulator-{port - 1}", f"host:emulator:{port}"
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(f"{len(service):04x}{service}".encode())
        deadline = time.monotonic() + 30
        while f"{serial}\tdevice" not in self.ask("devices"):
            assert time.monotonic() < deadline, f"{serial} did not come"
            time.sleep(0.1)


@contextmanager
def adb_server(folder: Path) -> Iterator[AdbServer | None]:
    """A server on a free port, ended with all its connections; None where there is no client."""
    program = adb_program(folder)
    if program is None:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = AdbServer(str(program), free.getsockname()[1])
    try:
        yield server
    finally:
        server.ask("kill-server")


def adb_program(folder: Path) -> Path | None:
    """A client that keeps its keys in a folder of the test's own; None where none can be had.

    Args:
        folder: where the script that starts it is written.
    """
    found = shutil.which("adb")
    real = Path(found) if found else _unpacked()
    if real is None:
        return None
    home = folder / "home"
    home.mkdir(parents=True)
    script = folder / "adb"
    libraries = ":".join(str(path) for path in real.parents[2].glob("*/android")) if not found else ""
    script.write_text(
        f"#!/bin/sh\nexport HOME='{home}' TMPDIR='{home}' LD_LIBRARY_PATH='{libraries}'\nexec '{real}' \"$@\"\n"
    )
    script.chmod(0o755)
    return script


def _unpacked() -> Path | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "edgesmith-lab", "adb-client")
    if not cache.is_dir() and not _unpack(cache):
        return None
    return cache / "usr/lib/android-sdk/platform-tools/adb"


def _unpack(cache: Path) -> bool:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return False
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as work:
        fetched = subprocess.run(["apt-get", "download", *PACKAGES], cwd=work, capture_output=True, timeout=120)
        root = Path(work, "root")
        for package in Path(work).glob("*.deb") if fetched.returncode == 0 else []:
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        if fetched.returncode == 0 and not cache.exists():
            root.rename(cache)
    return cache.is_dir()
