"""Runs on the device, beside `_on_device.py`: what LiteRT's own profiler tells of each operator.

The profiler is in the C library of the ai_edge_litert wheel (`litert/c/litert_profiler.h`) and in none of its Python.
That interface is young and promises nothing: all of this runs in a process of its own, which may crash, and
`_profile.py` has another way then. It needs Python 3.7, numpy, and the library.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Json = dict[str, Any]
    Event = tuple[str, int, int, bool, float]

PACKAGE = "ai_edge_litert"
CPU = 1
WRITE = 1

# tflite::Profiler::EventType: an operator of the graph, and one that a delegate made of one or several.
OPERATOR, DELEGATED = 2, 8

# LiteRtElementType, as numpy names them. Other types get zeros.
NOISY = {1: "float32", 3: "uint8", 7: "int16", 9: "int8", 10: "float16"}

# Room for a LiteRtRankedTensorType (72 bytes today), whose first number is the element type.
TENSOR_TYPE_BYTES = 256

# An event is 104 bytes today. Its front (tag, type, start, elapsed) and its end (two of metadata, source) are told
# apart from what lies between, which has changed; its size shows in how far the library writes.
MOST_EVENT_BYTES = 512
FRONT, END = struct.Struct("=Qi4xQQ"), struct.Struct("=QQi4x")
UNTOUCHED = 0xA5
MOST_EVENTS = 20_000


def profile(request: Json, noise: Callable[..., Any]) -> Json:
    """Run a model in turns without and with the profiler.

    Request: "model", "num_threads", "kernel_mode" ("xnnpack", "builtin" or "reference"), "num_runs", "max_secs".
    Answer: "runs"; "whole_us", what a run takes without; "operators": "kind", "index", "subgraph", "delegated" and "us"
    of each, in the order they ran. Times are means over the quickest quarter of the runs: the profiler counts whole
    microseconds, whose median would hide what is between, and slower runs were interrupted by the system somewhere.

    Raises:
        OSError, AttributeError, RuntimeError: it cannot be had here.
    """
    model = Model(request["model"], request["kernel_mode"], request["num_threads"], noise)
    for _ in range(3):
        model.run()
    whole_ns: list[int] = []
    runs: list[list[Event]] = []
    until = time.perf_counter() + request["max_secs"]
    while len(runs) < request["num_runs"] and (len(runs) < 5 or time.perf_counter() < until):
        # What reads the events leaves the caches cold: a run that is not counted warms them.
        model.run()
        start = time.perf_counter_ns()
        model.run()
        whole_ns.append(time.perf_counter_ns() - start)
        runs.append(model.profiled_run())
    names = [event[:4] for event in runs[0]]
    alike = [run for run in runs if [event[:4] for event in run] == names]
    quickest = quarter(sorted(alike, key=lambda run: sum(event[-1] for event in run)))
    operators = [
        {"kind": kind, "index": index, "subgraph": subgraph, "delegated": delegated, "us": mean_us(counted)}
        for (kind, index, subgraph, delegated), counted in (
            (name, [run[place][-1] for run in quickest]) for place, name in enumerate(names)
        )
    ]
    whole_us = sum(quarter(sorted(whole_ns))) / len(quarter(whole_ns)) / 1000
    return {"runs": len(alike), "whole_us": whole_us, "operators": operators}


def quarter(ranked: Sequence[Any]) -> Sequence[Any]:
    """The first quarter, and at least one."""
    return ranked[: -(-len(ranked) // 4)]


def mean_us(counted: Sequence[float]) -> float:
    """The mean of times in whole microseconds: what was cut off of each is half of one, on average."""
    mean = sum(counted) / len(counted)
    return mean + 0.5 if mean >= 1 else mean


class Model:
    """A model in LiteRT's C library, its inputs filled."""

    def __init__(self, path: str, kernel_mode: str, num_threads: int, noise: Callable[..., Any]) -> None:
        if struct.calcsize("P") != 8:
            raise RuntimeError("LiteRT's profiler is read on 64-bit systems only.")
        self.library = ctypes.CDLL(str(library_path()))
        # What the library keeps a pointer to.
        self.kept: list[Any] = []
        self.environment = self.made("LiteRtCreateEnvironment", ctypes.c_int(0), None)
        model = self.made("LiteRtCreateModelFromFile", self.environment, path.encode())
        options = self.made("LiteRtCreateOptions")
        self.call("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(CPU))
        self.add_options(options, "runtime_options_string", "enable_profiling = true\n")
        self.add_options(options, "xnnpack", f'kernel_mode = "{kernel_mode}"\nnum_threads = {num_threads:d}\n')
        self.compiled = self.made("LiteRtCreateCompiledModel", self.environment, model, options)
        self.profiler = self.made("LiteRtCompiledModelGetProfiler", self.compiled)
        if not self.profiler:
            raise RuntimeError("This LiteRT made the model without its profiler.")
        if self.number("LiteRtGetNumModelSignatures", model) != 1:
            raise RuntimeError("The model has several signatures.")
        signature = self.made("LiteRtGetModelSignature", model, ctypes.c_size_t(0))
        self.inputs = self.buffers("Input", signature)
        self.outputs = self.buffers("Output", signature)
        self.fill(noise)
        self.event_bytes = 0

    def call(self, name: str, *args: Any) -> None:
        """Call a function of the library whose result is 0 where all is well."""
        status = getattr(self.library, name)(*args)
        if status:
            raise RuntimeError(f"{name} failed with status {status}.")

    def made(self, name: str, *args: Any) -> ctypes.c_void_p:
        """What such a function hands back through its last argument."""
        handle = ctypes.c_void_p()
        self.call(name, *args, ctypes.byref(handle))
        return handle

    def number(self, name: str, *args: Any) -> int:
        value = ctypes.c_size_t()
        self.call(name, *args, ctypes.byref(value))
        return value.value

    def add_options(self, options: ctypes.c_void_p, name: str, text: str) -> None:
        """Options travel as TOML, under the name of the part that reads them."""
        content = ctypes.create_string_buffer(text.encode())
        # The library would free the text through this; it is ours.
        keep = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda pointer: None)
        self.kept += [content, keep]
        opaque = self.made("LiteRtCreateOpaqueOptions", name.encode(), content, keep)
        self.call("LiteRtAddOpaqueOptions", options, opaque)

    def buffers(self, side: str, signature: ctypes.c_void_p) -> Any:
        """A buffer for each input or output, in an array as the library takes it."""
        count = self.number(f"LiteRtGetNumSignature{side}s", signature)
        return (ctypes.c_void_p * count)(*(self.buffer(side, signature, place).value for place in range(count)))

    def buffer(self, side: str, signature: ctypes.c_void_p, place: int) -> ctypes.c_void_p:
        needs = self.made(
            f"LiteRtGetCompiledModel{side}BufferRequirements",
            self.compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(place),
        )
        tensor = self.made(f"LiteRtGetSignature{side}TensorByIndex", signature, ctypes.c_size_t(place))
        kind = ctypes.create_string_buffer(TENSOR_TYPE_BYTES)
        self.call("LiteRtGetRankedTensorType", tensor, kind)
        buffer = self.made("LiteRtCreateManagedTensorBufferFromRequirements", self.environment, kind, needs)
        self.kept.append((buffer.value, int.from_bytes(kind.raw[:4], "little")))
        return buffer

    def fill(self, noise: Callable[..., Any]) -> None:
        import numpy as np

        types: Json = dict(kept for kept in self.kept if isinstance(kept, tuple))
        rng = np.random.RandomState(0)
        for address in self.inputs:
            buffer = ctypes.c_void_p(address)
            size = self.number("LiteRtGetTensorBufferPackedSize", buffer)
            dtype = np.dtype(NOISY.get(types[address], "bool"))
            content = noise((size // dtype.itemsize,), dtype, rng).tobytes()
            where = ctypes.c_void_p()
            self.call("LiteRtLockTensorBuffer", buffer, ctypes.byref(where), ctypes.c_int(WRITE))
            ctypes.memmove(where, content, len(content))
            self.call("LiteRtUnlockTensorBuffer", buffer)

    def run(self) -> None:
        inputs, outputs = self.inputs, self.outputs
        nth = ctypes.c_size_t
        self.call("LiteRtRunCompiledModel", self.compiled, nth(0), nth(len(inputs)), inputs, nth(len(outputs)), outputs)

    def profiled_run(self) -> list[Event]:
        """The operators of one run: kind, index, subgraph, whether a delegate ran it, and microseconds of each."""
        self.call("LiteRtResetProfiler", self.profiler)
        self.call("LiteRtStartProfiler", self.profiler)
        self.run()
        self.call("LiteRtStopProfiler", self.profiler)
        return self.events()

    def events(self) -> list[Event]:
        count = ctypes.c_int()
        self.call("LiteRtGetNumProfilerEvents", self.profiler, ctypes.byref(count))
        if not 0 < count.value <= MOST_EVENTS:
            raise RuntimeError(f"LiteRT's profiler tells of {count.value} events in a run.")
        room = ctypes.create_string_buffer(count.value * MOST_EVENT_BYTES)
        ctypes.memset(room, UNTOUCHED, len(room))
        self.call("LiteRtGetProfilerEvents", self.profiler, count, room)
        if not self.event_bytes:
            self.event_bytes = size_of_one(room.raw, count.value)
        return [event for place in range(count.value) for event in self.operator(room.raw, place * self.event_bytes)]

    def operator(self, raw: bytes, begin: int) -> list[Event]:
        """The event as an operator, or nothing."""
        tag, kind, _, elapsed_us = FRONT.unpack_from(raw, begin)
        index, subgraph, _ = END.unpack_from(raw, begin + self.event_bytes - END.size)
        if kind not in (OPERATOR, DELEGATED):
            return []
        name = ctypes.string_at(tag).decode("utf-8", "replace")[:200]
        return [(name, index, subgraph, kind == DELEGATED, float(elapsed_us))]


def library_path() -> Path:
    """LiteRT's library in its package."""
    package = importlib.import_module(PACKAGE)
    for found in sorted(Path(str(package.__file__)).parent.glob("libLiteRt.*")):
        return found
    raise RuntimeError(f"This {PACKAGE} has no libLiteRt.")


def size_of_one(raw: bytes, count: int) -> int:
    """How many bytes an event has, from how far `count` of them were written."""
    written = len(raw.rstrip(bytes([UNTOUCHED])))
    # Four bytes that fill up the last one may be left as they were.
    size = -(-written // count // 8) * 8
    if not FRONT.size + END.size <= size <= MOST_EVENT_BYTES - 8:
        raise RuntimeError("LiteRT's profiler tells of events in a form that is not known here.")
    return size
