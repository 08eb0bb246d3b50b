"""A model in two stages: when the second is asked, and what both of them show on the test split. Part of `verify`.

The first stage gives early scores and features, the second takes the features to the final scores. After
Teerapittayanon et al., "BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks" (2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets._cascade import NEVER
from edge_targets._measurement import TIMED
from edge_targets._on_device_cascade import confidence
from edge_targets.tflite_cost import operator_costs, total_macs
from edge_targets.tflite_graph import Graph, operators_behind, parse_graph
from pipeline.artifact import Artifact, dequantize
from pipeline.check import Check
from pipeline.errors import BrokenPromise
from pipeline.interpreter import interpreter, stored_batches
from pipeline.latency import EARLY, REST, WHOLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._cascade import Exits
    from edge_targets._measurement import Measurement
    from pipeline.dataset import Dataset
    from pipeline.draft import Draft, Step
    from pipeline.progress import Progress

STAGE = "early_exit"

SURE = 1.645
"""Standard deviations that leave 5 % on one side."""


@dataclass(frozen=True)
class Stages:
    """What both stages show on the test split, as int8 files.

    Attributes:
        exits: share of the examples that the first stage decides, 0 to 1.
        early_value, full_value, value: the task's metric of the early scores alone, of the final scores alone, and of
            both as the threshold decides.
        odd: examples on which the device decided otherwise than the threshold says.
        early_macs, rest_macs: multiply-accumulates of each file.
        full_macs: those of the path to the final scores, without the early head.
    """

    exits: float
    early_value: float
    full_value: float
    value: float
    odd: int
    early_macs: int
    rest_macs: int
    full_macs: int

    @property
    def average_macs(self) -> float:
        """Multiply-accumulates of an example on average, as a share of the full path's."""
        return (self.early_macs + (1 - self.exits) * self.rest_macs) / self.full_macs

    @property
    def drop(self) -> float:
        """What the metric loses against the full path; below zero where it gains."""
        return round(self.full_value - self.value, 9)


def exit_step(draft: Draft) -> Step | None:
    """The step that gave a draft its early head."""
    return next((step for step in reversed(draft.steps) if step.stage == STAGE), None)


def head_layers(draft: Draft) -> frozenset[str]:
    """The layers of a draft's early head."""
    step = exit_step(draft)
    return frozenset(step.notes["head"]) if step is not None else frozenset()


def graph_of(artifact: Artifact) -> Graph:
    """An artifact's operators and tensors; those of a second stage stand among its bodies, and count as they do."""
    graphs = [parse_graph(part.path.read_bytes()) for part in artifact.parts]
    size = sum(graph.size_bytes for graph in graphs)
    return replace(graphs[0], bodies=(*graphs[0].bodies, *graphs[1:]), size_bytes=size)


def run(artifact: Artifact, examples: Iterable[NDArray[Any]], threshold: float) -> Exits:
    """Both stages over raw examples, through the runner of this machine, which decides who leaves early.

    Raises:
        TargetError: a stage did not run.
    """
    first, rest = (part.path for part in artifact.parts)
    return interpreter().cascade((first, rest), examples, threshold)


def decided(artifact: Artifact, found: Exits) -> NDArray[np.float32]:
    """The scores that stand for each example, dequantized, (n, classes)."""
    early, final = scores_of(artifact, found)
    return np.where(found.left[:, None], early, final)


def scores_of(artifact: Artifact, found: Exits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Early and final scores, dequantized, (n, classes) each: both logits, or both chances if the full path ends so."""
    first, rest = artifact.parts
    early, final = dequantize(found.early, first.outputs[0]), dequantize(found.final, rest.outputs[0])
    if parse_graph(rest.path.read_bytes()).operators[-1].kind == "SOFTMAX":
        early = np.exp(early - early.max(axis=-1, keepdims=True))
        early /= early.sum(axis=-1, keepdims=True)
    return early, final


def choose(artifact: Artifact, data: Dataset, step: Step, progress: Progress) -> tuple[float, float]:
    """The threshold that lets most examples leave early, and the share that did, both on the validation split.

    What is lost there must stay within `max_drop` even at the upper end of its one-sided 95 % interval.

    Args:
        artifact: both stages; their threshold is not looked at.
        data: its validation split decides.
        step: the stage's, with its settings.
        progress: told how far it is.

    Raises:
        BrokenPromise: no threshold keeps within it.
    """
    with progress.bar("early_exit: threshold", data.validation.size) as bar:
        found = run(artifact, stored_batches(data.validation, artifact.inputs[0], bar.advance), NEVER)
    sure = _confidence(artifact, found)
    fixed = step.settings["threshold"]
    if fixed is not None:
        return fixed, float(np.mean(sure >= fixed))
    y = data.validation.targets()
    early, final = (scores.argmax(axis=-1) == y for scores in scores_of(artifact, found))
    threshold = best_threshold(sure, early, final, step.settings["max_drop"])
    if threshold is None:
        raise BrokenPromise(
            f"No threshold of the early exit loses at most {step.settings['max_drop']:g} of the accuracy for sure: on "
            f"{len(y)} validation examples the early head alone reaches {early.mean():.4f}, the full path "
            f"{final.mean():.4f}.",
            expected="some examples that can leave early",
            mend="branch off later (stages.early_exit.share or .after), train longer, allow a larger max_drop, or "
            "keep more examples for validation",
        )
    return threshold, float(np.mean(sure >= threshold))


def best_threshold(
    sure: NDArray[np.float64], early: NDArray[np.bool_], final: NDArray[np.bool_], max_drop: float
) -> float | None:
    """The least threshold whose loss is within `max_drop` for sure; None where even the most confident lose more.

    Args:
        sure: the early head's confidence, (n,).
        early, final: whether early and final scores are right, (n,).
        max_drop: the most that may be lost of the share of right ones, at the upper end of the 95 % interval.
    """
    order = np.argsort(-sure, kind="stable")
    lost = final[order].astype(float) - early[order]
    n = len(lost)
    mean, square = np.cumsum(lost) / n, np.cumsum(lost**2) / n
    highest = mean + SURE * np.sqrt((square - mean**2) / n)
    ranked = sure[order]
    # Between two that are equally sure there is no threshold.
    ends = np.append(ranked[1:] < ranked[:-1], True)
    fit = np.flatnonzero((highest <= max_drop) & ends)
    if not len(fit):
        return None
    last = fit[-1]
    below = ranked[last + 1] if last + 1 < n else ranked[last]
    middle = (ranked[last] + below) / 2
    # Close to 1, two neighbours have no number between them.
    return float(middle if middle > below else ranked[last])


def measured(artifact: Artifact, data: Dataset, outputs: NDArray[np.float32], progress: Progress) -> Stages | None:
    """What each stage does on the test split; None of a model in one file.

    Args:
        artifact: both stages.
        data: its test split.
        outputs: what the device gave when it decided by itself who leaves early, (n, classes).
        progress: told how far it is.
    """
    if artifact.cascade is None:
        return None
    task, y = data.task, data.test.targets()
    with progress.bar("verify: both stages", data.test.size) as bar:
        found = run(artifact, stored_batches(data.test, artifact.inputs[0], bar.advance), NEVER)
    left = _confidence(artifact, found) >= artifact.cascade.threshold
    early, final = scores_of(artifact, found)
    odd = (np.where(left[:, None], early, final) != outputs).any(axis=-1)
    first, rest = (parse_graph(part.path.read_bytes()) for part in artifact.parts)
    return Stages(
        exits=float(left.mean()),
        early_value=task.score(y, early),
        full_value=task.score(y, final),
        value=task.score(y, outputs),
        odd=int(odd.sum()),
        early_macs=total_macs(first),
        rest_macs=total_macs(rest),
        full_macs=_macs_to(first, first.outputs[1]) + total_macs(rest),
    )


def told(artifact: Artifact, stages: Stages | None, measurements: Sequence[Measurement]) -> dict[str, Any] | None:
    """The cascade for reports, JSON-ready (`docs/schemas/cascade.schema.json` has the part that travels)."""
    if artifact.cascade is None or stages is None:
        return None
    first, rest = artifact.parts
    early, rest_us = (_medians(measurements, name) for name in (EARLY, REST))
    average = {target: early[target] + (1 - stages.exits) * rest_us[target] for target in early if target in rest_us}
    return {
        "threshold": artifact.cascade.threshold,
        "expected_exits": artifact.cascade.expected_exits,
        "exits": stages.exits,
        "value": stages.value,
        "early_value": stages.early_value,
        "full_value": stages.full_value,
        "average_macs": stages.average_macs,
        "full_macs": stages.full_macs,
        "average_us": average,
        "features": asdict(first.outputs[1]),
        "stages": [
            {**_file(first), "macs": stages.early_macs, "decides": stages.exits, "median_us": early},
            {**_file(rest), "macs": stages.rest_macs, "decides": 1 - stages.exits, "median_us": rest_us},
        ],
    }


def _file(part: Artifact) -> dict[str, Any]:
    facts = ("sha256", "size_bytes", "ota_bytes", "ota_codec")
    borders = {name: [asdict(spec) for spec in getattr(part, name)] for name in ("inputs", "outputs")}
    return {"path": part.path.name, **{name: getattr(part, name) for name in facts}, **borders}


def _medians(measurements: Sequence[Measurement], model: str) -> dict[str, float]:
    """The median latency of a stage by target, where it was measured there and means something."""
    timed = (one for one in measurements if one.model == model and one.provenance in TIMED)
    return {one.target: one.median_us for one in timed if one.median_us is not None}


def stage_checks(stages: Stages | None, draft: Draft) -> list[Check]:
    """What the stage promised of the cascade, against what both files do on the test split."""
    step = exit_step(draft)
    if stages is None or step is None:
        return []
    decided = f"{100 * stages.exits:.1f} % of the test examples leave early"
    against = f"{stages.value:.4f} against {stages.full_value:.4f} of the full path alone, in the same precision"
    return [
        Check.at_most("cascade_accuracy_drop", stages.drop, step.promises["max_cascade_drop"], "share", against),
        Check.at_most("average_macs", stages.average_macs, step.promises["max_average_macs"], "share", decided),
        Check.at_most("odd_exits", stages.odd, 0, "examples", "who leaves early, as the device's runner decides it"),
    ]


def one_after_the_other(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The int8 measurements; of a cascade, with the median of an example that needs both stages."""
    rest = {found.target: found.median_us for found in measurements if found.model == REST}
    first = (found for found in measurements if found.model == EARLY)
    both = [replace(found, median_us=_sum(found.median_us, rest.get(found.target))) for found in first]
    return [*(found for found in measurements if found.model == WHOLE), *both]


def _sum(first_us: float | None, rest_us: float | None) -> float | None:
    return None if first_us is None or rest_us is None else first_us + rest_us


def _confidence(artifact: Artifact, found: Exits) -> NDArray[np.float64]:
    scores = artifact.outputs[0]
    sure: NDArray[np.float64] = confidence(found.early, scores.scale, scores.zero_point)
    return sure


def _macs_to(graph: Graph, tensor: int) -> int:
    """Multiply-accumulates that it takes to make one tensor."""
    needed = operators_behind(graph, [tensor])
    return sum(cost.macs for cost in operator_costs(graph) if cost.subgraph == 0 and cost.operator.index in needed)
