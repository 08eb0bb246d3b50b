"""Python on a device."""

from __future__ import annotations

import subprocess
from pathlib import Path

PYTHON = "python3.11"


def compile_sources(folder: Path) -> None:
    """Compile what is imported: an emulated processor would take seconds over it, each time."""
    command = [
        PYTHON,
        "-m",
        "compileall",
        "-q",
        "-j",
        "2",
        "-x",
        "/tests?/|/lib2to3/",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    subprocess.run([*command, folder], check=False)
