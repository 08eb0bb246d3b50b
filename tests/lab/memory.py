"""Limits of memory by control groups, of either version."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")


def can_be_limited() -> bool:
    """Whether this machine lets us limit memory."""
    return _parent() is not None


@contextmanager
def limited(name: str, pids: Sequence[int], most_bytes: int) -> Iterator[None]:
    """Put processes, and all that they start, into a group that may use so much memory and no swap."""
    parent = _parent()
    assert parent is not None, "this kernel offers no memory control group"
    group = parent / name
    group.mkdir()
    try:
        for limit in ("memory.limit_in_bytes", "memory.max"):
            if (group / limit).exists():
                (group / limit).write_text(str(most_bytes))
        _move(pids, group)
        yield
    finally:
        _move([int(pid) for pid in (group / "cgroup.procs").read_text().split()], parent)
        _remove(group)


def _parent() -> Path | None:
    if (V1 / "memory.limit_in_bytes").exists():
        return V1
    controllers = V2 / "cgroup.subtree_control"
    return V2 if controllers.exists() and "memory" in controllers.read_text().split() else None


def _move(pids: Sequence[int], group: Path) -> None:
    for pid in pids:
        try:
            (group / "cgroup.procs").write_text(str(pid))
        except ProcessLookupError:
            continue


def _remove(group: Path) -> None:
    # Processes that were killed are counted until they are gone for good.
    for _ in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.02)
    group.rmdir()
