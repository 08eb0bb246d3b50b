"""One file of a model in two that is given in the place of the whole: what is told of it holds for it alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_targets._cascade_file import CASCADE, FIRST, CascadeFile
from edge_targets._errors import TargetError
from pipeline.artifact import sha256_of

if TYPE_CHECKING:
    from pipeline.progress import Progress

Half = Literal["first", "second"]


def half_of(model: Path) -> Half | None:
    """Which of two files it is, by the `cascade.json` beside it; None where that does not speak of it."""
    manifest = model.with_name(CASCADE)
    # A pipe in its place would be read for ever.
    if not (manifest.is_file() and model.is_file()):
        return None
    try:
        told = CascadeFile.read(manifest).sha256.get(model.name)
    except TargetError:
        return None
    if told is None or sha256_of(model.read_bytes()) != told:
        return None
    return "first" if model.name == FIRST else "second"


def tell_of_half(model: Path, progress: Progress) -> None:
    """Say of one of two files that it is not the whole, before it is measured."""
    half = half_of(model)
    if half is not None:
        gives = "early scores alone" if half == "first" else "takes the features of the first"
        progress.note(
            f"{model.name} is the {half} of a model in two files ({gives}); the run's report tells of both together"
        )
