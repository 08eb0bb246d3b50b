"""Wheels for tests: of a distribution that is installed here, or made up."""

from __future__ import annotations

import struct
import zipfile
from importlib.metadata import distribution
from pathlib import Path


def wheel_of(project: str, folder: Path) -> Path:
    """An installed distribution, packed again as the wheel that it came in."""
    found = distribution(project)
    tag = next(line.removeprefix("Tag: ") for line in (found.read_text("WHEEL") or "").splitlines() if "Tag: " in line)
    path = folder / f"{project.replace('-', '_')}-{found.version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or []:
            if not file.parts[0].startswith("..") and file.suffix != ".pyc":
                archive.write(str(file.locate()), str(file))
    return path


def made_up(folder: Path, name: str, *, needs: tuple[str, ...] = (), machine: int | None = None) -> Path:
    """A wheel of this name that holds a module and, for a machine of ELF's, a library."""
    path = folder / name
    project, version = name.split("-")[:2]
    metadata = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{project}/__init__.py", "")
        archive.writestr(
            f"{project}-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n{metadata}",
        )
        archive.writestr(
            f"{project}-{version}.dist-info/WHEEL",
            f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {name.split('-', 2)[2][:-4]}\n",
        )
        archive.writestr(f"{project}-{version}.dist-info/RECORD", "")
        if machine is not None:
            archive.writestr(f"{project}/core.so", b"\x7fELF" + bytes(14) + struct.pack("<H", machine))
    return path
