"""A program in the place of Vela: it prints and writes what the real one does, changed as a test asks."""

from __future__ import annotations

import sys
from pathlib import Path

from edge_targets._vela import COMPILED
from tests.edge_targets.one_operator import Operator, Tensor, model

SUMMARY_NAME = "model_summary_Ethos_U55_High_End_Embedded.csv"
# The columns that are read, as Vela 5.2.0 writes them, of 1,500 cycles at 500 MHz.
SUMMARY = {
    "accelerator_configuration": "Ethos_U55_128",
    "system_config": "Ethos_U55_High_End_Embedded",
    "memory_mode": "Shared_Sram",
    "core_clock": "500000000.0",
    "inferences_per_second": "333333.3333333333",
    "inference_time": "3e-06",
    "sram_memory_used": "21.6875",
    "dram_memory_used": "0.0",
    "on_chip_flash_memory_used": "0.5",
    "off_chip_flash_memory_used": "30.5",
    "cycles_npu": "1400",
    "cycles_total": "1500",
}
# Names are any text, without quotation marks around them.
LAYERS = 'Original Operator,Target,Op Cycles,Name\nRelu,NPU,1000,b,"c\nRelu,NPU,500,c\n'
NAMES = "abcd"


def relus(count: int = 2) -> bytes:
    """The model that is compiled: so many RELUs in a row."""
    operators = [Operator("RELU", NAMES[place], NAMES[place + 1]) for place in range(count)]
    return model(dict.fromkeys(NAMES[: count + 1], Tensor((1, 16))), operators)


def compiled(on_cpu: int = 0) -> bytes:
    """Two RELUs, of which the last `on_cpu` stay on the processor."""
    piece = [Operator("CUSTOM", "a", NAMES[2 - on_cpu], custom=COMPILED)] if on_cpu < 2 else []
    rest = [Operator("RELU", NAMES[place], NAMES[place + 1]) for place in range(2 - on_cpu, 2)]
    return model(dict.fromkeys("abc", Tensor((1, 16))), [*piece, *rest])


def summary(**changed: str) -> str:
    row = {**SUMMARY, **changed}
    return f"{','.join(row)}\n{','.join(row.values())}\n"


def program(
    folder: Path,
    said: str = "",
    *,
    table: str | None = "",
    layers: str | None = LAYERS,
    file: bytes | None = b"",
    last: str = "",
) -> str:
    """Write the stand-in; "" of a file is the right one, None leaves it out; `last` is its end, in Python."""
    contents = {
        "said": said.encode(),
        SUMMARY_NAME: None if table is None else (table or summary()).encode(),
        "model_per-layer.csv": None if layers is None else layers.encode(),
        "model_vela.tflite": None if file is None else file or compiled(),
    }
    for name, content in contents.items():
        if content is not None:
            (folder / name).write_bytes(content)
    path = folder / "vela"
    lines = [
        f"#!{sys.executable} -I",
        "import os, pathlib, shutil, signal, sys, time",
        f"here = pathlib.Path({str(folder)!r})",
        "if sys.argv[1:] == ['--version']:",
        "    print('5.2.0'); sys.exit()",
        "(here / 'argv').write_text('\\n'.join(sys.argv[1:]))",
        f"for name in {[name for name in contents if name != 'said']!r}:",
        "    if (here / name).exists():",
        "        shutil.copyfile(here / name, name)",
        "sys.stdout.buffer.write((here / 'said').read_bytes())",
        "sys.stdout.flush()",
        last,
    ]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)
    return str(path)
