"""The child's end of the line: a request as JSON on stdin, frames on what was stdout. Standard library only.

A frame is a header and a payload: two little-endian lengths (4 and 8 bytes), JSON, raw bytes.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import IO, Any

LENGTHS = struct.Struct("<IQ")


def open_line() -> tuple[dict[str, Any], IO[bytes]]:
    """Read the request and take stdout for frames alone: whatever else prints goes to stderr from here on."""
    _end_with_parent()
    request = json.load(sys.stdin)
    line = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return request, line


def send(line: IO[bytes], header: dict[str, Any], *payload: bytes | memoryview) -> None:
    """Write one frame."""
    text = json.dumps(header).encode()
    line.write(LENGTHS.pack(len(text), sum(memoryview(part).nbytes for part in payload)) + text)
    for part in payload:
        line.write(part)
    line.flush()


def send_error(line: IO[bytes], what: str, expected: str = "", mend: str = "", **more: Any) -> None:
    """Tell the parent in words what is wrong; it is the last frame."""
    send(line, {"error": {"what": what, "expected": expected, "mend": mend, **more}})


def _end_with_parent() -> None:
    """Have the system end this process when the one that started it ends, however that happens."""
    if sys.platform == "linux":
        import ctypes

        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
