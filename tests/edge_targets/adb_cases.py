"""What every Android device must do over `Adb`: the fake one, a fake old one, and the real daemon in the lab."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from edge_targets import Completed, DeviceError, Timeout, ToolMissing
from edge_targets._adb import Adb

NAME = 'it\'s a $(touch evil) `model`; rm -rf * & "x".tflite'


class Reach(Protocol):
    """Makes a transport to the device under test, not entered yet."""

    def __call__(self, *, most_output_bytes: int = ..., most_pulled_bytes: int = ...) -> Adb: ...


def sh(adb: Adb, script: str, *, timeout_s: float = 60) -> Completed:
    """Run a script there by a shell of its own."""
    return adb.run(["sh", "-c", script], timeout_s=timeout_s)


def files_come_and_go_whole(reach: Reach, folder: Path) -> None:
    content = bytes(range(256)) * 3000 + b"\r\n\n"
    folder.joinpath(NAME).write_bytes(content)
    with reach() as adb:
        there = adb.push(folder / NAME, NAME)
        assert there == adb.path(NAME)
        adb.pull(NAME, folder / "back")
        assert sh(adb, "ls -a | cat").stdout.split(b"\n") == [b".", b"..", NAME.encode(), b""]
    assert folder.joinpath("back").read_bytes() == content
    with reach() as adb:
        assert adb.run(["ls", there], timeout_s=60).returncode != 0, "the work folder stayed"


def a_push_replaces(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        for content in (b"first", b"second", b""):
            folder.joinpath("local").write_bytes(content)
            adb.push(folder / "local", "file")
            adb.pull("file", folder / "back")
            assert folder.joinpath("back").read_bytes() == content


def programs_end_with_their_codes(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        assert sh(adb, "echo out; echo err >&2; exit 7") == Completed(7, b"out\n", b"err\n")
        assert sh(adb, "printf out; exit 0") == Completed(0, b"out", b"")
        assert sh(adb, "kill -ABRT $$").returncode == 128 + 6
        assert sh(adb, "kill -KILL $$").returncode == 128 + 9


def words_are_words(reach: Reach, folder: Path) -> None:
    words = [NAME, "two words", "", "-n", "$HOME", "a\nb", "\\", "*", "ü"]
    with reach() as adb:
        done = adb.run(["sh", "-c", 'printf "%s|" "$@"', "sh", *words], timeout_s=60)
    assert done.stdout.decode() == "".join(f"{word}|" for word in words)


def programs_get_input_variables_and_the_folder(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        where = adb.path("x").removesuffix("/x").encode()
        variables = {"WORD": NAME, "_2": "two"}
        script = ["sh", "-c", 'cat; printf "|%s|%s|" "$WORD" "$_2"; pwd']
        done = adb.run(script, stdin=b"in\0put\n", timeout_s=60, env=variables)
        assert done.stdout == b"in\0put\n|" + NAME.encode() + b"|two|" + where + b"\n"
        assert adb.run(["cat"], timeout_s=60) == Completed(0)
        with pytest.raises(DeviceError, match="cannot be a variable"):
            adb.run(["cat"], timeout_s=60, env={"A; touch evil": "x"})


def output_is_bytes(reach: Reach, folder: Path) -> None:
    content = bytes(range(256)) * 1000
    folder.joinpath("bytes").write_bytes(content)
    with reach() as adb:
        adb.push(folder / "bytes", "bytes")
        assert adb.run(["cat", "bytes"], timeout_s=60).stdout == content


def what_is_missing_is_named(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        with pytest.raises(ToolMissing, match="no-such-program"):
            adb.run(["no-such-program"], timeout_s=60)
        with pytest.raises(DeviceError, match=r"nothing\.npy could not be read"):
            adb.pull("nothing.npy", folder / "nothing")
        for name in ("../up", "a/b", "-rf", ".hidden", ""):
            with pytest.raises(DeviceError, match="cannot be a file"):
                adb.push(Path(__file__), name)
    assert not folder.joinpath("nothing").exists()


def a_hang_is_ended_with_all_that_it_started(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        with pytest.raises(Timeout, match=r"not finished on .* after 3 s"):
            sh(adb, "sleep 600 & echo $! > child; echo $$ > parent; wait", timeout_s=3)
        assert not running(adb)


def running(adb: Adb) -> list[bytes]:
    """Which of the processes `parent` and `child` that a test started are still there."""
    numbers = sh(adb, "cat parent child").stdout.split()
    assert len(numbers) == 2
    states = sh(adb, f"for p in {int(numbers[0])} {int(numbers[1])}; do grep State: /proc/$p/status; done").stdout
    # One that was ended may wait for its parent to look: Z.
    return re.findall(rb"State:\s+[^ZX]", states)


def an_interrupt_ends_what_runs_there(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            sh(adb, "sleep 600 & echo $! > child; echo $$ > parent; wait")
        assert not running(adb)


def a_flood_is_ended(reach: Reach, folder: Path) -> None:
    with reach(most_output_bytes=100_000) as adb, pytest.raises(DeviceError, match="more than 100000 bytes"):
        adb.run(["cat", "/dev/zero"], timeout_s=60)


def a_large_file_is_not_pulled(reach: Reach, folder: Path) -> None:
    folder.joinpath("large").write_bytes(b"x" * 200_000)
    with reach(most_pulled_bytes=100_000) as adb:
        adb.push(folder / "large", "large")
        with pytest.raises(DeviceError, match="more than 100000 bytes"):
            adb.pull("large", folder / "back")
    assert not folder.joinpath("back").exists()


def of_endless_complaints_the_last_are_kept(reach: Reach, folder: Path) -> None:
    with reach() as adb:
        done = sh(adb, "head -c 4000000 /dev/zero >&2; printf 'the end' >&2; exit 7")
    assert done.returncode == 7
    assert len(done.stderr) == 2**16
    assert done.stderr.endswith(b"the end")


def several_share_a_device(reach: Reach, folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(reach()) for _ in range(2)]
        for number, adb in enumerate(both):
            folder.joinpath("mine").write_bytes(b"%d" % number)
            adb.push(folder / "mine", "mine")
        assert [sh(adb, "cat mine").stdout for adb in both] == [b"0", b"1"]


CASES: list[Callable[[Reach, Path], None]] = [
    files_come_and_go_whole,
    a_push_replaces,
    programs_end_with_their_codes,
    words_are_words,
    programs_get_input_variables_and_the_folder,
    output_is_bytes,
    what_is_missing_is_named,
    a_hang_is_ended_with_all_that_it_started,
    an_interrupt_ends_what_runs_there,
    a_flood_is_ended,
    a_large_file_is_not_pulled,
    of_endless_complaints_the_last_are_kept,
    several_share_a_device,
]
