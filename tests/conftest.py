"""What every ring of tests is given: the installed command, a tiny recipe, golden files."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small import Command, write_tiny

# Started in the background of a script or by nohup, as CI may be, we inherit an ignored SIGINT or SIGHUP, and hand it
# on to every command that the tests interrupt, and every program whose terminal they take away.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ["tests.lab.fixtures"]

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def edgesmith(tmp_path: Path) -> Command:
    """The command, with an empty home directory."""
    home = tmp_path / "home"
    home.mkdir()
    return Command(home)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A recipe over tiny data, in a folder of its own."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return write_tiny(folder)


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Hold a text against a golden file. EDGESMITH_REGENERATE=1 writes the file anew instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("EDGESMITH_REGENERATE"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
