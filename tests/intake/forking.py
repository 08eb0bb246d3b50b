"""A reader of many files: imports everything once, and reads each file in a fork, as the real child reads its one.

    python -m tests.intake.forking < [path, …] as JSON > [outcome, …] as JSON

TensorFlow is imported and not used before the forks, so that none of them inherits its threads.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from pipeline._intake._read import Request, read_and_flatten
from pipeline.errors import EdgesmithError

MOST_BYTES, MOST_S = 6 * 2**30, 20


def main() -> None:
    """Read the paths, write the outcomes."""
    from pipeline import _tf
    from pipeline._intake import _fit, _flatten, _proven

    _tf.keras3()
    assert _fit and _flatten and _proven
    gc.freeze()  # else each fork copies every page that the collector looks at
    json.dump([outcome(Path(path)) for path in json.load(sys.stdin)], sys.stdout)


def outcome(path: Path) -> str:
    """`read`, `refused: …`, `untold: …` for an error that is none of ours, or `died: SIGSEGV`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _read(path, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"died: {signal.Signals(os.WTERMSIG(status)).name}"
    return said or "died: without a word"


def _read(path: Path, writer: int) -> None:
    """In the fork: never returns."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    signal.alarm(MOST_S)
    with tempfile.TemporaryFile() as words:
        os.dup2(words.fileno(), 2)
        os.write(writer, _said(path).encode())
    os._exit(0)


def _said(path: Path) -> str:
    try:
        read_and_flatten(Request(path, path.name))
    except EdgesmithError as error:
        return f"refused: {error.what}"
    except MemoryError:
        return "died: MemoryError"
    except Exception as error:  # noqa: BLE001 - the real child tells these in words too
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"untold: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    return "read"


if __name__ == "__main__":
    main()
