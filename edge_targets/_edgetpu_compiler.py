"""Runs `edgetpu_compiler`, and believes that a model is on the Edge TPU only where output, log and file all say so."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_targets._edgetpu_log import Compilation, read_compilation, refused, strange
from edge_targets._edgetpu_map import COMPILED, CPU, EDGETPU, predict
from edge_targets._edgetpu_node import Status
from edge_targets._errors import DeviceError, Timeout, ToolMissing, UnusableModel
from edge_targets.tflite_graph import Graph, read_graph

if TYPE_CHECKING:
    from edge_targets._transport import Transport

PROGRAM = "edgetpu_compiler"
INSTALL = "add Coral's package archive (coral.ai/docs/edgetpu/compiler), then: sudo apt-get install edgetpu-compiler"
TIMEOUT_S = 180
"""The compiler's own."""
GRACE_S = 20.0
"""Beyond it, for a compiler that does not keep to its own."""
MOST_LOG_BYTES = 2**20
_NAME = "model"


@dataclass(frozen=True)
class Compiled:
    """A model that the compiler has been over.

    Attributes:
        path: the compiled file.
        compilation: what the compiler says of it.
        differences: where that is not what was predicted, a sentence each.
    """

    path: Path
    compilation: Compilation
    differences: tuple[str, ...]

    @property
    def kernels(self) -> str:
        """Where it runs: `edgetpu` only if no operator stays on the CPU."""
        return "edgetpu" if self.compilation.on_cpu == 0 else "edgetpu+cpu"


def compile_model(
    model: Path,
    out: Path,
    transport: Transport,
    *,
    program: str = PROGRAM,
    timeout_s: int = TIMEOUT_S,
    grace_s: float = GRACE_S,
) -> Compiled:
    """Compile a `.tflite` for the Edge TPU.

    Args:
        model: the int8 model.
        out: where the compiled one goes; its log goes beside it.
        transport: the machine that the compiler is on, entered.
        program: the compiler.
        timeout_s: how long it may take by its own clock.
        grace_s: after how much more it is ended.

    Raises:
        ToolMissing: there is no compiler, or one of a version that is not known here.
        Timeout: it took too long.
        UnusableModel: it cannot compile the model, or maps nothing of it.
        DeviceError: what it says does not hold together, or is not what its file holds.
    """
    graph = read_graph(model)
    said = _run(model, transport, program, timeout_s, grace_s)
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        compiled, log = (Path(folder, f"{_NAME}_edgetpu{suffix}") for suffix in (".tflite", ".log"))
        for file in (compiled, log):
            _fetch(transport, file, said)
        compilation = read_compilation(said, _text(log))
        _must_hold(compilation, graph, read_graph(compiled))
        _keep(compiled, out)
        _keep(log, out.with_suffix(".log"))
    return Compiled(out, compilation, differences(graph, compilation))


def differences(graph: Graph, compilation: Compilation) -> tuple[str, ...]:
    """Where the compiler did not do what was predicted for its runtime, a sentence each."""
    predicted = predict(graph, compilation.runtime).counts(graph)
    found: Counter[tuple[str, str]] = Counter()
    for row in compilation.rows:
        found[row.kind, EDGETPU if row.mapped else CPU] += row.count
    kinds = sorted({kind for kind, _ in predicted | found})
    return tuple(
        f"{kind}: {found[kind, EDGETPU]} on the Edge TPU, {predicted[kind, EDGETPU]} were predicted"
        for kind in kinds
        if found[kind, EDGETPU] != predicted[kind, EDGETPU]
    )


def _run(model: Path, transport: Transport, program: str, timeout_s: int, grace_s: float) -> str:
    found = shutil.which(program)
    if found is None:
        raise ToolMissing(f"The Edge TPU compiler '{program}' is not here.", expected="version 16.0", mend=INSTALL)
    pushed = transport.push(model, f"{_NAME}.tflite")
    argv = [found, "--show_operations", "--timeout_sec", str(timeout_s), pushed]
    try:
        done = transport.run(argv, timeout_s=timeout_s + grace_s)
    except Timeout as error:
        raise Timeout(
            f"edgetpu_compiler had not finished after {timeout_s + grace_s:g} s, and was ended.",
            mend="a smaller input or fewer operators compile sooner",
        ) from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        how = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise refused(f"{said}\n{done.stderr.decode('utf-8', 'replace')}\n({how})")
    return said


def _fetch(transport: Transport, file: Path, said: str) -> None:
    try:
        transport.pull(file.name, file)
    except DeviceError as error:
        if "compiled successfully" not in said:
            # Then what it said is the better message.
            read_compilation(said, "")
        raise strange(f"it says that it succeeded, and left no {file.suffix} file") from error


def _text(log: Path) -> str:
    if log.stat().st_size > MOST_LOG_BYTES:
        raise strange(f"its log has {log.stat().st_size} bytes")
    return log.read_text("utf-8", "replace")


def _must_hold(compilation: Compilation, graph: Graph, compiled: Graph) -> None:
    """Refuse to call a model on the Edge TPU that its log or its file does not show there."""
    if compilation.operators != len(graph.operators):
        raise strange(f"it tells of {compilation.operators} operators, and the model has {len(graph.operators)}")
    if compilation.on_edgetpu == 0:
        raise _nothing_mapped(compilation, graph)
    pieces = sum(operator.custom_code == COMPILED for operator in compiled.operators)
    left = len(compiled.operators) - pieces
    if (pieces, left) != (compilation.subgraphs, compilation.on_cpu):
        raise strange(
            f"its log tells of {compilation.subgraphs} pieces on the Edge TPU and {compilation.on_cpu} operators on "
            f"the CPU, and its file holds {pieces} and {left}"
        )


def _nothing_mapped(compilation: Compilation, graph: Graph) -> UnusableModel:
    reasons = "; ".join(f"{count} × {status}" for status, count in compilation.statuses().most_common(4))
    first = next((one for one in predict(graph).placements if one.remedy), None)
    return UnusableModel(
        f"edgetpu_compiler maps none of the model's {compilation.operators} operators to the Edge TPU: {reasons}.",
        expected=f"at least one operator '{Status.MAPPED}'",
        mend=first.remedy if first else "see `edgesmith inspect MODEL --target coral`",
    )


def _keep(file: Path, out: Path) -> None:
    half = out.with_name(f".{out.name}.part")
    try:
        shutil.copyfile(file, half)
        half.replace(out)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise DeviceError(
            f"The compiled model {out} could not be written: {error.strerror or error}.",
            mend="give a folder that can be written to",
        ) from error
