"""AOSP's adbd, compiled for arm64 from Debian's source package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.lab.apt import Apt, unpack
from tests.lab.packages import ADBD_SOURCE, COMPILER, COMPILER_LIBRARIES

HERE = Path(__file__).parent / "adbd"


def ingredients() -> list[str]:
    """What the compiled program depends on."""
    files = [path.read_text() for path in sorted(HERE.iterdir())]
    return [Path(__file__).read_text(), *files, ADBD_SOURCE, *COMPILER, *COMPILER_LIBRARIES]


def make(apt: Apt, folder: Path) -> None:
    """Fill a layer that holds `adbd`. The compiler lives in a root of its own beside it, which is thrown away."""
    root = folder / "root"
    try:
        unpack(apt.packages("amd64", COMPILER), root)
        unpack(apt.packages("arm64", COMPILER_LIBRARIES), root)
        shutil.move(apt.source(ADBD_SOURCE), root / "source")
        shutil.copytree(HERE, root / "recipe")
        # The compiler needs /dev/null; a mount in a namespace is gone with it.
        inside = 'mount --rbind /dev "$1/dev" && exec chroot "$1" /bin/bash /recipe/build.sh /source /adbd'
        (root / "dev").mkdir(exist_ok=True)
        subprocess.run(["unshare", "--mount", "sh", "-c", inside, "sh", root], check=True)
        (folder / "usr/sbin").mkdir(parents=True)
        shutil.move(root / "adbd", folder / "usr/sbin/adbd")
    finally:
        shutil.rmtree(root, ignore_errors=True)
