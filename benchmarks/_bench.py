"""From chains of stages to bytes and their proof, for scripts that compare chains; what they share is trained once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import forge, verify
from pipeline.artifact import Artifact
from pipeline.cache import Cache
from pipeline.check import Check
from pipeline.draft import Draft
from pipeline.progress import Progress
from pipeline.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent

MNIST = ROOT.parent / "shared" / "data" / "mnist.npz"
"""All of MNIST, as Keras and its mirrors have it."""

DIGITS = ROOT / "examples" / "data" / "mnist_8k_2k.npz"
"""10,000 of its images, which come along."""

Stages = list[dict[str, Any]]


@dataclass(frozen=True)
class Made:
    """What a chain led to: the int8 file, the float one, the draft behind them, and what the bytes show."""

    artifact: Artifact
    baseline: Artifact
    draft: Draft
    proof: verify.Proof

    @property
    def seconds(self) -> float:
        """How long its stages worked when they did; the cache remembers that too."""
        return sum(step.seconds for step in self.draft.steps)

    @property
    def broken(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.proof.checks if check.status != "pass")


class Bench:
    """Images, loaded once, and a folder for what becomes of them.

    Args:
        images: an archive like MNIST's.
        folder: where files and the cache of the stages lie.
        validation_fraction: share of the training images that is held out.
        most: how many of the training images are used, held-out ones among them; all without it.
        seed: of every recipe.
    """

    def __init__(
        self, images: Path, folder: Path, validation_fraction: float, most: int | None = None, seed: int = 7
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        source = images if most is None else _first(images, most, folder)
        self._npz = {
            "path": str(source.resolve()),
            "divide_by": 255,
            "add_channel": True,
            "validation_fraction": validation_fraction,
        }
        self._folder, self._seed, self._cache = folder, seed, Cache(folder / "cache")
        recipe = self._recipe("data", {"lenet5": {}}, [])
        self.data = recipe.data.load(recipe.task, seed=seed, progress=Progress())

    def run(self, name: str, model: dict[str, Any], stages: Stages) -> Made:
        """Take a model of the zoo through some stages to int8, and hold the bytes against what was promised."""
        recipe = self._recipe(name, model, stages)
        work = self._folder / name
        work.mkdir(exist_ok=True)
        silent = Progress()
        drafts, _ = forge.drafts(recipe, self.data, self._cache, silent)
        baseline = forge.baseline(drafts, self._cache, work, silent)
        artifact = forge.artifact(drafts[-1], recipe, self.data, self._cache, work, silent)
        proof = verify.prove(artifact, baseline, drafts[-1], self.data, recipe.budgets, silent)
        return Made(artifact, baseline, drafts[-1], proof)

    def _recipe(self, name: str, model: dict[str, Any], stages: Stages) -> Recipe:
        written = {"name": name, "seed": self._seed, "task": "classification", "data": {"npz": self._npz}}
        text = json.dumps({**written, "model": model, "stages": stages})
        return Recipe.model_validate_json(text, context={"folder": ROOT})


def _first(images: Path, most: int, folder: Path) -> Path:
    """An archive with the first training images of another, and all its test images."""
    path = folder / f"first_{most}.npz"
    with np.load(images) as found:
        cut = {key: found[key][:most] if key.endswith("train") else found[key] for key in found.files}
    np.savez(path, **cut)
    return path
