"""What people see while they wait: bars on a terminal, a plain line a step anywhere else; and the run's log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from pipeline.errors import StorageError
from pipeline.progress import Bar, Progress

LOG = "training.jsonl"


class ConsoleProgress(Progress):
    """Progress on stderr. It is entered for the time of one run, and closes its log at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = _bars(self._console)
        self._log: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._log is not None:
            self._log.close()

    def open_log(self, folder: Path) -> None:
        self.log_folder = folder
        try:
            # Line by line to the disk: what was learnt stays, however the run ends.
            self._log = folder.joinpath(LOG).open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise StorageError(f"The log {folder / LOG} cannot be written: {error.strerror}.") from error

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        if not self._console.is_terminal:
            with self._plain(description, total) as bar:
                yield bar
            return
        with self._bars as bars:
            task = bars.add_task(description, total=total, text="")
            try:
                yield _ShownBar(bars, task)
            finally:
                bars.remove_task(task)
        self._console.print(f"[green]✓[/] {description}", highlight=False)

    @contextmanager
    def _plain(self, description: str, total: int) -> Iterator[Bar]:
        started = time.perf_counter()
        self.note(f"{description}: {total} steps")
        bar = _PlainBar()
        yield bar
        seconds = time.perf_counter() - started
        self.note(f"{description}: done in {seconds:.1f} s{f', {bar.text}' if bar.text else ''}")

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def log(self, event: str, **facts: object) -> None:
        if self._log is None:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line: dict[str, Any] = {"time": now, "event": event, **facts}
        self._log.write(json.dumps(line, default=str) + "\n")


class _ShownBar:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, steps: int = 1, text: str = "") -> None:
        self._bars.update(self._task, advance=steps, text=text)


class _PlainBar:
    text = ""

    def advance(self, steps: int = 1, text: str = "") -> None:
        self.text = text


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[text]}"),
        console=console,
        transient=True,
    )
