"""UCR series 135 in every way that there is to quantize it: what keeps the ROC AUC at 0.95 or more, and what does not.

    pip install --no-deps aeon
    python -m benchmarks.ucr_135 [--folder FOLDER] [--seeds 5]

Trains `examples/ucr_135.yaml`, and prints the AUC on the test split: of float; of each calibration in int8, of int16x8
and of mixed precision; and of int8 by the examples that it is calibrated with, together with what the advice says.
`--seeds` trains as many times more, each with a seed of its own. Exit 1 where no setting keeps the AUC, or where int8
loses it and the advice names no setting that brings it back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._bench import ROOT
from edge_targets.tflite_graph import parse_graph
from pipeline import advice, convert, forge, verify
from pipeline.artifact import Artifact
from pipeline.cache import Cache
from pipeline.progress import Progress
from pipeline.recipe import load_recipe
from pipeline.settings import ConvertSettings, MixedPrecisionSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.draft import Draft
    from pipeline.recipe import Recipe

LEAST = 0.95

MIXED = {keep_in: MixedPrecisionSettings(keep_in=keep_in, max_accuracy_drop=0.01) for keep_in in ("float32", "int16")}

WAYS: dict[str, dict[str, Any]] = {
    "int8, min_max": {},
    "int8, percentile": {"calibration": "percentile"},
    "int8, mse": {"calibration": "mse"},
    "int8, entropy": {"calibration": "entropy"},
    "int8, per_tensor": {"granularity": "per_tensor"},
    "int16x8": {"precision": "int16x8"},
    **{f"mixed precision, {keep_in}": {"mixed_precision": settings} for keep_in, settings in MIXED.items()},
}
"""Settings of the conversion by their name in the table."""

REMEDY = "convert: {calibration_samples: 1000}"


class Trained:
    """The example, trained with a seed.

    Args:
        folder: where files and the cache lie.
        seed: None for the recipe's own.
    """

    def __init__(self, folder: Path, seed: int | None = None) -> None:
        self.recipe: Recipe = load_recipe(ROOT / "examples" / "ucr_135.yaml")
        if seed is not None:
            self.recipe = self.recipe.model_copy(update={"seed": seed})
        self._folder, self._cache, self._silent = folder, Cache(folder / "cache"), Progress()
        self.data: Dataset = self.recipe.data.load(self.recipe.task, seed=self.recipe.seed, progress=self._silent)
        drafts, _ = forge.drafts(self.recipe, self.data, self._cache, self._silent)
        self.draft: Draft = drafts[-1]
        self.before = forge.baseline(drafts, self._cache, folder, self._silent)

    def made(self, **settings: Any) -> Artifact:
        """The `.tflite` of other settings of the conversion."""
        changed = self.recipe.model_copy(update={"convert": ConvertSettings(**settings)})
        return forge.artifact(self.draft, changed, self.data, self._cache, self._folder, self._silent, self.before)

    def auc(self, model: Artifact) -> float:
        """The ROC AUC on the test split."""
        return verify.score(model, self.data, lambda _: None).value

    def calibrated_with(self, examples: NDArray[np.float32]) -> Calibrated:
        """Int8, min_max, by examples (n, window, 1) that someone else has chosen."""
        model = convert.to_int8(self.draft, examples)
        artifact, reference = self._written(model), convert.to_float_reference(self.draft)
        layers = verify.measured_layers(verify.layer_table(model), artifact, reference, self.data.validation)
        known = advice.Known.of(self.recipe, None, verify.usual_inputs(self.data.validation))
        first, *_ = advice.advise(layers, parse_graph(model), parse_graph(reference), known)
        return Calibrated(self.auc(artifact), f"{first.layer}: {first.reason}", first.setting)

    def _written(self, model: bytes) -> Artifact:
        path = self._folder / "calibrated.tflite"
        path.write_bytes(model)
        return Artifact.of(path, model)


@dataclass(frozen=True)
class Calibrated:
    """What some calibration examples led to, and what is advised of the worst layer."""

    auc: float
    reason: str
    setting: str

    @property
    def sound(self) -> bool:
        """Whether the AUC is kept, or the advice names what it lacks."""
        return self.auc >= LEAST or self.setting == REMEDY


def main() -> int:
    """Print the tables; 0 where something keeps the AUC and the advice names it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where results and cache lie; default: a temporary one")
    parser.add_argument("--seeds", type=int, default=0, help="how many more times to train")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        trained = Trained(folder)
        sound = [_ways(trained), _examples(trained)]
        _seeds(folder, given.seeds)
    return int(not all(sound))


def _ways(trained: Trained) -> bool:
    print(f"{'':26} {'AUC':>6}  bytes")
    print(f"{'float32':26} {trained.auc(trained.before):6.4f}  {trained.before.size_bytes:,}")
    kept = []
    for name, settings in WAYS.items():
        made = trained.made(**settings)
        found = trained.auc(made)
        kept += [name] if found >= LEAST else []
        print(f"{name:26} {found:6.4f}  {made.size_bytes:,}  {_search(made)}", flush=True)
    print(f"at least {LEAST}: {', '.join(kept) or 'none'}\n")
    return bool(kept)


def _examples(trained: Trained) -> bool:
    """The first windows of a recording, as scripts take them, beside windows drawn from all of it, as recipes do."""
    [(windows, _)] = trained.data.train.batches(trained.data.train.size)
    chosen = {f"the first {n} windows": windows[:n] for n in (10, 20, 50, 100)}
    chosen |= {f"{n} drawn from all": trained.data.calibration(n, trained.recipe.seed) for n in (10, 20, 50, 200)}
    found = {name: trained.calibrated_with(examples) for name, examples in chosen.items()}
    print(f"{'int8 calibrated with':26} {'AUC':>6}  advice")
    for name, one in found.items():
        print(f"{name:26} {one.auc:6.4f}  {one.reason}{one.setting and f' -> {one.setting}'}")
    return all(one.sound for one in found.values())


def _seeds(folder: Path, count: int) -> None:
    for seed in range(count):
        trained = Trained(folder, seed)
        float32, int8 = trained.auc(trained.before), trained.auc(trained.made())
        print(f"seed {seed}: float32 {float32:6.4f}, int8 {int8:6.4f}", flush=True)


def _search(made: Artifact) -> str:
    """What mixed precision kept, and what it went by."""
    if made.mixed is None:
        return ""
    found = made.mixed
    kept = ", ".join(found.kept) or "nothing"
    searched = f"{found.evaluations} of {found.most_evaluations} evaluations"
    return f"kept {kept}; {found.metric} on the validation split {found.int8_value:.4f} → {found.value:.4f}; {searched}"


if __name__ == "__main__":
    sys.exit(main())
