"""Where a device goes wrong: the first layer whose output differs from what this machine computes for the same input.

Delegates show nothing of what is inside. So the model is opened up: a copy gets every computed tensor as an output,
which the delegate then has to write out, and its own kernels still run.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._errors import DeviceError, UnusableModel
from edge_targets._golden import Golden
from edge_targets._parity import TOLERANCE_STEPS, Outputs, nearest, stage_of
from edge_targets._reference import RUNTIMES
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import Graph, parse_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._measurement import Runtime

# As numpy has them.
_NUMBERS = {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}
_NUMBERS |= {"float16", "float32", "float64"}

Tensors = Callable[[Path, "NDArray[Any]"], "NDArray[np.uint8]"]
"""Runs an opened model over one example (1, ...): the bytes of its outputs, one after another, (bytes,)."""


def first_layer(model: Path, golden: Golden, found: Outputs, tensors: Tensors) -> str:
    """The name of the first layer that differs by more than other kernels may, for the example that differs most.

    Args:
        model: the `.tflite`.
        golden: inputs and reference outputs.
        found: what the device gave for them.
        tensors: runs an opened model on the device.

    Returns:
        "" where every tensor agrees.

    Raises:
        TargetError: the opened model runs on one of the two sides only.
    """
    content = model.read_bytes()
    graph = parse_graph(content)
    example = _worst(golden, found)
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        opened = Path(folder, "opened.tflite")
        opened.write_bytes(opened_up(content, graph))
        here = HostTarget(xnnpack=None if "xnnpack" in found.kernels else False)
        wanted = here._tensors(opened, example, _like(found, golden))
        given = tensors(opened, example)
    told_bytes = sum(
        graph.tensors[index].size * np.dtype(graph.tensors[index].dtype).itemsize for index in _computed(graph)
    )
    if {len(given), len(wanted)} != {told_bytes}:
        # Sizes that are only known when the model runs are not what the file tells.
        raise DeviceError("The tensors are not of the size that the model tells.", expected=f"{told_bytes} bytes")
    pairs = zip(_layers(graph, wanted), _layers(graph, given), strict=True)
    return next((name for (name, theirs), (_, ours) in pairs if _differ(theirs, ours)), "")


def first_layer_of_both(both: tuple[Path, Path], golden: Golden, found: Outputs, tensors: Tensors) -> str:
    """`first_layer` of a model in two stages, whose outputs are the scores of both, (n, 2, classes).

    The second stage, where the first shows nothing, gets the features that this machine computes.
    """
    early, final = (tuple(stage_of(each, place) for each in golden.outputs) for place in (0, 1))
    layer = first_layer(both[0], Golden(golden.inputs, early), stage_of(found, 0), tensors)
    if layer:
        return layer
    return first_layer(both[1], Golden(_features(both[0], golden.inputs), final), stage_of(found, 1), tensors)


def _features(first: Path, inputs: NDArray[Any]) -> NDArray[Any]:
    """What the first stage hands on for inputs (n, ...), as this machine computes it, (n, ...)."""
    graph, host = parse_graph(first.read_bytes()), HostTarget()
    features = graph.tensors[graph.outputs[1]]
    nbytes = features.size * features.bits // 8
    told = [host._tensors(first, inputs[place : place + 1], "auto")[-nbytes:] for place in range(len(inputs))]
    return np.stack([row.view(features.dtype).reshape(features.shape[1:]) for row in told])


def opened_up(content: bytes, graph: Graph) -> bytes:
    """The model with every computed tensor as an output, in the order of execution.

    The vector of outputs is written behind the end of the file, and the one reference to it is turned there.
    """
    indices = _computed(graph)
    padded = content + bytes(-len(content) % 4)
    place = _outputs_field(content)
    vector = struct.pack(f"<I{len(indices)}i", len(indices), *indices)
    reference = struct.pack("<I", len(padded) - place)
    return padded[:place] + reference + padded[place + 4 :] + vector


def _computed(graph: Graph) -> list[int]:
    """Tensors that operators make and that an output can be: numbers, no states, each once."""
    made = dict.fromkeys(index for operator in graph.operators for index in operator.outputs)
    tensors = {index: graph.tensors[index] for index in made}
    return [index for index, tensor in tensors.items() if tensor.dtype in _NUMBERS and not tensor.is_variable]


def _outputs_field(content: bytes) -> int:
    """Where the main subgraph's reference to its outputs lies, by the FlatBuffers format.

    Fields are found through a table's layout: Model.subgraphs is its third, SubGraph.outputs its third (schema.fbs).
    """
    model = _number(content, 0)
    subgraphs = _followed(content, _field(content, model, 2))
    return _field(content, _followed(content, subgraphs + 4), 2)


def _field(content: bytes, table: int, number: int) -> int:
    (back,) = struct.unpack_from("<i", content, table)
    (size,) = struct.unpack_from("<H", content, table - back)
    place = 4 + 2 * number
    offset = struct.unpack_from("<H", content, table - back + place)[0] if place < size else 0
    if not offset:
        raise UnusableModel("The model lacks a field that every model has.")
    return table + int(offset)


def _followed(content: bytes, place: int) -> int:
    return place + _number(content, place)


def _number(content: bytes, place: int) -> int:
    (value,) = struct.unpack_from("<I", content, place)
    return int(value)


def _like(found: Outputs, golden: Golden) -> Runtime:
    """The device's interpreter, if it is here as well."""
    here = {each.runtime for each in golden.outputs}
    return next((each for each in RUNTIMES if each == found.runtime and each in here), "auto")


def _worst(golden: Golden, found: Outputs) -> NDArray[Any]:
    """The example whose outputs are farthest from the golden ones, (1, ...)."""
    wanted = nearest(found, golden.outputs).values
    if wanted.shape != found.values.shape:
        return golden.inputs[:1]
    with np.errstate(all="ignore"):
        apart = np.nan_to_num(np.abs(wanted.astype(np.float64) - found.values.astype(np.float64)), nan=np.inf)
    place = int(apart.reshape(len(apart), -1).max(axis=1).argmax())
    return golden.inputs[place : place + 1]


def _layers(graph: Graph, stored: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each computed tensor with the name of the layer that it comes from."""
    names = {index: operator.name for operator in graph.operators for index in operator.outputs}
    start = 0
    for index in _computed(graph):
        tensor = graph.tensors[index]
        dtype = np.dtype(tensor.dtype)
        end = start + tensor.size * dtype.itemsize
        yield names[index], stored[start:end].view(dtype)
        start = end


def _differ(theirs: NDArray[Any], ours: NDArray[Any]) -> bool:
    if not ours.size or ours.dtype.kind not in "iubf":
        return False
    with np.errstate(all="ignore"):
        apart = np.abs(theirs.astype(np.float64) - ours.astype(np.float64))
    step = 1.0 if ours.dtype.kind in "iub" else max(float(np.abs(np.nan_to_num(ours)).max()), 1e-30) * 2.0**-16
    return not bool((apart[np.isfinite(apart)] <= TOLERANCE_STEPS * step).all()) or bool(np.isnan(apart).any())
