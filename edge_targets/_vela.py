"""Runs Vela, Arm's compiler for Ethos-U, and tells what stays on the processor by the file that it wrote."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edge_targets._errors import DeviceError, TargetError, Timeout, ToolMissing, UnusableModel
from edge_targets._npu import NpuEstimate
from edge_targets._vela_csv import MOST_BYTES, check_layers, read_summary, strange
from edge_targets.tflite_graph import Graph, Operator, read_graph

if TYPE_CHECKING:
    from edge_targets._transport import Transport

PROGRAM = "vela"
INSTALL = "pip install 'edgesmith[mcu]'"
TIMEOUT_S = 300.0
COMPILED = "ethos-u"
"""The custom operator that a compiled piece becomes."""
EthosU = Literal[
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
]
ACCELERATORS: tuple[EthosU, ...] = get_args(EthosU)
# Vela's own file of systems. On both, weights lie in flash, as on a microcontroller; U65's default has DRAM.
_CONFIG = "Arm/vela.ini"
_SYSTEMS = {"ethos-u55": "Ethos_U55_High_End_Embedded", "ethos-u65": "Ethos_U65_Embedded"}
_MEMORY = "Shared_Sram"
_NAME = "model"
# Warning (supported operators) operator: FILL, ofm: 'model/lstm/zeros'\nReason: Unsupported opType
_WARNING = re.compile(r"^Warning \(supported operators\) operator: ([A-Z0-9_]{1,60}), ofm: '(.*)'\nReason: (.*)$", re.M)
_VERSION = re.compile(r"\d{1,3}\.\d{1,3}\.\d{1,3}[\w.+-]{0,30}")
_MOST_WORDS = 300


@dataclass(frozen=True)
class Compiled:
    """A model that Vela has been over.

    Attributes:
        path: the compiled file.
        estimate: what it calculates.
        on_cpu: the places in the main graph of the operators that stay on the processor.
        reasons: by the name of their output, why Vela says they do; of those of which it says so.
    """

    path: Path
    estimate: NpuEstimate
    on_cpu: frozenset[int]
    reasons: dict[str, str]


def found_program(program: str = PROGRAM) -> str | None:
    """Where Vela is: beside the Python that we run in, else on the PATH."""
    return shutil.which(program, path=str(Path(sys.executable).parent)) or shutil.which(program)


def version(transport: Transport, program: str = PROGRAM) -> str:
    """Vela's version.

    Raises:
        ToolMissing: there is no Vela.
        DeviceError: it tells none.
    """
    done = transport.run([_must_find(program), "--version"], timeout_s=TIMEOUT_S)
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode != 0 or not _VERSION.fullmatch(said):
        raise strange("it tells no version")
    return said


def compile_model(
    model: Path,
    out: Path,
    transport: Transport,
    accelerator: str,
    *,
    program: str = PROGRAM,
    timeout_s: float = TIMEOUT_S,
) -> Compiled:
    """Compile a `.tflite` for an Ethos-U.

    Args:
        model: the int8 model.
        out: where the compiled one goes.
        transport: the machine that Vela is on, entered.
        accelerator: one of `ACCELERATORS`.
        program: the compiler.
        timeout_s: how long it may take.

    Raises:
        ToolMissing: there is no Vela.
        Timeout: it took too long.
        UnusableModel: it cannot compile the model.
        DeviceError: what it says does not hold together, or is not what its file holds.
    """
    graph = read_graph(model)
    system = _SYSTEMS[accelerator.rsplit("-", 1)[0]]
    said = _run(model, transport, accelerator, system, program, timeout_s)
    summary = read_summary(_table(transport, f"{_NAME}_summary_{system}.csv"))
    if (summary.accelerator, summary.system) != (accelerator, system):
        raise strange(f"it tells of {summary.accelerator} in the place of {accelerator}")
    if summary.cycles:
        check_layers(_table(transport, f"{_NAME}_per-layer.csv"), summary)
    _fetch(transport, f"{_NAME}_vela.tflite", out)
    on_cpu = _left_behind(graph, _compiled_graph(out))
    kinds = Counter(graph.operators[place].kind for place in on_cpu)
    estimate = NpuEstimate(
        **vars(summary), on_npu=len(graph.operators) - len(on_cpu), on_cpu=len(on_cpu), cpu_kinds=tuple(sorted(kinds))
    )
    if bool(summary.cycles) != bool(estimate.on_npu):
        raise strange(f"{summary.cycles} cycles are told for {estimate.on_npu} operators")
    return Compiled(out, estimate, on_cpu, _reasons(said))


def _run(model: Path, transport: Transport, accelerator: str, system: str, program: str, timeout_s: float) -> str:
    pushed = transport.push(model, f"{_NAME}.tflite")
    argv = [
        _must_find(program),
        pushed,
        f"--accelerator-config={accelerator}",
        f"--config={_CONFIG}",
        f"--system-config={system}",
        f"--memory-mode={_MEMORY}",
        "--output-dir=.",
        "--verbose-performance",
    ]
    try:
        done = transport.run(argv, timeout_s=timeout_s)
    except Timeout as error:
        raise Timeout(
            f"Vela had not finished after {timeout_s:g} s, and was ended.", mend="a smaller model compiles sooner"
        ) from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        words = _last_words(done.stderr.decode("utf-8", "replace")) or _last_words(said)
        raise UnusableModel(
            f"Vela cannot compile the model ({how}): {words or 'it said nothing'}.",
            expected="an int8 model",
            mend="see `edgesmith inspect MODEL --target microcontroller`",
        )
    return said


def _must_find(program: str) -> str:
    found = found_program(program)
    if found is None:
        raise ToolMissing(
            f"Vela, the compiler for Ethos-U ('{program}'), is not here.", expected="ethos-u-vela", mend=INSTALL
        )
    return found


def _table(transport: Transport, name: str) -> str:
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        local = Path(folder, "table.csv")
        _fetch(transport, name, local)
        if local.stat().st_size > MOST_BYTES:
            raise strange(f"a table of it has {local.stat().st_size} bytes")
        return local.read_text("utf-8", "replace")


def _fetch(transport: Transport, name: str, local: Path) -> None:
    try:
        transport.pull(name, local)
    except DeviceError as error:
        raise strange(f"it says that it succeeded, and left no {name}") from error


def _compiled_graph(path: Path) -> Graph:
    try:
        return read_graph(path)
    except TargetError as error:
        raise strange("the file that it wrote is no .tflite") from error


def _left_behind(graph: Graph, compiled: Graph) -> frozenset[int]:
    """The operators that are in the compiled file as they were; names of outputs outlast the compiler."""
    left = Counter(_identity(compiled, one) for one in compiled.operators if one.custom_code != COMPILED)
    if not any(one.custom_code == COMPILED for one in compiled.operators):
        return frozenset(range(len(graph.operators)))
    places = []
    for place, operator in enumerate(graph.operators):
        if left[_identity(graph, operator)] > 0:
            left[_identity(graph, operator)] -= 1
            places.append(place)
    if left.total():
        raise strange(f"its file holds {left.total()} operators that the model does not have")
    return frozenset(places)


def _identity(graph: Graph, operator: Operator) -> tuple[str, str, str]:
    first = graph.tensors[operator.outputs[0]].name if operator.outputs else ""
    return operator.kind, operator.custom_code, first


def _reasons(said: str) -> dict[str, str]:
    return {name: f"Vela: {_clean(reason)}" for name, reason in _warnings(said)}


def _warnings(said: str) -> Iterator[tuple[str, str]]:
    for match in _WARNING.finditer(said):
        yield match[2], match[3]


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _clean(lines[-1]) if lines else ""


def _clean(text: str) -> str:
    clean = "".join(one if one.isprintable() else "�" for one in text).rstrip(".")
    return clean if len(clean) <= _MOST_WORDS else clean[: _MOST_WORDS - 1] + "…"
