"""The facts of a `.tflite`, read from its bytes without TensorFlow. Part of `inspection`."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._tflm_arena import least_arena_bytes
from edge_targets.tflite_cost import OperatorCost, operator_costs, weight_costs
from edge_targets.tflite_graph import Graph, Tensor, parse_graph, read_graph
from pipeline import advice, ota, verify
from pipeline.artifact import FLOATS, Artifact, TensorSpec, sha256_of
from pipeline.data._npz_reading import open_npz
from pipeline.dataset import ArraySplit
from pipeline.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_targets._placement import Placement, Placements, PlacesOperators
    from pipeline.check import Advice, Layer

MOST_PACKED_BYTES = 2**18
"""A larger model is only packed when asked for: the best codecs take seconds a megabyte, all else half of one."""

MEASURED = ("float32", "int8", "uint8", "int16")
"""Types of an input that real numbers can be turned into."""


def tflite_facts(
    path: Path, data: Path | None, reference: Path | None, *, pack: bool, target: PlacesOperators | None = None
) -> dict[str, Any]:
    """The model, its operators and its tensors, JSON-ready.

    Args:
        path: the `.tflite`.
        data: an `.npz` with real inputs, in the units that the float model takes.
        reference: the float32 `.tflite` to hold the layers against, or None.
        pack: whether to pack even a large model, for its size over the air.
        target: whom to ask where it would run each operator; without one, all are said to run on a processor.

    Raises:
        UnusableModel: one of the models is malformed, or crashes the interpreter.
        TargetError: the data does not fit the models.
        UsageError: the data is not what was asked for, or the model takes none such.
    """
    graph = read_graph(path)
    content = path.read_bytes()
    layers = verify.layer_rows(graph)
    advised: tuple[Advice, ...] = ()
    if data is not None and reference is not None:
        x = _examples(data)
        layers = _measured(layers, path, graph, x, reference)
        known = advice.Known.nothing(verify.usual_inputs(ArraySplit(x, np.zeros(len(x)))))
        advised = advice.advise(layers, graph, read_graph(reference), known)
    costs = operator_costs(graph)
    placed = target.places(path) if target is not None else None
    return {
        **(_target(target.name, placed) if target is not None and placed is not None else {}),
        "model": {
            "path": str(path),
            "format": "TensorFlow Lite",
            "sha256": sha256_of(content),
            "size_bytes": len(content),
            **_travelling(content, pack),
            "description": graph.description,
            "inputs": [_border(graph.tensors[index]) for index in graph.inputs],
            "outputs": [_border(graph.tensors[index]) for index in graph.outputs],
            "operators": len(costs),
            "macs": sum(cost.macs for cost in costs),
            "arena_bytes": least_arena_bytes(graph),
            "weights": sum(layer.weights for layer in layers),
            "sparsity": verify.sparsity(layers),
            "float_layers": _layers_in(FLOATS, graph, beside=("int8", "uint8", "int16")),
            "int16_layers": _layers_in({"int16"}, graph, beside=("int8", "uint8")),
            "float_tensors": sum(t.dtype in FLOATS for sub in graph.subgraphs() for t in sub.tensors),
        },
        "operators": _operators(graph, costs, layers, placed),
        **({"advice": [asdict(one) for one in advised]} if data is not None else {}),
        "tensors": [_tensor(tensor, place) for place, sub in enumerate(graph.subgraphs()) for tensor in sub.tensors],
    }


def _layers_in(types: Collection[str], graph: Graph, *, beside: Collection[str]) -> list[str]:
    """Operators that compute in some types beside others that do not: kept by mixed precision, or left by a fault."""
    made = [(one, graph.tensors[one.outputs[0]].dtype) for one in graph.operators if one.outputs]
    computing = [(one, dtype) for one, dtype in made if one.kind not in ("QUANTIZE", "DEQUANTIZE")]
    mixed = any(dtype in beside for _, dtype in computing)
    return list(dict.fromkeys(one.name for one, dtype in computing if dtype in types)) if mixed else []


def _travelling(content: bytes, pack: bool) -> dict[str, Any]:
    if not pack and len(content) > MOST_PACKED_BYTES:
        return {"ota_bytes": None, "ota_codec": None}
    parcel = ota.pack(content)
    return {"ota_bytes": len(parcel.data), "ota_codec": parcel.codec}


def _target(name: str, placed: Placements) -> dict[str, Any]:
    facts = {"name": name, "runs_on": placed.counts(), "notes": placed.notes, "facts": dict(placed.facts)}
    return {"target": facts}


def _operators(
    graph: Graph, costs: tuple[OperatorCost, ...], layers: tuple[Layer, ...], placed: Placements | None
) -> list[dict[str, Any]]:
    rows = defaultdict(list)
    for cost, layer in zip(weight_costs(graph), layers, strict=True):
        rows[id(cost.operator)].append(layer)
    macs = sum(cost.macs for cost in costs)
    where = {(one.subgraph, one.index): one for one in placed.operators} if placed is not None else {}
    return [
        _operator(cost, rows[id(cost.operator)], macs, graph.size_bytes)
        | _where(where.get((cost.subgraph, cost.operator.index)))
        for cost in costs
    ]


def _where(placement: Placement | None) -> dict[str, Any]:
    if placement is None:
        return {}
    return {"runs_on": placement.runs_on, "why": placement.why, "remedy": placement.remedy}


def _operator(cost: OperatorCost, layers: list[Layer], all_macs: int, file_bytes: int) -> dict[str, Any]:
    operator = cost.operator
    return {
        "index": operator.index,
        "subgraph": cost.subgraph,
        "kind": operator.custom_code or operator.kind,
        "name": operator.name,
        "runs_on": "cpu",
        "why": "",
        "remedy": "",
        "macs": cost.macs,
        "macs_share": cost.macs / all_macs if all_macs else 0.0,
        "bytes": cost.bytes,
        "bytes_share": cost.bytes / file_bytes,
        **_weights(layers),
        "inputs": operator.inputs,
        "outputs": operator.outputs,
    }


def _weights(layers: list[Layer]) -> dict[str, Any]:
    """What an operator's weight tensors hold together; those that an earlier operator reads too are counted there."""
    if not layers:
        return {"weights": 0, "sparsity": None, "distinct": None, "bits": None, "sqnr_db": None}
    return {
        "weights": sum(layer.weights for layer in layers),
        "sparsity": verify.sparsity(tuple(layers)),
        "distinct": max(layer.distinct for layer in layers),
        "bits": max(layer.bits for layer in layers),
        "sqnr_db": layers[0].sqnr_db,
    }


def _border(tensor: Tensor) -> dict[str, Any]:
    scale = tensor.scales[0] if tensor.scales else 0.0
    zero_point = tensor.zero_points[0] if tensor.zero_points else 0
    return {"name": tensor.name, "shape": tensor.shape, "dtype": tensor.dtype, "scale": scale, "zero_point": zero_point}


def _tensor(tensor: Tensor, subgraph: int) -> dict[str, Any]:
    single = len(tensor.scales) == 1
    return {
        "index": tensor.index,
        "subgraph": subgraph,
        "name": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.dtype,
        "scale": tensor.scales[0] if single else None,
        "zero_point": tensor.zero_points[0] if single and tensor.zero_points else None,
        "scales": len(tensor.scales),
        "quantized_dimension": tensor.quantized_dimension if len(tensor.scales) > 1 else None,
        "bytes": None if tensor.data is None else len(tensor.data),
    }


def _measured(
    layers: tuple[Layer, ...], path: Path, graph: Graph, x: NDArray[np.float32], reference: Path
) -> tuple[Layer, ...]:
    inputs = tuple(TensorSpec(**_border(graph.tensors[index])) for index in graph.inputs)
    if [_takes_numbers(spec) for spec in inputs] != [True]:
        raise UsageError(
            f"{path} cannot be measured with --data: it takes {', '.join(spec.dtype for spec in inputs) or 'nothing'}.",
            expected=f"one input of {', '.join(MEASURED)}, quantized with one scale unless it is float32",
        )
    float_model = reference.read_bytes() if reference.is_file() else b""
    parse_graph(float_model, reference.name)
    model = Artifact(path, "", graph.size_bytes, 0, "", inputs, ())
    return verify.measured_layers(layers, model, float_model, ArraySplit(x, np.zeros(len(x))))


def _takes_numbers(spec: TensorSpec) -> bool:
    return spec.dtype in MEASURED and (spec.dtype == "float32" or 0 < spec.scale < math.inf)


def _examples(path: Path) -> NDArray[np.float32]:
    """The inputs in an `.npz`: its array `x`, or the only one that it has, (n, ...)."""
    expected = "an .npz with an array x of inputs, (n, ...), in the units that the float model takes"
    with open_npz(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.archive.namelist()]
        if "x" not in names and len(names) != 1:
            raise DataError(f"{path} has the arrays {', '.join(names) or 'none'}.", expected=expected)
        x = archive.whole("x" if "x" in names else names[0])
    if x.dtype.kind not in "biuf" or x.ndim < 2 or not len(x):
        raise DataError(f"{path} holds {x.dtype} of shape {x.shape}.", expected=expected)
    return x.astype(np.float32)
