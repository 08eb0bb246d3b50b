"""Makes the bundle that is deployed, from a run's folder or a bare `.tflite`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._bundle import BUNDLE, MANIFEST, MODEL, Bundle, is_plain
from edge_targets._cascade_file import CASCADE, REST, RUN_CASCADE, CascadeFile, run_cascade_script
from edge_targets._errors import TargetError, WrongInput
from pipeline.artifact import sha256_of
from pipeline.errors import ModelError, StorageError, UsageError
from pipeline.half import half_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

REPORT = "report.json"
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

    The folder appears whole or not at all. Of a run with an early exit, both stages come along, with what runs them.

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
    files = _files(source)
    plain = plain_name(name or known_as(source))
    with _appearing(folder) as half:
        for name_there, path in files.items():
            shutil.copyfile(path, half / name_there)
        if REST in files:
            # Ours, and no other: it is code, and was made to run what this version deploys.
            half.joinpath(RUN_CASCADE).write_bytes(run_cascade_script())
        models = [half / model for model in (MODEL, REST) if model in files]
        _save_golden(half, models, inputs)
        parcels = [_pack(model) for model in models] if packed else [""]
        Bundle.write(half, plain, parcels[0])
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


def _files(source: Path) -> dict[str, Path]:
    """The files of a model that a bundle takes over, by their names there."""
    if source.is_file():
        _must_be_whole(source)
        return {MODEL: source}
    told = _told(_report(source))
    _must_be(source / MODEL, told["sha256"])
    manifest = {MANIFEST: source / MANIFEST} if source.joinpath(MANIFEST).is_file() else {}
    stages = _second_stage(source, told["cascade"]) if told["cascade"] else {}
    return {MODEL: source / MODEL, **manifest, **stages}


def _must_be_whole(model: Path) -> None:
    """Refuse one of two files: programs would take the early scores for the model's, without a word."""
    half = half_of(model)
    if half is not None:
        raise UsageError(
            f"{model} is the {half} of a model in two files.",
            expected="the run's folder: both files come as one version",
            mend=f"deploy {model.parent}",
        )


def _report(source: Path) -> Path:
    """The report of a run."""
    report, model = source / REPORT, source / MODEL
    if not report.is_file() or not model.is_file():
        raise UsageError(
            f"There is no model in {source}." if source.is_dir() else f"There is no {source}.",
            expected=f"a .tflite, or a run's folder with {MODEL} and {REPORT}",
        )
    return report


def _second_stage(source: Path, told: dict[str, Any]) -> dict[str, Path]:
    """What a model in two files has beside the first, once it is as the report says."""
    missing = [name for name in (REST, CASCADE) if not source.joinpath(name).is_file()]
    if missing:
        raise ModelError(
            f"The model in {source} is two files, and {missing[0]} is missing.",
            expected=f"{MODEL}, {REST} and {CASCADE}, as the run left them",
            mend="copy the whole folder, or run the recipe again",
        )
    try:
        manifest = CascadeFile.read(source / CASCADE)
    except TargetError as error:
        raise ModelError(error.what, expected=error.expected, mend=error.mend) from error
    if told.get("threshold") != manifest.threshold:
        raise ModelError(
            f"The threshold in {source / CASCADE} is {manifest.threshold:.9g}, and {REPORT} speaks of "
            f"{told.get('threshold')!r:.40}.",
            mend="set stages.early_exit.threshold and run the recipe again: what the report promises holds for its own",
        )
    for name, sha256 in manifest.sha256.items():
        _must_be(source / name, sha256, CASCADE)
        _must_be(source / name, told["stages"].get(name, ""))
    return {REST: source / REST, CASCADE: source / CASCADE}


def _must_be(model: Path, sha256: str, told_by: str = REPORT) -> None:
    if sha256_of(model.read_bytes()) != sha256:
        raise ModelError(
            f"{model} is not the model that {model.with_name(told_by)} speaks of.",
            mend="run the recipe again, or deploy the file itself" if model.name == MODEL else "run the recipe again",
        )


def _told(report: Path) -> dict[str, Any]:
    """What a report says of its model: `cascade` is empty where it is one file."""
    try:
        if report.stat().st_size > MOST_REPORT_BYTES:
            raise ValueError("it is too large")
        document = json.loads(report.read_bytes())
        cascade = document.get("cascade") or {}
        stages = {str(stage["path"]): str(stage["sha256"]) for stage in cascade.get("stages", [])}
        return {
            "recipe": str(document["recipe"]),
            "sha256": str(document["artifact"]["sha256"]),
            "cascade": {"threshold": cascade["threshold"], "stages": stages} if cascade else {},
        }
    except FileNotFoundError as error:
        raise UsageError(f"There is no {report}.", expected=f"a .tflite, or a run's folder with {REPORT}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
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


def _save_golden(folder: Path, models: Sequence[Path], inputs: NDArray[Any] | None) -> None:
    from edge_targets._reference import golden_stages, golden_vectors

    try:
        golden = (
            golden_vectors(models[0], inputs) if len(models) == 1 else golden_stages((models[0], models[1]), inputs)
        )
        golden.save(folder)
    except WrongInput as error:
        error.mend = error.mend or "only a model of one input can be tried on a device before it is switched to"
        raise


def _pack(model: Path) -> str:
    from pipeline.ota import pack

    parcel = pack(model.read_bytes())
    name = f"{model.name}.{parcel.codec}"
    model.with_name(name).write_bytes(parcel.data)
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
