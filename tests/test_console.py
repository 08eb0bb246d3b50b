"""What people see while they wait, on a terminal and off it; and the log that stays."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.console import LOG, ConsoleProgress
from pipeline.errors import StorageError


def on(terminal: bool) -> tuple[ConsoleProgress, io.StringIO]:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=80, color_system=None, legacy_windows=False)
    return ConsoleProgress(console), shown


def train(progress: ConsoleProgress) -> None:
    with progress, progress.bar("train", 2) as bar:
        bar.advance(1, "loss 0.5000")
        bar.advance(1, "loss 0.2500")


def test_off_a_terminal_a_step_is_two_plain_lines() -> None:
    progress, shown = on(terminal=False)
    train(progress)
    begun, done = shown.getvalue().splitlines()
    assert begun == "train: 2 steps"
    assert done.startswith("train: done in ")
    assert done.endswith(" s, loss 0.2500")
    assert "\x1b" not in shown.getvalue()


def test_one_step_is_counted_as_one() -> None:
    progress, shown = on(terminal=False)
    with progress, progress.bar("train", 1):
        pass
    assert shown.getvalue().startswith("train: 1 step\n")


def test_on_a_terminal_the_bar_gives_way_to_one_line() -> None:
    progress, shown = on(terminal=True)
    train(progress)
    assert "0%" in shown.getvalue()
    last = shown.getvalue().splitlines()[-1].rpartition("\r")[2]
    assert last.startswith("train: done in ")
    assert last.endswith(" s, loss 0.2500")
    # What the bar had drawn was wiped before that line, and the cursor is back.
    assert shown.getvalue().rindex("\x1b[2K") < shown.getvalue().rindex("train: done")
    assert shown.getvalue().count("\x1b[?25l") == shown.getvalue().count("\x1b[?25h")


def test_bars_follow_each_other_on_one_terminal() -> None:
    progress, shown = on(terminal=True)
    train(progress)
    train(progress)
    assert shown.getvalue().count("train: done in") == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_step_that_fails_is_never_called_done(terminal: bool) -> None:
    progress, shown = on(terminal)
    with pytest.raises(ZeroDivisionError), progress, progress.bar("train", 2) as bar:
        bar.advance(1 // 0)
    assert "done" not in shown.getvalue()


def test_a_note_is_shown_as_it_is() -> None:
    progress, shown = on(terminal=False)
    progress.note("loading [bold]mnist[/] " + "x" * 200)
    assert shown.getvalue() == "loading [bold]mnist[/] " + "x" * 200 + "\n"


def test_every_line_of_the_log_is_on_the_disk_at_once_and_is_json(tmp_path: Path) -> None:
    progress, _ = on(terminal=False)
    progress.log("before there is a log")
    progress.open_log(tmp_path)
    progress.log("epoch", stage="train", epoch=1, loss=0.25, val_loss=float("nan"))
    # Read while the log is still open: a run that is killed here has lost nothing.
    [line] = tmp_path.joinpath(LOG).read_text().splitlines()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    facts = json.loads(line, parse_constant=refuse)
    assert {name: facts[name] for name in ("event", "stage", "epoch", "loss")} == {
        "event": "epoch", "stage": "train", "epoch": 1, "loss": 0.25,
    }  # fmt: skip
    assert facts["val_loss"] == "nan"
    with progress:
        assert progress.log_folder == tmp_path


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    progress, _ = on(terminal=False)
    with pytest.raises(StorageError, match=LOG):
        progress.open_log(tmp_path / "nowhere")
