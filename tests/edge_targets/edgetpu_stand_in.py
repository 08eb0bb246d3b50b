"""A program in the place of `edgetpu_compiler`: it prints what the real one prints, and writes what it writes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edge_targets._edgetpu_map import COMPILED
from tests.edge_targets.one_operator import Operator, Tensor, model

VERSION = "16.0.384591198"
ROWS = Sequence[tuple[str, int, str]]
MAPPED = "Mapped to Edge TPU"


def table(rows: ROWS) -> str:
    lines = [f"{kind:<30} {count:<10} {status}" for kind, count, status in rows]
    return "\n".join([f"{'Operator':<30} {'Count':<10} Status", "", *lines, ""])


def log(rows: ROWS, version: str = VERSION) -> str:
    head = f"Edge TPU Compiler version {version}\nInput: model.tflite\nOutput: model_edgetpu.tflite\n\n"
    return head + table(rows)


def success(rows: ROWS, version: str = VERSION) -> str:
    """Its standard output, of --show_operations; a full mapping has no counts of its own."""
    on_chip = sum(count for _, count, status in rows if status == MAPPED)
    on_cpu = sum(count for _, count, _ in rows) - on_chip
    partly = (
        "\nModel successfully compiled but not all operations are supported by the Edge TPU. A percentage of the "
        "model will instead run on the CPU, which is slower. If possible, consider updating your model to use only "
        "operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.\n"
        f"Number of operations that will run on Edge TPU: {on_chip}\n"
        f"Number of operations that will run on CPU: {on_cpu}\n"
    )
    return (
        f"Edge TPU Compiler version {version}\nStarted a compilation timeout timer of 180 seconds.\n\n"
        "Model compiled successfully in 231 ms.\n\n"
        "Input model: model.tflite\nInput size: 3.03KiB\nOutput model: model_edgetpu.tflite\nOutput size: 3.12KiB\n"
        "On-chip memory used for caching model parameters: 4.21MiB\n"
        "On-chip memory remaining for caching model parameters: 7.67MiB\n"
        "Off-chip memory used for streaming uncached model parameters: 0.00B\n"
        f"Number of Edge TPU subgraphs: {1 if on_chip else 0}\n"
        f"Total number of operations: {on_chip + on_cpu}\n"
        f"Operation log: model_edgetpu.log\n{partly if on_cpu else ''}\n{table(rows)}"
        "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
    )


def compiled(on_cpu: int, pieces: int = 1) -> bytes:
    """A compiled model: so many operators on the chip's behalf, and so many that stayed."""
    names = [f"t{number}" for number in range(pieces + on_cpu + 1)]
    chip = [Operator("CUSTOM", [names[place]], [names[place + 1]], custom=COMPILED) for place in range(pieces)]
    rest = [Operator("RELU", [names[place]], [names[place + 1]]) for place in range(pieces, pieces + on_cpu)]
    return model(dict.fromkeys(names, Tensor((1, 16))), [*chip, *rest])


def program(
    folder: Path,
    said: str | bytes,
    written_log: str | None = None,
    file: bytes | None = None,
    last: str = "",
) -> str:
    """Write the stand-in; `last` is what it does at the end, in Python. Returns its path."""
    for name, content in (("said", said), ("log", written_log), ("file", file)):
        if content is not None:
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    path = folder / "edgetpu_compiler"
    lines = [
        f"#!{sys.executable} -I",
        "import os, pathlib, shutil, signal, sys, time",
        f"here = pathlib.Path({str(folder)!r})",
        "(here / 'argv').write_text('\\n'.join(sys.argv[1:]))",
        "for name, out in (('log', 'model_edgetpu.log'), ('file', 'model_edgetpu.tflite')):",
        "    if (here / name).exists():",
        "        shutil.copyfile(here / name, out)",
        "sys.stdout.buffer.write((here / 'said').read_bytes())",
        "sys.stdout.flush()",
        last,
    ]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return str(path)
