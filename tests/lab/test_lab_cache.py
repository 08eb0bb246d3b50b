"""What is built is whole or not there; and where nothing can be built, that is said. Needs no lab."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.lab import cache


def test_what_was_built_is_kept(tmp_path: Path) -> None:
    for content in ("first", "second"):
        built = cache.build(tmp_path / "part", partial(write, content=content))
    assert (built / "file").read_text() == "first"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder, "half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        cache.build(tmp_path / "part", fail)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_is_not_taken(tmp_path: Path) -> None:
    killed = "import os, sys, pathlib; from tests.lab.cache import build; "
    killed += "build(pathlib.Path(sys.argv[1]), lambda folder: os._exit(9))"
    assert subprocess.run([sys.executable, "-c", killed, tmp_path / "part"]).returncode == 9
    assert not (tmp_path / "part").exists()
    cache.build(tmp_path / "part", lambda folder: write(folder, "whole"))
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    assert (tmp_path / "part/file").read_text() == "whole"


def test_the_key_tells_ingredients_apart() -> None:
    assert len({cache.key("ab", "c"), cache.key("a", "bc"), cache.key("abc"), cache.key(b"ab", "c", "")}) == 4
    assert cache.key("ab") == cache.key(b"ab")


def test_without_root_the_lab_says_so_in_a_sentence() -> None:
    ask = "import os, sys; from tests.lab import __main__ as lab; "
    ask += "os.geteuid() or os.seteuid(65534); sys.exit(lab.main(['status']))"
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (3, "")
    assert said.stderr.startswith("There is no lab here: the lab ")
    assert said.stderr.count("\n") == 1


def write(folder: Path, content: str) -> None:
    (folder / "file").write_text(content)
