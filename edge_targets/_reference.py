"""Makes golden vectors on this machine, in child processes: a model may crash the interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._errors import TargetError, ToolMissing, UnusableModel, WrongInput
from edge_targets._golden import Golden
from edge_targets._measurement import Runtime
from edge_targets._parity import Outputs
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import read_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EXAMPLES = 8
# Of a model with large inputs, fewer examples are taken: they travel to every device.
MOST_INPUT_BYTES = 16 * 2**20
# Devices run one of these; TensorFlow's own interpreter has LiteRT's kernels, and takes seconds to import.
RUNTIMES: tuple[Runtime, ...] = ("ai_edge_litert", "tflite_runtime")


def golden_vectors(model: Path, inputs: NDArray[Any] | None = None) -> Golden:
    """Run a model over inputs with every kind of kernels of every interpreter that is installed here.

    Args:
        model: the `.tflite`, with one input.
        inputs: examples as the model takes them, raw, (n, ...); None takes noise.

    Raises:
        WrongInput: the model has several inputs, or does not take these.
        UnusableModel: it cannot be loaded, or crashes the interpreter.
        TargetError: anything else that kept the outputs from being had.
    """
    chosen = noise_inputs(model) if inputs is None else inputs
    return _golden(chosen, lambda target, runtime: target._outputs(model, chosen, runtime))


def golden_stages(stages: tuple[Path, Path], inputs: NDArray[Any] | None = None) -> Golden:
    """The same of a model in two stages: the outputs are the scores of both, (n, 2, classes), whoever is sure."""
    chosen = noise_inputs(stages[0]) if inputs is None else inputs
    return _golden(chosen, lambda target, runtime: target._both_outputs(stages, chosen, runtime))


def _golden(inputs: NDArray[Any], outputs_of: Callable[[HostTarget, Runtime], Outputs]) -> Golden:
    found: dict[tuple[str, str], Outputs] = {}
    failures: list[TargetError] = []
    for runtime in RUNTIMES:
        try:
            for outputs in (outputs_of(target, runtime) for target in _targets()):
                found[outputs.runtime, outputs.kernels] = outputs
        # An old interpreter may not know an operator that a new one runs: one that can is enough.
        except (ToolMissing, UnusableModel) as error:
            failures.append(error)
    if not found:
        raise next((each for each in failures if isinstance(each, UnusableModel)), failures[0])
    return Golden(inputs, tuple(found.values()))


def noise_inputs(model: Path, examples: int = EXAMPLES) -> NDArray[Any]:
    """The same noise each time: the full range for 8 and 16 bits, 0 to 1 for floats, zeros for other integers.

    Returns:
        examples as the model takes them, (n, ...).
    """
    graph = read_graph(model)
    if len(graph.inputs) != 1:
        raise WrongInput(f"{model.name} has {len(graph.inputs)} inputs.", expected="a model of one input")
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.dtype not in ("int8", "uint8", "int16", "int32", "int64", "float32", "float16", "float64", "bool"):
        raise WrongInput(f"{model.name} takes {tensor.dtype}.", expected="a model that takes numbers")
    dtype = np.dtype(tensor.dtype)
    one = tensor.shape[1:]
    one_bytes = max(1, tensor.size // max((1, *tensor.shape[:1]))) * dtype.itemsize
    if one_bytes > MOST_INPUT_BYTES:
        raise WrongInput(f"{model.name} takes inputs of {one_bytes} bytes.", expected=f"up to {MOST_INPUT_BYTES} bytes")
    return _noise((max(1, min(examples, MOST_INPUT_BYTES // one_bytes)), *one), dtype)


def _noise(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    rng = np.random.default_rng(0)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    # Token numbers, lengths: zero is the one value that is always a valid index.
    return np.zeros(shape, dtype)


def _targets() -> tuple[HostTarget, ...]:
    return HostTarget(), HostTarget(xnnpack=False), HostTarget(reference=True)
