"""Python on a device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYTHON = "python3.11"


def compile_sources(folder: Path) -> None:
    """Compile what is imported: an emulated processor would take seconds over it, each time."""
    if f"python3.{sys.version_info.minor}" != PYTHON:
        return  # another version's code would not be used
    options = ["-q", "-j", "2", "-x", "/tests?/|/lib2to3/", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([sys.executable, "-m", "compileall", *options, folder], check=False)
