"""What people see while they wait: bars on a terminal, a plain line a step anywhere else; and the run's log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
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
            # Line by line, behind what earlier runs left: what was learnt stays, however a run ends.
            self._log = folder.joinpath(LOG).open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise StorageError(f"The log {folder / LOG} cannot be written: {error.strerror}.") from error

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        started = time.perf_counter()
        with self._drawn(description, total) as bar:
            yield bar
        seconds = time.perf_counter() - started
        self.note(f"{description}: done in {seconds:.1f} s{f', {bar.text}' if bar.text else ''}")

    @contextmanager
    def _drawn(self, description: str, total: int) -> Iterator[_Bar]:
        if not self._console.is_terminal:
            self.note(f"{description}: {total} step{'' if total == 1 else 's'}")
            yield _Bar()
            return
        with self._bars as bars:
            task = bars.add_task(description, total=total, text="")
            try:
                yield _DrawnBar(bars, task)
            finally:
                bars.remove_task(task)

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def log(self, event: str, **facts: object) -> None:
        if self._log is None:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line = {"time": now, "event": event, **{name: _json_ready(fact) for name, fact in facts.items()}}
        self._log.write(json.dumps(line, default=str) + "\n")


def _json_ready(fact: object) -> object:
    """JSON has no NaN and no infinity, and those are what a log of a failed training is read for."""
    return str(fact) if isinstance(fact, float) and not math.isfinite(fact) else fact


class _Bar:
    """Remembers the last figure; shows nothing."""

    text = ""

    def advance(self, steps: int = 1, text: str = "") -> None:
        self.text = text


class _DrawnBar(_Bar):
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, steps: int = 1, text: str = "") -> None:
        super().advance(steps, text)
        self._bars.update(self._task, advance=steps, text=text)


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[text]}"),
        console=console,
        transient=True,
    )
