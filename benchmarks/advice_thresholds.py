"""What the thresholds of advice rest on: how much a task loses by one layer of so much noise, or of so uneven channels.

    python -m benchmarks.advice_thresholds [--models lenet5 resnet8 autoencoder]

Trains the models of `benchmarks.post_training --quick` (a minute), then quantizes each several times:

- one layer alone in int8, all others in float, by four calibrations, and with the range of its output made wider and
  narrower than it is: the ratio of signal to noise at its output beside what the metric of the test split loses;
- two layers of which one's channels are scaled apart and the other takes the scales back, which changes nothing in
  float, in full int8: how far apart they are beside what is lost;
- int8 logits, and their softmax in steps of 1/256: what accuracy and ROC AUC say of either.

Five minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._bench import ROOT
from benchmarks._post_training_models import subjects
from benchmarks.post_training import SEED, Table
from edge_targets.tflite_graph import parse_graph
from pipeline import convert, intake, verify
from pipeline._convert._ranges import Ranges
from pipeline._keepable import Layers
from pipeline.artifact import Artifact
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.settings import ConvertSettings

WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"calibration": "percentile"},
    {"calibration": "entropy"},
    {"granularity": "per_tensor"},
)
WIDENED = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 0.6, 0.4, 0.25)
BOUNDS_DB = (-math.inf, 10.0, 15.0, 20.0, 25.0, 30.0, math.inf)
APART = (1, 10, 30, 100, 300, 1000)
PAIRS = {
    "lenet5": (("conv1", "conv2"), ("dense1", "logits")),
    "resnet8": (("stack1_conv1", "stack1_conv2"), ("stack2_conv1", "stack2_conv2")),
}
"""Layers with nothing but ReLU, pooling, normalization or flattening between, which positive scales pass."""


@dataclass(frozen=True)
class Case:
    """A trained model, its data, and how models of it are judged."""

    name: str
    draft: Draft
    table: Table
    examples: NDArray[np.float32]

    @classmethod
    def of(cls, name: str, folder: Path) -> Case:
        """Train it."""
        table = Table(name, subjects(quick=True)[name], folder, quick=True)
        draft = intake.fold_front(table.trained())[0]
        return cls(name, draft, table, table.data.calibration(200, SEED))

    def readout(self, model: bytes) -> NDArray[np.float32]:
        """What a model says of the test split."""
        with tempfile.TemporaryDirectory() as folder:
            data = self.table.data
            return verify.readout(_laid_down(model, folder), data.test, data.task, lambda _: None)

    def value(self, model: bytes) -> float:
        """The task's metric on the test split."""
        return self.table.data.task.score(self.table.data.test.targets(), self.readout(model))

    def noise_db(self, model: bytes, reference: bytes, layer: str) -> tuple[float, float]:
        """The least SQNR of a layer, each channel counting alike or summed up; and how far apart its channels are."""
        with tempfile.TemporaryDirectory() as folder:
            rows = verify.measured_layers(
                verify.layer_table(model), _laid_down(model, folder), reference, self.table.data.validation
            )
        own = [row for row in rows if row.name == layer and row.error is not None and row.sqnr_db is not None]
        errors = [(row.sqnr_db, row.error) for row in own if row.error is not None and row.sqnr_db is not None]
        least = min((min(summed, error.channel_sqnr_db) for summed, error in errors), default=math.nan)
        return least, max((error.channel_spread for _, error in errors), default=math.nan)


def main() -> int:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", choices=["lenet5", "resnet8", "autoencoder"], default=["lenet5", "resnet8"]
    )
    chosen = parser.parse_args().models
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as temporary:
        cases = [Case.of(name, Path(temporary)) for name in chosen]
        _print_noise([found for case in cases for found in _alone(case)])
        for case in cases:
            _print_spread(case)
            _print_border(case)
    return 0


def _alone(case: Case) -> Iterator[tuple[float, float]]:
    """Each layer alone in int8: its ratio in dB, and the points that the metric loses."""
    plain = convert.with_ranges(case.draft, case.examples, ConvertSettings())
    layers, float_value = Layers(parse_graph(plain)), case.value(plain)
    for layer in layers.names:
        others = layers.tensors_of(frozenset(layers.names) - {layer})
        for ranges, per_channel in _ranges(case, plain, layer):
            try:
                model = convert.quantized(ranges, kept=others, per_channel=per_channel)
            except ModelError:
                continue
            ratio_db = case.noise_db(model, plain, layer)[0]
            if math.isfinite(ratio_db):
                yield ratio_db, 100 * (float_value - case.value(model))


def _ranges(case: Case, plain: bytes, layer: str) -> Iterator[tuple[bytes, bool]]:
    """The model with ranges by every calibration, and with those of one layer's output made wider and narrower."""
    for way in WAYS:
        settings = ConvertSettings(**way)
        yield convert.with_ranges(case.draft, case.examples, settings), settings.granularity == "per_channel"
    output = [one for one in parse_graph(plain).operators if one.name == layer][-1].outputs[0]
    for factor in WIDENED:
        found = Ranges(plain)
        group = next((first for first, tensors in found.groups.items() if output in tensors), None)
        if group is not None:
            low, high = found.measured[group]
            yield found.written({group: (low * factor, high * factor)}), True


def _print_noise(found: list[tuple[float, float]]) -> None:
    print(f"{'one layer alone in int8':<26}{'models':>7}{'median lost':>12}{'most':>7}{'above 0.5':>10}")
    for low, high in pairwise(BOUNDS_DB):
        lost = sorted(points for ratio_db, points in found if low <= ratio_db < high)
        if lost:
            share = sum(points > 0.5 for points in lost) / len(lost)
            between, median = f"{low:g} to {high:g} dB", lost[len(lost) // 2]
            print(f"{between:<26}{len(lost):>7}{median:>12.2f}{lost[-1]:>7.2f}{share:>10.0%}")


def _print_spread(case: Case) -> None:
    for one, two in PAIRS.get(case.name, ()):
        print(f"\n{case.name}, channels of {one} scaled apart: 1:scales, 1:ranges, dB, points lost")
        for apart in APART:
            ranges = convert.with_ranges(_scaled(case.draft, one, two, apart), case.examples, ConvertSettings())
            model = convert.quantized(ranges)
            ratio_db, spread = case.noise_db(model, ranges, one)
            print(
                f"  {apart:>5} {spread:>8.0f} {ratio_db:>6.1f} {100 * (case.value(ranges) - case.value(model)):>7.2f}"
            )


def _scaled(draft: Draft, one: str, two: str, apart: int) -> Draft:
    """The same model with the channels between two layers scaled apart, evenly on a logarithmic scale."""
    model = draft.restore()
    first, second = model.get_layer(one), model.get_layer(two)
    behind = first.outbound_nodes[0].outbound_layer
    maker = behind if type(behind).__name__ == "BatchNormalization" else first
    kernel, *rest = second.get_weights()
    scales = np.geomspace(1, apart, kernel.shape[-2]).astype(np.float32)
    scales = np.random.default_rng(0).permutation(scales)
    # A kernel is divided along its last axis, as is a bias, and gamma and beta; moving statistics stay.
    scaled = [weight / scales if place < 2 else weight for place, weight in enumerate(maker.get_weights())]
    maker.set_weights(scaled)
    second.set_weights([kernel * scales[:, None], *rest])
    return Draft.of(model)


def _print_border(case: Case) -> None:
    if case.table.data.task.metric != "accuracy":
        return
    logits = case.readout(convert.quantized(convert.with_ranges(case.draft, case.examples, ConvertSettings())))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = np.clip(np.round(256 * shares / shares.sum(axis=1, keepdims=True)), 0, 255).astype(np.float32) / 256
    targets, task = case.table.data.test.targets(), case.table.data.task
    full = float((shares.max(axis=1) >= 255 / 256).mean())
    print(
        f"\n{case.name}: accuracy and ROC AUC of int8 logits, and of their softmax in int8, {full:.0%} of it saturated"
    )
    for said in (logits, shares):
        print(f"  {task.score(targets, said):.4f} {task.details(targets, said)['roc_auc']:.4f}")


def _laid_down(model: bytes, folder: str) -> Artifact:
    path = Path(folder, "model.tflite")
    path.write_bytes(model)
    return Artifact.of(path, model)


if __name__ == "__main__":
    sys.exit(main())
