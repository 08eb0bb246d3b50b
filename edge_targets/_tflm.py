"""This side of TensorFlow Lite Micro: asks `_tflm_child.py`, and believes what fits the model that was given."""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets import _tflm_child
from edge_targets._errors import DeviceError, ToolMissing, UnusableModel, WrongInput
from edge_targets._parity import Outputs
from edge_targets._runner import chunks
from edge_targets._tflm_arena import ALIGNMENT_BYTES, least_arena_bytes
from edge_targets._transport import Completed, Transport
from edge_targets.tflite_graph import Graph, Tensor, read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL = "pip install 'edgesmith[mcu]'"
LOAD_TIMEOUT_S = 60.0
RUN_TIMEOUT_S = 900.0
# What no microcontroller has, and this machine still does.
MOST_ARENA_BYTES = 512 * 2**20
# Beside the tensors: the interpreter's own structures, which grow with the model.
_SPARE_BYTES = 2**20
_ARENA = re.compile(r"Arena allocation total (\d{1,12}) bytes")
# Lines of the child that say nothing of the model.
_NOISE = re.compile(r"^\[Recording|^\s|^Traceback|^INFO:|^WARNING")
_MOST_WORDS = 300


@dataclass(frozen=True)
class Loaded:
    """A model that the interpreter takes.

    Attributes:
        version: the interpreter's.
        arena_bytes: what it allocates for the model.
    """

    version: str
    arena_bytes: int


def load(model: Path, transport: Transport, python: str = sys.executable) -> Loaded:
    """Let the interpreter allocate a model's tensors, and run nothing.

    Args:
        model: the `.tflite`.
        transport: the machine that the interpreter is on, entered.
        python: the Python there that has it.

    Raises:
        ToolMissing: there is no tflite-micro.
        UnusableModel: the interpreter refuses the model, or crashes over it.
        Timeout: it took too long.
        DeviceError: its answer is none.
    """
    answer, arena_bytes = _ask(model, read_graph(model), {}, transport, python, LOAD_TIMEOUT_S)
    return Loaded(_text(answer, "version"), arena_bytes)


def outputs(model: Path, inputs: NDArray[Any], transport: Transport, python: str = sys.executable) -> Outputs:
    """The first output for each of a few inputs (n, ...), each from a fresh state.

    Raises:
        WrongInput: they are not what the model takes.
        TargetError: as for `load`.
    """
    graph = read_graph(model)
    _must_fit(graph, inputs)
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        given, made = Path(folder, "inputs.npy"), Path(folder, "outputs.npy")
        np.save(given, inputs, allow_pickle=False)
        files = {"inputs": transport.push(given, given.name), "outputs": transport.path(made.name)}
        answer, _ = _ask(model, graph, files, transport, python, RUN_TIMEOUT_S)
        if answer.get("examples") != len(inputs):
            raise _strange(f"it ran another number of examples than {len(inputs)}")
        transport.pull(made.name, made)
        values = _values(made, len(inputs))
    return Outputs("tflm", "tflite_micro", _text(answer, "version"), platform.machine(), values)


def evaluate(model: Path, batches: Iterable[NDArray[Any]], transport: Transport) -> NDArray[Any]:
    """The first output for each example of all batches, (n, ...)."""
    found = [outputs(model, batch, transport).values for batch in chunks(batches)]
    if not found:
        raise WrongInput("There are no examples to evaluate.", expected="at least one batch of at least one")
    return np.concatenate(found, dtype=found[0].dtype)


def _ask(
    model: Path, graph: Graph, files: dict[str, str], transport: Transport, python: str, timeout_s: float
) -> tuple[dict[str, Any], int]:
    """The child's answer, and the bytes of the arena."""
    request = {"model": transport.push(model, "model.tflite"), "arena_bytes": _room(graph), **files}
    script = transport.push(Path(_tflm_child.__file__), "tflm.py")
    done = transport.run([python, "-I", script], stdin=json.dumps(request).encode(), timeout_s=timeout_s)
    said = done.stderr.decode("utf-8", "replace")
    if done.returncode != 0:
        raise _ended(done, said)
    answer = _answer(done.stdout)
    if "missing" in answer:
        raise ToolMissing(
            "TensorFlow Lite Micro (tflite-micro) is not installed here.",
            expected="tflite-micro, which is for Linux on x86-64",
            mend=INSTALL,
        )
    if "refused" in answer:
        raise UnusableModel(
            f"TensorFlow Lite Micro refuses the model: {_words(said) or _short(str(answer['refused']))}.",
            expected="a model whose every operator has a kernel there",
            mend="see `edgesmith inspect MODEL --target microcontroller`",
        )
    return answer, _arena_bytes(said)


def _room(graph: Graph) -> int:
    """An arena that is certainly large enough, as long as a microcontroller could have it at all."""
    least = least_arena_bytes(graph)
    if least > MOST_ARENA_BYTES:
        raise UnusableModel(
            f"The model's tensors take {least / 1e6:.0f} MB at the same time: no microcontroller has so much.",
            mend="a smaller input or a narrower model (alpha) needs less",
        )
    room = 2 * least + 2 * graph.size_bytes + _SPARE_BYTES
    # From an odd end, alignment takes a few bytes more or less.
    return room - room % ALIGNMENT_BYTES


def _must_fit(graph: Graph, inputs: NDArray[Any]) -> None:
    if len(graph.inputs) != 1:
        raise WrongInput(f"The model has {len(graph.inputs)} inputs.", expected="a model of one input")
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.shape[:1] not in ((), (1,)):
        raise UnusableModel(
            f"The model's input '{tensor.name}' has batch {tensor.shape[0]}, and one example a call is run.",
            mend="convert it with batch 1",
        )
    if not len(inputs) or inputs.dtype.name != tensor.dtype or not _same_shape(inputs.shape[1:], tensor):
        raise WrongInput(
            f"The model takes {tensor.dtype} {tensor.shape}, and was given {inputs.dtype} {inputs.shape}.",
            expected="examples as the model takes them, at least one",
        )


def _same_shape(shape: tuple[int, ...], tensor: Tensor) -> bool:
    return shape in (tensor.shape[1:], tensor.shape)


def _ended(done: Completed, said: str) -> UnusableModel:
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return UnusableModel(
        f"The model crashes TensorFlow Lite Micro ({how}): {_words(said) or 'it said nothing'}.",
        mend="convert it again; a model that is whole does not",
    )


def _answer(stdout: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(stdout)
    except ValueError as error:
        raise _strange("it is no JSON") from error
    if not isinstance(answer, dict):
        raise _strange("it is no JSON object")
    return answer


def _arena_bytes(said: str) -> int:
    found = _ARENA.findall(said)
    if len(found) != 1:
        raise _strange("it does not tell the arena's size once")
    return int(found[0])


def _text(answer: dict[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) < 100:
        raise _strange(f"it has no {key}")
    return value


def _values(path: Path, examples: int) -> NDArray[Any]:
    try:
        values: NDArray[Any] = np.load(path, allow_pickle=False)
    # The header is Python source to numpy, whose parser ends in a dozen kinds of errors.
    except Exception as error:
        raise _strange("its outputs are not a .npy file") from error
    if values.ndim == 0 or values.dtype.kind not in "biuf" or len(values) != examples:
        raise _strange(f"its outputs are not those of {examples} examples")
    return values


def _words(said: str) -> str:
    """What the interpreter complained of, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _NOISE.match(line)]
    return _short("; ".join(line for line in lines if not line.startswith("RuntimeError")))


def _short(text: str) -> str:
    clean = "".join(one if one.isprintable() else "�" for one in text).rstrip(".")
    return clean if len(clean) <= _MOST_WORDS else clean[: _MOST_WORDS - 1] + "…"


def _strange(why: str) -> DeviceError:
    return DeviceError(f"TensorFlow Lite Micro's answer cannot be trusted: {why}.", mend=INSTALL)
