"""Children: whatever goes wrong in one comes back as an error, and none outlives its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.process import ChildError, Frame, Limits, answer, frames

CHILD = "tests.misbehaving"
IMPATIENT = Limits(silence_s=0.5, memory_bytes=2**28)
PATIENT = Limits(silence_s=60, memory_bytes=2**28)


def asked(limits: Limits = PATIENT, **request: Any) -> Frame:
    return answer(CHILD, request, limits)


def failure(limits: Limits = PATIENT, **request: Any) -> ChildError:
    with pytest.raises(ChildError) as caught:
        asked(limits, **request)
    return caught.value


def test_a_child_hears_the_question_and_is_heard() -> None:
    frame = asked(do="answer", what=["é", 1, None])
    assert frame.header["heard"] == {"do": "answer", "what": ["é", 1, None]}
    assert frame.payload == b"\x00\x01\x02"


def test_frames_come_one_by_one() -> None:
    assert [frame.header["number"] for frame in frames(CHILD, {"do": "count"}, PATIENT)] == [0, 1, 2]
    assert failure(do="count").what == "sent 3 answers instead of one"


def test_what_a_child_tells_arrives_whole() -> None:
    error = failure(do="tell")
    assert (error.what, error.expected, error.mend) == ("is wrong", "something right", "do it")
    assert error.told
    assert error.details == {"place": 3}


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_is_named(name: str) -> None:
    error = failure(do="die", signal=name)
    assert error.what == f"was ended by {name}"
    assert not error.told


@pytest.mark.parametrize("behaviour", ["hang", "begin_and_hang"])
def test_silence_has_an_end(behaviour: str) -> None:
    assert failure(IMPATIENT, do=behaviour).what == "gave no sign of life for 0.5 s"


def test_memory_has_an_end() -> None:
    assert failure(do="fill_the_memory").what == "needed more than 0.25 GiB of memory"


def test_a_limit_that_we_are_under_ourselves_holds_too() -> None:
    code = (
        "import resource; from pipeline.process import *\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (2**29, 2**29))\n"
        "print(answer('tests.misbehaving', {'do': 'answer'}, Limits(60, 2**30)).payload)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert ran.stdout == "b'\\x00\\x01\\x02'\n", ran.stderr


def test_the_last_words_of_a_failure_are_told() -> None:
    error = failure(do="fail")
    assert error.what == "failed: there is no such thing"
    assert error.tail.strip() == "there is no such thing"


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        (b"<html>" * 10, "sent something that is no message"),
        (b"\xff" * 12, "sent something that is no message"),
        (b"\x04\x00\x00\x00" + bytes(8) + b"\xff{}x", "sent something that is no message"),
        (b"\x02\x00\x00\x00" + bytes(8) + b"[]", "sent something that is no message"),
        (b"\x02\x00", "sent 0 answers instead of one"),
        (b"\x02\x00\x00\x00\xff" + bytes(7) + b"{}few", "sent 0 answers instead of one"),
    ],
)
def test_garbage_is_no_message(garbage: bytes, said: str) -> None:
    assert failure(do="write", garbage=garbage.hex()).what == said


def test_a_child_whose_frames_are_not_wanted_any_more_is_gone() -> None:
    found = frames(CHILD, {"do": "tell_its_number_and_hang"}, PATIENT)
    pid = next(iter(found)).header["pid"]
    found.close()  # type: ignore[attr-defined]  # it is a generator
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_child_ends_with_its_parent() -> None:
    code = (
        "from pipeline.process import frames\n"
        "for frame in frames('tests.misbehaving', {'do': 'tell_its_number_and_hang'}):\n"
        "    print(frame.header['pid'], flush=True)"
    )
    root = Path(__file__).parent.parent
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        for _ in range(100):
            os.kill(pid, 0)
            if b"\nState:\tZ" in Path(f"/proc/{pid}/status").read_bytes():
                return  # dead, and nobody has asked after it yet
            time.sleep(0.05)
        pytest.fail("the child outlived its parent")


def test_what_we_set_for_tensorflow_is_not_the_users_environment() -> None:
    code = (
        "import os, sys, types; from pipeline.process import _start; import tempfile\n"
        "sys.modules['pipeline._tf'] = types.SimpleNamespace(SET_HERE=frozenset({'TF_USE_LEGACY_KERAS'}))\n"
        "os.environ['TF_USE_LEGACY_KERAS'] = '1'; os.environ['MINE'] = '2'\n"
        "process = _start('os', tempfile.TemporaryFile()); environment = open(f'/proc/{process.pid}/environ').read()\n"
        "process.kill(); assert 'MINE=2' in environment; assert 'TF_USE_LEGACY_KERAS' not in environment"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
