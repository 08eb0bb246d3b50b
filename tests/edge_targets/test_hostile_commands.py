"""A few of the damaged models of `fuzz_commands.py`, through the real commands. All 2,000 take the script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.edge_targets.fuzz_commands import SEEDS, damaged

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e


def test_damaged_models_end_in_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.edge_targets.fuzz_commands", "--count", "24", "--first", "7000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inspect: 24 files" in done.stdout
    assert "benchmark: 24 files" in done.stdout
    # Were all of them refused at the door, the interpreter would not have been tried.
    assert "0: " in done.stdout.partition("benchmark: ")[2]
    assert "3: " in done.stdout.partition("benchmark: ")[2]


def test_the_damage_is_the_same_each_time_and_various() -> None:
    assert damaged(5) == damaged(5)
    assert len({damaged(number) for number in range(60)}) > 50
    assert len(SEEDS) == 3
