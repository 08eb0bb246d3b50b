"""The facts of a Keras model: what the intake made of it, and what its layers cost. Part of `inspection`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import intake
from pipeline.artifact import sha256_of
from pipeline.cost import LayerCost, layer_costs

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.progress import Progress


def keras_facts(model: str, custom_objects: Path | None, *, trust_code: bool, progress: Progress) -> dict[str, Any]:
    """The flat model that the pipeline would work on: its layers, their costs, and the story of the intake, JSON-ready.

    Args:
        model: a Keras file or folder, or `file.py:function`.
        custom_objects: a python file with the classes that it names.
        trust_code: whether Python code in it may run.
        progress: told what takes long.

    Raises:
        UsageError: it is not there.
        ModelError: it cannot be used.
    """
    source = intake.ModelSource(model, {}, custom_objects, trust_code)
    draft = intake.take_in(source, None, seed=0, progress=progress)
    if custom_objects is not None:
        intake.register_custom_objects(custom_objects)
    flat = draft.restore()
    [step] = draft.steps
    layers = [_layer(layer, cost, place) for place, (layer, cost) in enumerate(_priced(flat))]
    macs, weights = (sum(layer[name] for layer in layers) for name in ("macs", "weights"))
    zeros = sum(round((layer["sparsity"] or 0) * layer["weights"]) for layer in layers)
    return {
        "model": {
            "path": model,
            "format": step.notes.get("format", "Keras"),
            **_file_facts(source.path),
            "inputs": [_border(tensor) for tensor in flat.inputs],
            "outputs": [_border(tensor) for tensor in flat.outputs],
            "operators": len(layers),
            "macs": macs,
            "parameters": flat.count_params(),
            "weights": weights,
            "sparsity": zeros / weights if weights else 0.0,
            "intake": {**step.metrics, **{name: fact for name, fact in step.notes.items() if name != "format"}},
        },
        "operators": [{**layer, "macs_share": layer["macs"] / macs if macs else 0.0} for layer in layers],
        "tensors": [_tensor(weight, place) for place, weight in enumerate(flat.weights)],
    }


def _priced(flat: Any) -> list[tuple[Any, LayerCost]]:
    return list(zip(flat.layers, layer_costs(flat), strict=True))


def _layer(layer: Any, cost: LayerCost, place: int) -> dict[str, Any]:
    # Vectors are biases and statistics; what is left multiplies.
    kernels = [weight for weight in layer.get_weights() if weight.ndim > 1]
    values = np.concatenate([kernel.ravel() for kernel in kernels]) if kernels else np.zeros(0)
    return {
        "index": place,
        "kind": cost.kind,
        "name": cost.name,
        "runs_on": "",
        "why": "",
        "remedy": "",
        "output_shape": _shape(layer.output_shape),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "weights": values.size,
        "sparsity": float(np.mean(values == 0)) if values.size else None,
        "distinct": len(np.unique(values)) if values.size else None,
        "bits": 8 * values.itemsize if values.size else None,
    }


def _shape(shape: Any) -> list[Any]:
    """Sizes that are left open are null; of a layer of several outputs, the first one's."""
    first = shape[0] if isinstance(shape, list) or (shape and isinstance(shape[0], tuple)) else shape
    return list(first)


def _border(tensor: Any) -> dict[str, Any]:
    name = tensor.name.split(":")[0]
    return {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name, "scale": 0.0, "zero_point": 0}


def _tensor(weight: Any, place: int) -> dict[str, Any]:
    shape = list(weight.shape)
    size_bytes = math.prod(shape) * weight.dtype.size
    facts = {"name": weight.name.split(":")[0], "shape": shape, "dtype": weight.dtype.name, "bytes": size_bytes}
    return {"index": place, **facts, "scale": None, "zero_point": None}


def _file_facts(path: Path) -> dict[str, Any]:
    if not path.is_file() or path.suffix == ".py":
        return {}
    content = path.read_bytes()
    return {"sha256": sha256_of(content), "size_bytes": len(content)}
