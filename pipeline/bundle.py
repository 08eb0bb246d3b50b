"""Makes the bundle that is deployed, from a run's folder or a bare `.tflite`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._bundle import BUNDLE, MANIFEST, MODEL, Bundle, is_plain
from edge_targets._errors import WrongInput
from pipeline.errors import ModelError, StorageError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPORT = "report.json"
CASCADE = "cascade.json"
MOST_REPORT_BYTES = 64 * 2**20


def make_bundle(
    source: Path,
    folder: Path,
    *,
    name: str | None = None,
    packed: bool = False,
    inputs: NDArray[Any] | None = None,
) -> Bundle:
    """Put a model, golden vectors made from it on this machine, and `bundle.json` into a new folder.

    The folder appears whole or not at all.

    Args:
        source: a run's folder, or a `.tflite`.
        folder: where the bundle shall lie; nothing may be there yet.
        name: what it is deployed as; None takes the recipe's name, or the file's.
        packed: also put in the model as it travels over the air.
        inputs: examples for the golden vectors, as the model takes them, raw, (n, ...); None takes noise.

    Raises:
        UsageError: the source is no model, or the name is not plain.
        ModelError: the run's model is not the one that its report speaks of.
        TargetError: the model cannot be run here.
        StorageError: the folder cannot be written.
    """
    model = _model(source)
    plain = plain_name(name or known_as(source))
    with _appearing(folder) as half:
        shutil.copyfile(model, half / MODEL)
        if model.with_name(MANIFEST).is_file() and source.is_dir():
            shutil.copyfile(model.with_name(MANIFEST), half / MANIFEST)
        _save_golden(half, inputs)
        parcel = _pack(half) if packed else ""
        Bundle.write(half, plain, parcel)
    return Bundle.read(folder)


def is_bundle(source: Path) -> bool:
    """Whether a folder says of itself that it is a bundle."""
    return source.joinpath(BUNDLE).is_file()


def known_as(source: Path) -> str:
    """The name of a run's recipe, or of a file.

    Raises:
        UsageError: it is neither.
    """
    return source.stem if source.is_file() else _told(source / REPORT)["recipe"]


def _model(source: Path) -> Path:
    """The model's file."""
    if source.is_file():
        return source
    report, model = source / REPORT, source / MODEL
    if not report.is_file() or not model.is_file():
        raise UsageError(
            f"There is no model in {source}." if source.is_dir() else f"There is no {source}.",
            expected=f"a .tflite, or a run's folder with {MODEL} and {REPORT}",
        )
    if source.joinpath(CASCADE).is_file():
        raise UsageError(
            f"The model in {source} is two files, and what is deployed is one.",
            expected="a run without the stage 'early_exit'",
            mend=f"put model.tflite, model.rest.tflite, {CASCADE} and run_cascade.py on the device; or deploy "
            f"{model}, the early head alone",
        )
    if hashlib.sha256(model.read_bytes()).hexdigest() != _told(report)["sha256"]:
        raise ModelError(
            f"{model} is not the model that {report} speaks of.", mend="run the recipe again, or deploy the file itself"
        )
    return model


def _told(report: Path) -> dict[str, str]:
    """What a report says of its model."""
    try:
        if report.stat().st_size > MOST_REPORT_BYTES:
            raise ValueError("it is too large")
        document = json.loads(report.read_bytes())
        return {"recipe": str(document["recipe"]), "sha256": str(document["artifact"]["sha256"])}
    except FileNotFoundError as error:
        raise UsageError(f"There is no {report}.", expected=f"a .tflite, or a run's folder with {REPORT}") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UsageError(f"{report} is not a report.", expected="the report.json of a run") from error


def plain_name(name: str) -> str:
    """The name, if a model can be deployed under it.

    Raises:
        UsageError: it cannot.
    """
    if not is_plain(name):
        raise UsageError(
            f"{name!r:.80} cannot be the name of a deployed model.",
            expected="up to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
            mend="give one with --name",
        )
    return name


def _save_golden(folder: Path, inputs: NDArray[Any] | None) -> None:
    from edge_targets._reference import golden_vectors

    try:
        golden_vectors(folder / MODEL, inputs).save(folder)
    except WrongInput as error:
        error.mend = error.mend or "only a model of one input can be tried on a device before it is switched to"
        raise


def _pack(folder: Path) -> str:
    from pipeline.ota import pack

    parcel = pack(folder.joinpath(MODEL).read_bytes())
    name = f"{MODEL}.{parcel.codec}"
    folder.joinpath(name).write_bytes(parcel.data)
    return name


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill that gets its name when it is full; it is gone where anything fails."""
    if folder.exists():
        raise StorageError(f"There is already something at {folder}.", mend="choose another folder for the bundle")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=folder.parent, ignore_cleanup_errors=True) as scratch:
            half = Path(scratch, "bundle")
            half.mkdir()
            yield half
            half.replace(folder)
    except OSError as error:
        raise StorageError(
            f"The bundle {folder} could not be written: {(error.strerror or str(error)).lower()}."
        ) from error
