"""How long work tells how far it is. The pictures are drawn in `console.py`; here are only the words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class Bar(Protocol):
    """One long step that advances."""

    def advance(self, steps: int = 1, text: str = "") -> None:
        """Move on by `steps`; `text` is a short figure to show beside the bar (a loss, a score)."""


class Progress:
    """The silent progress: shows nothing, logs nothing. `console.py` has the one that people see.

    Attributes:
        log_folder: where a stage may put logs of its own (TensorBoard), or None.
    """

    log_folder: Path | None = None

    def open_log(self, folder: Path) -> None:
        """Keep the run's log in this folder from now on."""

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        """A bar for `total` steps, closed when the block ends."""
        yield _SilentBar()

    def note(self, text: str) -> None:
        """One line for people."""

    def log(self, event: str, **facts: object) -> None:
        """One line for the run's log (`training.jsonl`): kept even when the run fails."""


class _SilentBar:
    def advance(self, steps: int = 1, text: str = "") -> None:
        pass
