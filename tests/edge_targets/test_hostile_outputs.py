"""Outputs that a device sends back: whatever the file is, it is the right outputs or one kind of error."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import BenchmarkPlan, Completed, DeviceError, Recording
from edge_targets.host import HostTarget

DEVICE = {"machine": "m", "cpu_model": "c", "cores": 2, "memory_bytes": 8, "os": "o", "python": "3"}
FACTS = {"protocol": 1, "device": DEVICE, "runtime": "r", "runtime_version": "1", "kernels": "builtin"}
X = np.zeros((3, 8, 8, 1), np.int8)


STILL = {"clock_mhz": None, "temperature_c": None, "governor": "", "load": None, "throttled": ""}


def npy(array: NDArray[Any], **how: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.zeros(3))
    return file.getvalue()


def with_header(header: str) -> bytes:
    """A .npy that begins with this header, whatever it says, and no data."""
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def evaluated(model: Path, outputs: bytes, examples: Any = 3) -> NDArray[Any]:
    """What the host makes of these outputs."""
    answer = {**FACTS, "job": "evaluate", "examples": examples}
    recording = Recording([Completed(0, json.dumps(answer).encode())], files={"outputs.npy": outputs})
    found: NDArray[Any] = HostTarget(connect=lambda: recording).evaluate(model, [X])
    assert json.loads(recording.calls[0].stdin)["outputs"] == "/recording/outputs.npy"
    assert recording.pushed["inputs.npy"] == npy(X)
    return found


def test_honest_outputs_come_through(int8_model: Path) -> None:
    honest = np.arange(6, dtype=np.int8).reshape(3, 2)
    assert (evaluated(int8_model, npy(honest)) == honest).all()


LIES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "garbage": lambda: b"\x00" * 999,
    "cut short": lambda: npy(np.zeros((3, 2)))[:-1],
    "pickled": lambda: npy(np.array([{}, {}, {}], dtype=object), allow_pickle=True),
    "a pickle": lambda: pickle.dumps([1, 2, 3]),
    "an archive": npz,
    "too few": lambda: npy(np.zeros((2, 2))),
    "one number": lambda: npy(np.zeros(())),
    "text": lambda: npy(np.array(["a", "b", "c"])),
    "records": lambda: npy(np.zeros(3, dtype=[("a", "i4")])),
    "larger than it is": lambda: with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 9000000000)}\n"),
    "negative": lambda: with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (3, -1)}\n"),
    "code": lambda: with_header("__import__('os').abort()\n"),
    "nested": lambda: with_header("(" * 9000),
    "unfinished": lambda: with_header("{'descr': \n'''"),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_outputs_that_are_none_are_refused(lie: str, int8_model: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted"):
        evaluated(int8_model, LIES[lie]())


@pytest.mark.parametrize("examples", [2, 4, -3, True, "3", None])
def test_another_count_of_examples_is_refused(examples: Any, int8_model: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted"):
        evaluated(int8_model, npy(np.zeros((3, 2))), examples)


def test_more_latencies_than_asked_for_are_refused(int8_model: Path) -> None:
    load = {**FACTS, "job": "load", "load_ns": 1, "first_ns": 1, "gained_bytes": None}
    timed = {**FACTS, "job": "benchmark", "warmup_runs": 0, "steady": True, "before": STILL, "after": STILL}
    timed["models"] = [{"kernels": "builtin", "latencies_ns": [1] * 50_001}]
    answers = [Completed(0, json.dumps(answer).encode()) for answer in (load, load, load, timed)]
    with pytest.raises(DeviceError, match="1 to 50000 entries"):
        HostTarget(connect=lambda: Recording(answers)).benchmark({"m": int8_model}, BenchmarkPlan())
