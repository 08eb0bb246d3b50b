"""Where built parts of the lab are kept: each whole or not there at all, under a name that tells what it is made of."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def folder() -> Path:
    """The cache: `edgesmith-lab` in XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgesmith-lab"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; whoever comes second waits. The kernel frees it when we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def key(*ingredients: str | bytes) -> str:
    """A short hash of what something is built from."""
    digest = hashlib.sha256()
    for ingredient in ingredients:
        content = ingredient.encode() if isinstance(ingredient, str) else ingredient
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:16]


def build(path: Path, make: Callable[[Path], None]) -> Path:
    """Make a folder unless it is there. Call it under the build's lock.

    Args:
        path: where it will be.
        make: fills the empty folder that it is given; when it fails, nothing is left.
    """
    if path.exists():
        return path
    half = path.with_name(f"{path.name}.half")
    shutil.rmtree(half, ignore_errors=True)  # what a build left that was ended hard
    half.mkdir(parents=True)
    try:
        make(half)
        half.rename(path)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return path
