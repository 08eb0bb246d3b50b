"""Users of a device."""

from __future__ import annotations

from pathlib import Path


def add_user(root: Path, name: str, uid: int, home: str, shell: str) -> None:
    """Add a user, and a group of the same name, whom no password lets in."""
    with (root / "etc/passwd").open("a") as passwd:
        passwd.write(f"{name}:x:{uid}:{uid}:{name}:{home}:{shell}\n")
    with (root / "etc/group").open("a") as group:
        group.write(f"{name}:x:{uid}:\n")
