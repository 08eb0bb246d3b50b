"""The root of a device: packages of its architecture, and what their maintainer scripts would have done."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.apt import Apt, unpack
from tests.lab.python import PYTHON, compile_sources


def make(architecture: str, names: list[str], apt: Apt, root: Path) -> None:
    unpack(apt.packages(architecture, names), root)
    # What maintainer scripts would have done.
    for link, target in {"python3": PYTHON, "awk": "mawk", "which": "which.debianutils"}.items():
        (root / "usr/bin" / link).unlink(missing_ok=True)
        (root / "usr/bin" / link).symlink_to(target)
    for library in root.glob("usr/lib/*/*/lib*.so.3"):
        if library.parent.name in ("blas", "lapack"):  # numpy's linear algebra is an alternative of Debian's
            (library.parents[1] / library.name).symlink_to(library.relative_to(library.parents[1]))
    for name in ("passwd", "group"):
        shutil.copyfile(root / f"usr/share/base-passwd/{name}.master", root / "etc" / name)
    for name in ("dev", "proc", "sys", "tmp", "home", "root", "run/sshd", "data"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for folder in root.glob("usr/lib/python3*"):
        compile_sources(folder)
