"""What a device can do at best: multiply-accumulates and bytes per µs (Williams, Waterman, Patterson: Roofline, 2009).

Two models are measured there once, with the interpreter itself: a matrix product that computes 32 times (float32) or
128 times (int8) for each byte that it moves, and a sum of two arrays that fit into no cache of a board. Their quickest
runs are the roofs; they are kept in a file for the same device, interpreter, kernels and threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_targets import _answer
from edge_targets._errors import DeviceError
from edge_targets._made_model import Made, one_operator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_targets._measurement import Measurement
    from edge_targets._runner import Runner

ROWS, WIDTH = 256, 512
SUMMED = 2**22
"""float32 values: 16 MiB each of two inputs and the output."""

MACS = ROWS * WIDTH * WIDTH
MOVED_BYTES = 3 * 4 * SUMMED
MOST_SECS = 1.0
RUNS = 12
STEP = 0.05


@dataclass(frozen=True)
class Roofline:
    """The two roofs. Left of the ridge `macs_per_us / bytes_per_us`, an operator waits for memory.

    Attributes:
        macs_per_us: multiply-accumulates, of int8 or of float32 as the model has them.
        bytes_per_us: to and from main memory; what stays in a cache moves faster.
    """

    macs_per_us: float
    bytes_per_us: float


def roofline(runner: Runner, measurement: Measurement, dtype: str, folder: Path | None = None) -> Roofline:
    """The device's roofs, measured now or once before.

    Args:
        runner: on the device.
        measurement: what was measured there; it tells of device, interpreter and threads.
        dtype: `int8` or `float32`: what is multiplied.
        folder: where roofs are kept; None is the system's place for caches.

    Raises:
        TargetError: they cannot be measured there.
    """
    kept = (folder or kept_in()) / f"{_key(measurement, dtype)}.json"
    known = _read(kept)
    if known is None:
        known = _measured(runner, measurement, dtype)
        _write(kept, known)
    return known


def kept_in() -> Path:
    """Beside the cache of stages; a file there that is deleted is measured anew."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edgesmith" / "rooflines"


def models(dtype: str) -> dict[str, bytes]:
    """The two models."""
    step = STEP if dtype == "int8" else 0.0
    product = [Made((ROWS, WIDTH), dtype, scale=step), Made((WIDTH, WIDTH), dtype, True, step)]
    # Without a bias, tflite-runtime crashes on 32-bit ARM.
    product.append(Made((WIDTH,), "int32" if step else "float32", True, step * step))
    product.append(Made((ROWS, WIDTH), dtype, scale=step))
    array = Made((1, SUMMED), "float32")
    return {
        "product": one_operator("FULLY_CONNECTED", "FullyConnected", product),
        "sum": one_operator("ADD", "Add", [array, array, array]),
    }


def _measured(runner: Runner, measurement: Measurement, dtype: str) -> Roofline:
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        paths = []
        for name, content in models(dtype).items():
            Path(folder, name).write_bytes(content)
            paths.append(runner.push(Path(folder, name), f"roofline-{name}.tflite"))
    parts = runner.timed(paths, measurement, most_runs=RUNS, max_secs=MOST_SECS)
    product_us, sum_us = (min(part) for part in parts)
    return Roofline(MACS / product_us, MOVED_BYTES / sum_us)


def _key(measurement: Measurement, dtype: str) -> str:
    facts = asdict(measurement.device)
    # What changes from day to day is no part of which device it is.
    for name in ("temperature_c", "power", "python"):
        facts.pop(name)
    ran = (measurement.target, measurement.runtime, measurement.runtime_version, measurement.kernels)
    text = json.dumps([facts, ran, measurement.threads, measurement.provenance, dtype, 1], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> Roofline | None:
    """What is kept, or None; a file that is damaged counts as none."""
    try:
        found: Mapping[str, object] = json.loads(path.read_text())
        roofs = [_answer.optional_number(found, name) for name in ("macs_per_us", "bytes_per_us")]
    except (OSError, ValueError, AttributeError, DeviceError):
        return None
    return Roofline(roofs[0], roofs[1]) if roofs[0] and roofs[1] else None


def _write(path: Path, known: Roofline) -> None:
    if not all(map(math.isfinite, asdict(known).values())):
        return
    # A cache that cannot be written costs time, and is no reason to fail.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(asdict(known)))
        fresh.replace(path)
