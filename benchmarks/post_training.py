"""Post-training quantization over the zoo: every precision and calibration, beside float and training for int8.

    python -m benchmarks.post_training [--quick] [--models lenet5 gru] [--folder FOLDER]

The data: shared/data beside the project (MNIST, FSDD), and `pip install "edgesmith[examples,aeq]"`. Stages that are
done lie in FOLDER, so that it can go on. `--quick` takes 10,000 digits and a third of the epochs.

Of each file: the task's metric on the test split, what it loses against float (points), size, median latency on this
machine (all files of a model turn by turn in one run), and the SQNR of the output on validation examples. Exit 1 where
ai-edge-quantizer, with the same calibration data and method, is more than 0.2 points from TensorFlow's converter.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._bench import ROOT, Stages
from benchmarks._post_training_models import EXAMPLES, Subject, subjects
from edge_targets._measurement import BenchmarkPlan
from pipeline import forge, verify
from pipeline.artifact import Artifact
from pipeline.cache import Cache
from pipeline.draft import Draft
from pipeline.errors import EdgesmithError
from pipeline.interpreter import interpreter
from pipeline.progress import Progress
from pipeline.recipe import Recipe

MOST_APART = 0.002
"""What the two quantizers may be apart: 0.2 points."""

SEED = 7
AEQ = {"backend": "ai_edge_quantizer"}

WAYS: dict[str, dict[str, Any]] = {
    "int8 min-max": {},
    "int8 percentile": {"calibration": "percentile"},
    "int8 mse": {"calibration": "mse"},
    "int8 entropy": {"calibration": "entropy"},
    "int8 per tensor": {"granularity": "per_tensor"},
    "int16x8": {"precision": "int16x8"},
    "float16": {"precision": "float16"},
    "dynamic": {"precision": "dynamic"},
    "int4 (aeq)": {"precision": "int4", **AEQ},
    "int8 min-max (aeq)": AEQ,
    "int8 its own (aeq)": {"calibration": "moving_average", **AEQ},
}
"""Settings of the conversion by their name in the table."""

PAIR = "int8 min-max", "int8 min-max (aeq)"
PLAN = BenchmarkPlan(num_runs=50, warmup_runs=10, min_secs=0.2, max_secs=10.0)


@dataclass(frozen=True)
class Row:
    """A file, its metric, and the SQNR of its output."""

    artifact: Artifact
    value: float
    sqnr_db: float | None


class Table:
    """One model in every way, in a folder of its own."""

    def __init__(self, name: str, subject: Subject, folder: Path, *, quick: bool) -> None:
        self._name, self._subject, self._quick = name, subject, quick
        self._folder, self._cache = folder / name, Cache(folder / "cache")
        recipe = self._recipe(subject.stages(aware=False, quick=quick), {})
        self.data = recipe.data.load(recipe.task, seed=SEED, progress=Progress())

    def trained(self) -> Draft:
        """The model as it is quantized after training."""
        recipe = self._recipe(self._subject.stages(aware=False, quick=self._quick), {})
        return forge.drafts(recipe, self.data, self._cache, Progress())[0][-1]

    def rows(self) -> Iterator[tuple[str, Row | str]]:
        """Each way with its row, or with the sentence that says why there is none; float is the first."""
        plain = self._subject.stages(aware=False, quick=self._quick)
        drafts, _ = forge.drafts(self._recipe(plain, {}), self.data, self._cache, Progress())
        yield "float", self._scored(forge.baseline(drafts, self._cache, self._into("float"), Progress()), None)
        for way, settings in WAYS.items():
            yield way, self._row(way, plain, settings)
        yield "int8 trained (qat)", self._row("qat", self._subject.stages(aware=True, quick=self._quick), {})

    def _row(self, way: str, stages: Stages, settings: dict[str, Any]) -> Row | str:
        recipe = self._recipe(stages, settings)
        try:
            drafts, _ = forge.drafts(recipe, self.data, self._cache, Progress())
            artifact = forge.artifact(drafts[-1], recipe, self.data, self._cache, self._into(way), Progress())
        except EdgesmithError as error:
            return error.what
        return self._scored(artifact, forge.reference(drafts[-1], self._cache, Progress()))

    def _scored(self, artifact: Artifact, reference: bytes | None) -> Row:
        layers = verify.layer_table(artifact.path.read_bytes())
        if reference is not None:
            layers = verify.measured_layers(layers, artifact, reference, self.data.validation)
        value = verify.score(artifact, self.data, lambda _: None).value
        return Row(artifact, value, layers[-1].sqnr_db)

    def _into(self, way: str) -> Path:
        folder = self._folder / way.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _recipe(self, stages: Stages, settings: dict[str, Any]) -> Recipe:
        subject = self._subject
        written = {"name": self._name, "seed": SEED, "task": subject.task, "data": subject.data, "model": subject.model}
        text = json.dumps({**written, "stages": stages, "convert": settings})
        return Recipe.model_validate_json(text, context={"folder": EXAMPLES})


def main() -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", nargs="+", choices=sorted(subjects(quick=True)))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    chosen = {name: each for name, each in subjects(quick=given.quick).items() if name in (given.models or [name])}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        agreed = [_table(Table(name, each, folder, quick=given.quick), name) for name, each in chosen.items()]
    return int(not all(agreed))


def _table(table: Table, name: str) -> bool:
    """Print a model's table; returns whether the two quantizers agree."""
    print(f"\n{name}: {table.data.test.size} test examples, {table.data.task.metric}", flush=True)
    found = dict(table.rows())
    made = {way: row for way, row in found.items() if isinstance(row, Row)}
    latencies = interpreter().benchmark({way: row.artifact.path for way, row in made.items()}, PLAN)
    print(f"  {'':<20} {'metric':>8} {'lost':>7} {'bytes':>9} {'median µs':>10} {'SQNR dB':>8}")
    for way, row in found.items():
        if isinstance(row, str):
            print(f"  {way:<20} none: {row}")
        else:
            lost, sqnr = 100 * (made["float"].value - row.value), "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
            median = latencies[way].median_us or 0.0
            figures = f"{row.value:8.2%} {lost:+7.2f} {row.artifact.size_bytes:9d} {median:10.1f} {sqnr:>8}"
            print(f"  {way:<20} {figures}", flush=True)
    return _agreed(found)


def _agreed(found: dict[str, Row | str]) -> bool:
    ours, theirs = (found[way] for way in PAIR)
    if isinstance(ours, str) or isinstance(theirs, str):
        print("  parity with ai-edge-quantizer: not measured, one of the two made no file")
        return False
    apart = abs(ours.value - theirs.value)
    print(f"  parity with ai-edge-quantizer: {100 * apart:.2f} points apart, at most {100 * MOST_APART:.1f}")
    return apart <= MOST_APART


if __name__ == "__main__":
    sys.exit(main())
