"""Wheels for a device, from the machine's own pip index."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.lab.apt import Apt
from tests.lab.packages import PLATFORMS, WHEELS, pinned
from tests.lab.python import PYTHON, compile_sources


def make(machine: str, _apt: Apt, folder: Path) -> None:
    """`wheels`: the files, as somebody would carry them to a board; `layer`: the same, installed."""
    command = [sys.executable, "-m", "pip", "download", "-qq", "--dest", str(folder / "wheels")]
    command += ["--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"]
    command += [word for platform in PLATFORMS[machine] for word in ("--platform", platform)]
    # On 32 bits numpy is Debian's, so it is not asked for.
    command += ["--no-deps"] if machine == "armv7l" else []
    subprocess.run([*command, *pinned(WHEELS[machine])], check=True)
    site = folder / "layer/usr/local/lib" / PYTHON / "dist-packages"
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        shutil.unpack_archive(wheel, site, "zip")
    compile_sources(site)
