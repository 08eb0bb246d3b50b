"""UCR series 135 in every way that there is to quantize it: what keeps the ROC AUC at 0.95 or more, and what does not.

    pip install --no-deps aeon
    python -m benchmarks.ucr_135 [--folder FOLDER]

Trains `examples/ucr_135.yaml` once, and prints the AUC of float, of each calibration in int8, of int16x8 and of mixed
precision on the test split. Exit 1 where none keeps it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._bench import ROOT
from pipeline import forge, verify
from pipeline.artifact import Artifact
from pipeline.cache import Cache
from pipeline.progress import Progress
from pipeline.recipe import load_recipe
from pipeline.settings import ConvertSettings, MixedPrecisionSettings

LEAST = 0.95

MIXED = MixedPrecisionSettings(max_accuracy_drop=0.01)

WAYS: dict[str, dict[str, Any]] = {
    "int8, min_max": {},
    "int8, percentile": {"calibration": "percentile"},
    "int8, mse": {"calibration": "mse"},
    "int8, entropy": {"calibration": "entropy"},
    "int8, per_tensor": {"granularity": "per_tensor"},
    "int16x8": {"precision": "int16x8"},
    "mixed precision": {"mixed_precision": MIXED},
}
"""Settings of the conversion by their name in the table."""


def main() -> int:
    """Print the table; 0 where something keeps the AUC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where results and cache lie; default: a temporary one")
    given = parser.parse_args()
    if given.folder is not None:
        return _table(given.folder)
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        return _table(Path(folder))


def _table(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    recipe, cache, silent = load_recipe(ROOT / "examples" / "ucr_135.yaml"), Cache(folder / "cache"), Progress()
    data = recipe.data.load(recipe.task, seed=recipe.seed, progress=silent)
    drafts, _ = forge.drafts(recipe, data, cache, silent)
    before = forge.baseline(drafts, cache, folder, silent)

    def auc(model: Artifact) -> float:
        return verify.score(model, data, lambda _: None).value

    print(f"{'':18} {'AUC':>6}  bytes")
    print(f"{'float32':18} {auc(before):6.4f}  {before.size_bytes:,}")
    kept = []
    for name, settings in WAYS.items():
        changed = recipe.model_copy(update={"convert": ConvertSettings(**settings)})
        made = forge.artifact(drafts[-1], changed, data, cache, folder, silent, before)
        found = auc(made)
        kept += [name] if found >= LEAST else []
        print(f"{name:18} {found:6.4f}  {made.size_bytes:,}  {_search(made)}")
    print(f"at least {LEAST}: {', '.join(kept) or 'none'}")
    return 0 if kept else 1


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
