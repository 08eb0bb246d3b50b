"""Deploy a model to devices, go back, or tell what is in use: `edgesmith deploy`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_targets import Disagreement, TargetError
from edge_targets._bundle import MODEL, Bundle
from pipeline.bundle import is_bundle, known_as, make_bundle, plain_name
from pipeline.errors import UsageError
from pipeline.evaluation import inputs_of
from pipeline.measure import error_json, side_by_side
from pipeline.report import json_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_targets import Target
    from edge_targets._parity import Deployment
    from pipeline.devices import Device
    from pipeline.progress import Progress

SCHEMA = 1
"""The version of the contract. Additions keep it; anything else must raise it."""

Verb = Literal["deploy", "rollback", "status"]


@dataclass(frozen=True)
class Options:
    """What is asked for beside the model and the devices.

    Attributes:
        name: what the model is deployed as; None takes the recipe's name, or the file's.
        packed: let the model travel as over the air, to devices that can unpack it.
        data: an `.npz` whose first examples `x` are the golden inputs; None takes noise.
    """

    name: str | None = None
    packed: bool = False
    data: Path | None = None


def deploy(source: Path, devices: Sequence[Device], options: Options, progress: Progress) -> dict[str, Any]:
    """Deploy a model to all devices at the same time.

    Args:
        source: a `.tflite`, a run's folder, or a bundle.
        devices: where.
        options: how.
        progress: told what is done.

    Returns:
        The document that `deploy --json` prints (docs/schemas/deploy.schema.json). A device that failed keeps what it
        had, and has an error there; `ok` is then False.

    Raises:
        UsageError, ModelError, TargetError: no bundle can be made of the source.
    """
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        bundle = _bundle(source, Path(folder, "bundle"), options, progress)

        def work(device: Device) -> dict[str, Any]:
            return _row(device, lambda target: target.deploy(bundle.folder), "deployed", "unchanged")

        model = {
            "sha256": bundle.version,
            "size_bytes": bundle.size_bytes,
            "packed_bytes": bundle.packed_bytes,
            "files": {name: bundle.sha256[name] for name in bundle.models},
        }
        return _document("deploy", bundle.name, model, side_by_side("deploy", devices, work, progress))


def rollback(name: str, devices: Sequence[Device], progress: Progress) -> dict[str, Any]:
    """Switch all devices back to the version that was in use before. Returns what `deploy` does."""

    def work(device: Device) -> dict[str, Any]:
        return _row(device, lambda target: target.rollback(name), "rolled back", "unchanged")

    return _document("rollback", name, None, side_by_side("roll back", devices, work, progress))


def status(name: str, devices: Sequence[Device], progress: Progress) -> dict[str, Any]:
    """Tell what is in use on all devices. Returns what `deploy` does."""

    def work(device: Device) -> dict[str, Any]:
        return _row(device, lambda target: target.deployed(name), "in use", "in use")

    return _document("status", name, None, side_by_side("status", devices, work, progress))


def name_of(source: Path | None, name: str | None) -> str:
    """What a model was deployed as: the name that was given, or that of what was given.

    Raises:
        UsageError: nothing was given, or a name that none can have.
    """
    if name is not None:
        return plain_name(name)
    if source is None:
        raise UsageError("It was not said which model is meant.", expected="a MODEL, a RUN_FOLDER or --name")
    return Bundle.read(source).name if is_bundle(source) else plain_name(known_as(source))


def _bundle(source: Path, folder: Path, options: Options, progress: Progress) -> Bundle:
    if is_bundle(source):
        if options.name is not None or options.packed or options.data is not None:
            raise UsageError(
                f"{source} is a bundle already.", expected="a bundle without --name, --packed and --data", mend=""
            )
        return Bundle.read(source)
    inputs = None
    if options.data is not None:
        from edge_targets._reference import EXAMPLES
        from edge_targets.tflite_graph import read_graph

        model = source if source.is_file() else source / MODEL
        inputs = inputs_of(options.data, read_graph(model), EXAMPLES)
    progress.note("golden vectors: made on this machine")
    return make_bundle(source, folder, name=options.name, packed=options.packed, inputs=inputs)


def _row(device: Device, verb: Callable[[Target], Deployment | None], changed: str, unchanged: str) -> dict[str, Any]:
    """What came of one device, as documents hold it."""
    row: dict[str, Any] = {"label": device.label, "kind": device.kind, "status": "none", "error": None}
    row |= {"path": None, "sha256": None, "previous_sha256": None, "self_test": None}
    try:
        found = verb(device.target())
    except TargetError as error:
        kind = "broken" if isinstance(error, Disagreement) else "failed"
        parity = error.parity.to_json() if isinstance(error, Disagreement) else None
        return row | {"status": kind, "error": error_json(error), "self_test": parity}
    if found is None:
        return row
    facts = found.to_json()
    return (
        row
        | {key: facts[key] for key in row.keys() & facts.keys()}
        | {"status": changed if found.changed else unchanged}
    )


def _document(verb: Verb, name: str, model: dict[str, Any] | None, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ok = all(row["error"] is None for row in rows)
    return json_object({"schema": SCHEMA, "verb": verb, "name": name, "ok": ok, "model": model, "devices": list(rows)})
