"""Mixed precision by sensitivity: the fewest layers kept out of int8 that keep the task's metric within its budget.

Each layer's damage is measured, not guessed: the metric on the validation split with that layer alone in float. The
idea of ordering layers so and keeping the worst is that of HAWQ (Dong et al., arXiv 1905.03696), with the metric itself
in the place of its estimate.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_targets import BenchmarkPlan, TargetError
from edge_targets.tflite_graph import parse_graph
from pipeline import verify
from pipeline._fewest import BESIDE_THE_LAYERS, Found, Kept, fewest
from pipeline._keepable import Layers
from pipeline.artifact import Artifact, LayerGain, MixedPrecision
from pipeline.errors import ModelError
from pipeline.interpreter import interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

PLAN = BenchmarkPlan(num_runs=50, warmup_runs=5, min_secs=0.1, max_secs=2.0)
"""How the latency is measured that keeping layers costs: short, for it is told beside the targets' own figures."""

BEFORE_THE_SEARCH = 1
"""Evaluations that are made anyway: the float model's."""

WEIGHT_BITS = {"float32": 32, "int16": 16}
"""Of convolutions and dense layers that are kept, where nothing cheaper is enough."""

CHEAPER_BITS = 8


@dataclass(frozen=True)
class Way:
    """How layers are kept out of int8.

    Attributes:
        quantize: makes the model int8, but for the operators whose outputs' names it is given.
        kept_in: what those are.
        cheaper: does so in fewer bytes and less time, and may be too coarse: it is tried at last, on what was found.
        unable: operators that must stay in int8, by the names of their first outputs.
    """

    quantize: Callable[[Collection[str]], bytes]
    kept_in: Literal["float32", "int16"] = "float32"
    cheaper: Callable[[Collection[str]], bytes] | None = None
    unable: Collection[str] = ()


@dataclass(frozen=True)
class Mixed:
    """A model in mixed precision, and the search that led to it."""

    model: bytes
    record: MixedPrecision


def mixed_precision(
    calibrated: bytes,
    way: Way,
    baseline: bytes | None,
    data: Dataset,
    max_accuracy_drop: float,
    progress: Progress,
) -> Mixed:
    """Quantize a model, and keep as few layers out of int8 as the budget allows.

    Args:
        calibrated: the float `.tflite` with the ranges, as `convert.calibrated` gives it.
        way: makes it int8 but for some layers.
        baseline: the float `.tflite` that the metric is compared with; None: the calibrated one.
        data: its validation split decides; the test split is not looked at.
        max_accuracy_drop: the most that the metric may lose.
        progress: told how far it is.

    Returns:
        The model with the fewest layers kept that are within the budget; where none are, the one that comes nearest.

    Raises:
        ModelError, TargetError: the model cannot be had in full int8, or does not run.
    """
    layers = Layers(parse_graph(calibrated), way.unable)
    for sentence in layers.unable():
        progress.note(f"mixed precision: {sentence}")
    judge = _Judge(data, baseline or calibrated)
    # As the check of the budget rounds: 0.99 - 0.01 is a little more than 0.98 in binary.
    goal = round(judge.float_value - max_accuracy_drop, 9)
    models = _Models(way, layers, progress)
    with progress.bar("mixed precision", len(layers.names) + BESIDE_THE_LAYERS) as bar:

        def evaluate(kept: Kept) -> float:
            bar.advance(1)
            return models.value(kept, judge)

        sqnr_db = judge.sqnr_db(calibrated, models.of(frozenset()))
        spent = BEFORE_THE_SEARCH + models.afterwards
        found = fewest(layers.names, evaluate, goal, together=layers.together, sqnr_db=sqnr_db, spent=spent)
        found, model, weight_bits = models.cheapest(found, judge, goal)
    files = (models.of(frozenset()), model)
    medians_us = _medians_us(files, progress) if found.kept else (None, None)
    record = _record(found, layers, judge, sqnr_db, max_accuracy_drop, files, medians_us)
    return Mixed(model, replace(record, kept_in=way.kept_in, weight_bits=weight_bits))


class _Models:
    """The models with some layers kept. None is held for longer than it is looked at: a search makes one a layer.

    Attributes:
        afterwards: evaluations that the search must leave.
    """

    def __init__(self, way: Way, layers: Layers, progress: Progress) -> None:
        self._way, self._layers, self._progress = way, layers, progress
        self._told: set[str] = set()
        self.afterwards = 0 if way.cheaper is None else 1

    def of(self, kept: Kept) -> bytes:
        """The model with these layers kept out of int8."""
        return self._way.quantize(self._layers.tensors_of(kept))

    def value(self, kept: Kept, judge: _Judge) -> float:
        """What it reaches; layers that cannot be kept are no choice, and reach nothing. Full int8 must be had."""
        try:
            return judge.value(self.of(kept))
        except (ModelError, TargetError) as error:
            if not kept:
                raise
            if error.what not in self._told:
                self._told.add(error.what)
                self._progress.note(f"mixed precision: {', '.join(sorted(kept))} cannot be kept: {error.what}")
            return -math.inf

    def cheapest(self, found: Found, judge: _Judge, goal: float) -> tuple[Found, bytes, int]:
        """What was found, its model, and the bits of its weights: in the cheaper way where that is good enough."""
        model, bits = self.of(found.kept), WEIGHT_BITS[self._way.kept_in]
        spent = found.evaluations - self.afterwards
        if self._way.cheaper is None or not found.kept or found.value < goal:
            return replace(found, evaluations=spent), model, bits
        cheaper = self._way.cheaper(self._layers.tensors_of(found.kept))
        value = judge.value(cheaper)
        if value < goal:
            return replace(found, evaluations=spent + 1), model, bits
        return replace(found, evaluations=spent + 1, value=value), cheaper, CHEAPER_BITS


class _Judge:
    """What models reach on the validation split.

    Where that split leaves the metric undefined, as for anomalies, of which it has none, the share of decisions that
    are the float model's takes its place: of an anomaly score that is the order of the examples, as the AUC sees it.
    """

    def __init__(self, data: Dataset, float_model: bytes) -> None:
        self._data, self._targets = data, data.validation.targets()
        self._reference = self._readout(float_model)
        value = data.task.score(self._targets, self._reference)
        self.metric, self.float_value = (data.task.metric, value) if math.isfinite(value) else ("agreement", 1.0)

    def value(self, model: bytes) -> float:
        """The metric, or what stands for it; a model that gives no finite numbers is worse than any."""
        found = self._readout(model)
        if self.metric == "agreement":
            return self._data.task.agreement(self._reference, found)
        return self._data.task.score(self._targets, found)

    def sqnr_db(self, reference: bytes, quantized: bytes) -> Mapping[str, float]:
        """The least SQNR of each layer in full int8, each channel counting alike; those not measured are left out."""
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            artifact = _laid_down(quantized, Path(folder))
            try:
                table = verify.layer_table(quantized)
                rows = verify.measured_layers(table, artifact, reference, self._data.validation)
            except TargetError:
                # It only breaks ties.
                return {}
        found: dict[str, float] = {}
        for row in rows:
            if row.error is not None:
                found[row.name] = min(found.get(row.name, math.inf), row.error.channel_sqnr_db)
        return found

    def _readout(self, model: bytes) -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            artifact = _laid_down(model, Path(folder))
            return verify.readout(artifact, self._data.validation, self._data.task, lambda _: None)


def _record(
    found: Found,
    layers: Layers,
    judge: _Judge,
    sqnr_db: Mapping[str, float],
    max_accuracy_drop: float,
    models: tuple[bytes, bytes],
    medians_us: tuple[float | None, float | None],
) -> MixedPrecision:
    most_first = sorted(found.gains, key=lambda name: (-found.gains[name], sqnr_db.get(name, 0.0)))
    return MixedPrecision(
        kept_in="",
        kept=tuple(name for name in layers.names if name in found.kept),
        riders=layers.riders_of(found.kept),
        gains=tuple(LayerGain(name, _finite(found.gains[name]), _finite(sqnr_db.get(name))) for name in most_first),
        metric=judge.metric,
        float_value=judge.float_value,
        int8_value=found.int8_value,
        value=found.value,
        max_accuracy_drop=max_accuracy_drop,
        evaluations=found.evaluations,
        most_evaluations=len(layers.names) + BESIDE_THE_LAYERS,
        int8_size_bytes=len(models[0]),
        size_bytes=len(models[1]),
        int8_median_us=medians_us[0],
        median_us=medians_us[1],
    )


def _medians_us(models: tuple[bytes, bytes], progress: Progress) -> tuple[float | None, float | None]:
    """The median latency of two models on this machine, turn by turn in one run; None where it cannot be had."""
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        paths = {name: Path(folder, f"{name}.tflite") for name in ("int8", "mixed")}
        for path, model in zip(paths.values(), models, strict=True):
            path.write_bytes(model)
        try:
            found = interpreter().benchmark(paths, PLAN)
        except TargetError as error:
            # It is told beside the metric, and decides nothing.
            progress.note(f"mixed precision: no latency: {error.what}")
            return None, None
    return found["int8"].median_us, found["mixed"].median_us


def _laid_down(model: bytes, folder: Path) -> Artifact:
    path = folder / "model.tflite"
    path.write_bytes(model)
    return Artifact.of(path, model)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
