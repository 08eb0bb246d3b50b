"""Files and programs on this machine as a device, and the recording that stands in for any device."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest

from edge_targets import Completed, DeviceError, Local, Recording, Timeout, ToolMissing

# Tells through a pipe, which both ends hold open, that two generations run; then neither ever ends by itself.
TWO_GENERATIONS = """
import os, signal, sys
pipe = os.open(sys.argv[1], os.O_WRONLY)
os.fork()
os.write(pipe, b"x")
signal.pause()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-c", code]


def heard(pipe: int) -> bytes:
    """What comes through the pipe next: b"" once nobody holds its other end."""
    assert select.select([pipe], [], [], 20)[0], "somebody still holds the pipe"
    return os.read(pipe, 10)


def test_a_timeout_ends_every_generation(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with Local() as transport, pytest.raises(Timeout, match="not finished after 3 s"):
        transport.run([*python(TWO_GENERATIONS), str(fifo)], timeout_s=3)
    assert heard(pipe) == b"xx"
    assert heard(pipe) == b""
    os.close(pipe)


def test_a_program_gets_its_input_its_variables_and_the_work_folder() -> None:
    code = "import os, sys; print(sys.stdin.read(), os.environ['WORD'], os.getcwd())"
    with Local() as transport:
        done = transport.run(python(code), stdin=b"hello", timeout_s=60, env={"WORD": "there"})
        folder = Path(transport.path("x")).parent
    assert done == Completed(0, f"hello there {folder}\n".encode())


def test_a_program_that_does_not_read_its_input_blocks_nobody() -> None:
    with Local() as transport:
        assert transport.run(python("pass"), stdin=b"x" * 2**22, timeout_s=60).returncode == 0


def test_of_endless_complaints_the_last_are_kept() -> None:
    code = "import sys; sys.stderr.write('x' * 2**22 + 'the end'); sys.exit(7)"
    with Local() as transport:
        done = transport.run(python(code), timeout_s=60)
    assert done.returncode == 7
    assert done.stderr.endswith(b"the end")
    assert len(done.stderr) == 2**16


def test_a_signal_is_told_by_its_number() -> None:
    with Local() as transport:
        assert transport.run(python("import os; os.abort()"), timeout_s=60).returncode == -6


def test_a_program_that_may_not_be_run_is_a_missing_tool(tmp_path: Path) -> None:
    tmp_path.joinpath("tool").write_text("#!/bin/sh\n")
    with Local() as transport, pytest.raises(ToolMissing, match="Permission denied"):
        transport.run([str(tmp_path / "tool")], timeout_s=5)


def test_a_push_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    first, pipe = tmp_path / "first", tmp_path / "pipe"
    first.write_bytes(b"first")
    os.mkfifo(pipe)
    with Local() as transport:
        there = Path(transport.push(first, "model.tflite"))
        with pytest.raises(DeviceError, match="Could not copy"):
            transport.push(pipe, "model.tflite")
        assert there.read_bytes() == b"first"
        assert list(there.parent.iterdir()) == [there]


def test_a_pull_of_nothing_is_an_error(tmp_path: Path) -> None:
    with Local() as transport, pytest.raises(DeviceError, match=r"copy outputs\.npy out"):
        transport.pull("outputs.npy", tmp_path / "outputs.npy")
    assert not list(tmp_path.iterdir())


def test_a_recording_plays_its_answers_once_and_raises_its_errors(tmp_path: Path) -> None:
    recording = Recording([Completed(0, b"one"), Timeout("slow")], files={"out": b"kept"})
    assert recording.run(["a", "b"], stdin=b"in", timeout_s=9, env={"K": "v"}).stdout == b"one"
    with pytest.raises(Timeout, match="slow"):
        recording.run(["c"], timeout_s=9)
    with pytest.raises(DeviceError, match="has 2 answers"):
        recording.run(["d"], timeout_s=9)
    assert [call.argv for call in recording.calls] == [("a", "b"), ("c",), ("d",)]
    assert (recording.calls[0].stdin, recording.calls[0].env) == (b"in", {"K": "v"})
    recording.pull("out", tmp_path / "out")
    assert tmp_path.joinpath("out").read_bytes() == b"kept"
    with pytest.raises(DeviceError, match="no file other"):
        recording.pull("other", tmp_path / "other")
