"""The self-test of a deploy: what was installed runs on the device, before it is switched to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._bundle import MODEL, Bundle
from edge_targets._cascade import NEVER
from edge_targets._cascade_file import FIRST, REST
from edge_targets._errors import TargetError, UnusableModel
from edge_targets._golden import Golden, output_step
from edge_targets._on_device_cascade import confidence
from edge_targets._parity import Outputs, Parity, compare, compare_stages
from edge_targets.tflite_graph import Tensor, read_graph

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_targets._first_layer import Tensors

Stages = Callable[[str, "NDArray[Any]", float], tuple[Outputs, "NDArray[np.bool_] | None"]]
"""Runs both stages that lie in a folder on the device over inputs (n, ...), with a threshold: their scores
(n, 2, classes), the second's zeros where it was not asked; and who left early, (n,), or None if the device cannot
decide."""

# Another processor's `exp` may round otherwise.
HAIR = 1e-9


def try_model(
    bundle: Bundle, folder: str, outputs: Callable[[str, NDArray[Any]], Outputs], tensors: Tensors | None
) -> Parity:
    """How an installed model's outputs stand to the golden ones.

    Args:
        bundle: what was installed.
        folder: where it lies on the device.
        outputs: runs a model that lies at a path there.
        tensors: runs an opened model there, to tell where it goes wrong.
    """
    golden = Golden.load(bundle.folder)
    found = outputs(f"{folder}/{MODEL}", golden.inputs)
    parity = compare(found, golden.outputs, output_step(bundle.folder / MODEL, found.values))
    if parity.ok:
        return parity
    return replace(parity, first_layer=_named((bundle.folder / MODEL,), golden, found, tensors))


def try_stages(bundle: Bundle, folder: str, stages: Stages, tensors: Tensors | None) -> Parity:
    """The same of a model in two stages: both run for every input, and then decide with the bundle's threshold."""
    golden = Golden.load(bundle.folder)
    if any(each.values.ndim != 3 or each.values.shape[1] != 2 for each in golden.outputs):
        raise TargetError("The golden outputs are not those of two stages.", mend="make the bundle again")
    both = (bundle.folder / FIRST, bundle.folder / REST)
    _must_fit_each_other(both)
    found, _ = stages(folder, golden.inputs, NEVER)
    steps = [output_step(model, found.values[:, place]) for place, model in enumerate(both)]
    parity = compare_stages(found, golden.outputs, steps)
    if not parity.ok:
        return replace(parity, first_layer=_named(both, golden, found, tensors))
    return _deciding(parity, bundle, found, stages(folder, golden.inputs, bundle.threshold or NEVER)[1])


def _must_fit_each_other(both: tuple[Path, Path]) -> None:
    """Refuse files that are not two stages of one model: what runs them takes their borders for granted."""
    first, rest = map(read_graph, both)
    given, taken = [first.tensors[index] for index in first.outputs], [rest.tensors[index] for index in rest.inputs]
    counts = len(first.inputs), len(given), len(taken)
    # One example at a time: the first axis is 1.
    if counts != (1, 2, 1) or given[1].shape[:1] != (1,) or _kind(given[1]) != _kind(taken[0]):
        raise UnusableModel(
            f"{FIRST} and {REST} are not two stages of one model.",
            expected="scores and features out of the first, and these features into the second",
            mend="make the bundle again",
        )


def _kind(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    return tensor.dtype, tensor.shape


def _deciding(parity: Parity, bundle: Bundle, found: Outputs, left: NDArray[np.bool_] | None) -> Parity:
    """The verdict, once it was looked at who leaves early there."""
    if left is None:
        return parity
    graph, threshold = read_graph(bundle.folder / FIRST), bundle.threshold or NEVER
    scores = graph.tensors[graph.outputs[0]]
    scale, zero_point = (scores.scales[0], scores.zero_points[0]) if scores.scales else (0.0, 0)
    sure = confidence(found.values[:, 0], scale, zero_point)
    odd = int(((left != (sure >= threshold)) & (np.abs(sure - threshold) > HAIR)).sum())
    if odd:
        why = f"of {len(left)} examples {odd} leave early against the threshold, or stay against it"
        return replace(parity, ok=False, why=why)
    return replace(parity, why=f"{parity.why}; {int(left.sum())} of {len(left)} leave early, as they should")


def _named(models: tuple[Path, ...], golden: Golden, found: Outputs, tensors: Tensors | None) -> str:
    """The first layer that differs; "" where that cannot be found out, which is no reason to fail in another way."""
    from edge_targets._first_layer import first_layer, first_layer_of_both

    if tensors is None:
        return ""
    try:
        if len(models) == 1:
            return first_layer(models[0], golden, found, tensors)
        return first_layer_of_both((models[0], models[1]), golden, found, tensors)
    except TargetError:
        return ""
