"""What runs on this machine: the emulators, and the real clients, unpacked beside the machine's own packages."""

from __future__ import annotations

from pathlib import Path

from tests.lab.apt import Apt, unpack
from tests.lab.packages import TOOLS


def make(apt: Apt, folder: Path) -> None:
    packages = apt.packages("amd64", TOOLS)
    emulators = [f"./usr/bin/qemu-{name}-static" for name in ("aarch64", "arm")]
    for package in packages:
        if package.name.startswith("qemu-user-static_"):
            unpack([package], folder, only=emulators)
        elif not package.name.startswith("libc6_"):  # the loader and its C library must be of one build: the machine's
            unpack([package], folder)
    (folder / "clients").mkdir()
    for program in ("adb", "ssh", "scp", "sftp", "ssh-keygen"):
        _wrapper(folder, program)


def _wrapper(folder: Path, program: str) -> None:
    """A script that starts a program with the libraries that came with it."""
    libraries = "$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu/android"
    script = folder / "clients" / program
    script.write_text(
        "#!/bin/sh\n"
        'root=$(dirname "$(dirname "$(readlink -f "$0")")")\n'
        f'LD_LIBRARY_PATH="{libraries}" exec "$root/usr/bin/{program}" "$@"\n'
    )
    script.chmod(0o755)
