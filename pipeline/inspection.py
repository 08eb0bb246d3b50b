"""What is in a model file, for `edgesmith inspect`: a `.tflite` as it stands, or a Keras model as it is taken in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets._placement import PlacesOperators
from edge_targets.tflite_graph import IDENTIFIER
from pipeline.devices import device
from pipeline.errors import UsageError
from pipeline.report import json_object

if TYPE_CHECKING:
    from pipeline.progress import Progress

SCHEMA = 1
"""The version of the contract. Additions keep it; anything else must raise it."""

SUFFIX = ".tflite"


@dataclass(frozen=True)
class Options:
    """What a user asks for beside the model itself.

    Attributes:
        data: an `.npz` with real inputs, as the float model takes them, to measure each layer's SQNR with.
        reference: the float32 `.tflite` that the model approximates, for the same.
        pack: whether to find out what must travel over the air even of a model that takes seconds to pack.
        custom_objects: for a Keras model, a python file with the classes that it names.
        trust_code: for a Keras model, whether Python code in it may run.
        target: for a `.tflite`, the target to ask where it would run each operator.
    """

    data: Path | None = None
    reference: Path | None = None
    pack: bool = False
    custom_objects: Path | None = None
    trust_code: bool = False
    target: str | None = None


def inspect(model: str, options: Options, progress: Progress) -> dict[str, Any]:
    """Everything that a model file tells.

    A `.tflite` is only read, never run, unless data is given: then it runs in a process of its own.

    Args:
        model: a `.tflite`; else what `intake` takes: a Keras file or folder, or `file.py:function`.
        options: what is asked for beside it.
        progress: told what takes long.

    Returns:
        The document that `inspect --json` prints (`docs/schemas/inspect.schema.json`).

    Raises:
        UsageError: there is no such file, or the options do not fit it.
        EdgesmithError, TargetError: the model is unusable.
    """
    _check(model, options)
    target = _placing(options.target) if options.target is not None else None
    if _is_tflite(Path(model)):
        from pipeline._inspect_tflite import tflite_facts

        facts = tflite_facts(Path(model), options.data, options.reference, pack=options.pack, target=target)
    else:
        from pipeline._inspect_keras import keras_facts

        facts = keras_facts(model, options.custom_objects, trust_code=options.trust_code, progress=progress)
    return json_object({"schema": SCHEMA, **facts})


def write_node_data(document: dict[str, Any], figure: str, path: Path) -> None:
    """Write a figure of every operator as Model Explorer's custom node data.

    Raises:
        UsageError: there is no such figure, or the model has none of it.
        StorageError: the file cannot be written.
    """
    from pipeline._node_data import node_data
    from pipeline.storage import atomic_write_text

    atomic_write_text(path, json.dumps(node_data(document, figure), indent=2))


def _check(model: str, options: Options) -> None:
    path = Path(model)
    if path.suffix == SUFFIX and not path.exists():
        raise UsageError(f"There is no model file {path}.", expected="a .tflite or a Keras model")
    if (options.data is None) != (options.reference is None):
        raise UsageError(
            "To measure what int8 leaves of each layer's signal takes real inputs and the float model.",
            expected="both --data FILE.npz and --reference FLOAT.tflite",
            mend="name the float model too; what `edgesmith run` makes is measured there, and stands in its report",
        )
    if options.data is not None and not _is_tflite(path):
        raise UsageError("--data and --reference are for a .tflite.", expected="a .tflite", mend="leave them out")
    if options.target is not None and not _is_tflite(path):
        raise UsageError(
            f"--target {options.target} is for a .tflite: what runs where is decided by its operators.",
            expected="a .tflite",
            mend="convert the model first, with `edgesmith run`",
        )


def _placing(name: str) -> PlacesOperators:
    """The target of that name, if it can tell what it would run."""
    found = device(name).target()
    if not isinstance(found, PlacesOperators):
        raise UsageError(
            f"The target '{name}' runs every operator on its processor: there is nothing to tell.",
            expected="a target with an accelerator, such as coral",
            mend="leave --target out",
        )
    return found


def _is_tflite(path: Path) -> bool:
    """By its ending, or by the mark in its first bytes, whatever it is called."""
    if path.suffix == SUFFIX or not path.is_file():
        return path.suffix == SUFFIX
    with path.open("rb") as stream:
        return stream.read(8)[4:] == IDENTIFIER
