"""The door for models that are not the zoo's: any Keras file, or a function that builds one → one flat tf_keras model.

Nothing of the file is opened here. A child process reads it, makes it flat, and proves that the flat model computes
what the original does; what ends that child is the file's doing and becomes an error. The work is in `_intake/`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline._intake._prove import TOLERANCE
from pipeline.draft import Draft, Step
from pipeline.errors import ModelError, UsageError
from pipeline.process import ChildError, Limits, answer
from pipeline.user_code import UserFunction

if TYPE_CHECKING:
    from pipeline.progress import Progress

_CHILD = "pipeline._intake._child"
_SCALING = ("Rescaling", "Normalization")
_SILENCE_S = 300.0
_MEMORY_BYTES, _MEMORY_PER_BYTE = 8 * 2**30, 8
_NOT_SOURCES = frozenset({"__pycache__", "site-packages", "node_modules"})


@dataclass(frozen=True)
class Fit:
    """What a model must fit: shapes without the batch.

    Attributes:
        input_shape: what the data gives.
        num_outputs: what a function is told as `num_classes`.
        output_shape: what the task asks for.
    """

    input_shape: tuple[int, ...]
    num_outputs: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelSource:
    """A model that is not the zoo's: a file, a folder (SavedModel), or `file.py:function`.

    Attributes:
        reference: the path, or the function.
        options: what the function is called with by keyword; nothing for files.
        custom_objects: a python file with the classes that the model names.
        trust_code: whether Python code in the model (Lambda layers) may run.
    """

    reference: str | Path
    options: Mapping[str, Any] = field(default_factory=dict)
    custom_objects: Path | None = None
    trust_code: bool = False

    @property
    def function(self) -> UserFunction | None:
        """The function that builds the model; None where it is a file."""
        return UserFunction.parse(self.reference, **self.options)

    @property
    def path(self) -> Path:
        """The file or folder of the model, or of the function."""
        function = self.function
        return (function.path if function else Path(self.reference)).expanduser().absolute()

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.function or self.path.name)

    def fingerprint(self) -> str:
        """A hash of all that shapes the model, for the cache.

        Of a function it covers every python file in its folder and below. A model file that the function itself reads
        from elsewhere is not seen.
        """
        facts = [self.name, self.options, self.trust_code, [_contents(path) for path in self._sources()]]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def _sources(self) -> Iterator[Path]:
        if self.custom_objects is not None:
            yield from _python_files(self.custom_objects.expanduser().absolute().parent)
        if self.function is not None:
            yield from _python_files(self.path.parent)
        elif self.path.is_dir():
            yield from sorted(path for path in self.path.rglob("*") if path.is_file())
        else:
            yield self.path


def take_in(source: ModelSource, fits: Fit | None = None, *, seed: int, progress: Progress) -> Draft:
    """The flat tf_keras model of a source, as a draft with one step behind it.

    Args:
        source: the model.
        fits: the data that it must fit; None takes a model of any shape, and of several inputs and outputs.
        seed: of the random inputs that prove the flat model.
        progress: told what happens.

    Returns:
        A draft with the step `intake`: its metric is the largest difference of the outputs, its notes tell the format,
        what was folded, kept and renamed.

    Raises:
        UsageError: a file or function is missing, or the options are for nobody.
        ModelError: the model cannot be used; the message says why.
    """
    started = time.perf_counter()
    progress.note(f"intake: {source.name}")
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        path, trust_code = _model_file(source, fits, Path(folder))
        header, draft = _read(source, path, trust_code, fits, seed)
    step = Step(
        "intake",
        {"model": str(source.reference), "options": dict(source.options), "trust_code": source.trust_code},
        time.perf_counter() - started,
        metrics={"largest_difference": header["difference"], "tolerance": TOLERANCE},
        notes=header["notes"],
    )
    return replace(draft, steps=(step,))


def fold_front(draft: Draft) -> tuple[Draft, tuple[str, ...]]:
    """The draft with scaling in front moved into the weights behind it, wherever that is exact; for conversion only.

    Args:
        draft: a flat model that will not be trained any more. With trained ranges or clusters it is left as it is:
            they would not hold for other weights.

    Returns:
        The draft, and a sentence for each layer that is gone.
    """
    if draft.traits & {"qat", "clustered"} or not any(f'"{name}"' in draft.architecture for name in _SCALING):
        return draft, ()
    from pipeline._intake._flatten import flatten
    from pipeline._intake._prove import largest_difference
    from pipeline._tf import keras

    model = draft.restore()
    flat = flatten(model, custom=keras.saving.get_custom_objects(), fold=True)
    if not flat.folded or largest_difference(model, flat.model, seed=0) > TOLERANCE:
        return draft, ()
    folded = Draft.of(flat.model, draft.traits)
    return replace(draft, architecture=folded.architecture, weights=folded.weights), flat.folded


def register_custom_objects(path: Path) -> None:
    """Make a user's own layers known to `Draft.restore`, in this process; the file is run.

    Args:
        path: the python file.

    Raises:
        UsageError: it is missing, or fails.
        ModelError: it works with Keras 3 only.
    """
    from pipeline._intake._custom import custom_objects
    from pipeline._tf import keras

    keras.saving.get_custom_objects().update(custom_objects(path, "tf_keras"))


def _model_file(source: ModelSource, fits: Fit | None, folder: Path) -> tuple[Path, bool]:
    """The file to read, and whether its code may run: that of a function has run by then, its model's is no worse."""
    function = source.function
    if function is None:
        if source.options:
            raise UsageError(
                f"{source.name} takes no options, it is a file: {', '.join(sorted(source.options))}.",
                expected="options for `file.py:function` alone",
                mend="leave them out",
            )
        return source.path, source.trust_code
    offered = {"input_shape": fits.input_shape, "num_classes": fits.num_outputs} if fits else {}
    try:
        path, package = function.build_model(folder, **offered)
    except ChildError as error:
        # Without its file there is nothing to use; all else is the function's doing.
        kind = ModelError if function.path.expanduser().is_file() else UsageError
        expected = error.expected or "a function that returns a Keras model"
        mend = error.mend or f"call it yourself, in its folder: from {function.path.stem} import {function.name}"
        raise kind(f"{function} {error.what}.", expected=expected, mend=mend) from error
    return path, source.trust_code or bool(package)


def _read(
    source: ModelSource, path: Path, trust_code: bool, fits: Fit | None, seed: int
) -> tuple[dict[str, Any], Draft]:
    custom = source.custom_objects
    request = {
        "path": str(path),
        "name": source.name,
        "custom": str(custom.expanduser().absolute()) if custom else None,
        "trust_code": trust_code,
        "seed": seed,
        "input_shape": fits.input_shape if fits else None,
        "output_shape": fits.output_shape if fits else None,
    }
    try:
        frame = answer(_CHILD, request, Limits(_SILENCE_S, _MEMORY_BYTES + _MEMORY_PER_BYTE * _size_bytes(path)))
    except ChildError as error:
        raise _refusal(source, error) from error
    files, start = {}, 0
    for name, length in frame.header["files"].items():
        files[name] = frame.payload[start : start + length]
        start += length
    return frame.header, Draft.from_files(files)


def _refusal(source: ModelSource, error: ChildError) -> ModelError | UsageError:
    if error.told:
        usage = bool(error.details and error.details["usage"])
        return (UsageError if usage else ModelError)(error.what, expected=error.expected, mend=error.mend)
    return ModelError(
        f"{source.name} cannot be read: its reader {error.what}.",
        expected="a whole model file, as model.save() writes it",
        mend="save the model anew; a file that does this is damaged, or made to do harm",
    )


def _size_bytes(path: Path) -> int:
    paths = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in paths if each.is_file())


def _python_files(folder: Path) -> list[Path]:
    """The python files in a folder and below, without environments and what hides."""
    found = (path for path in folder.rglob("*.py") if path.is_file())
    return sorted(path for path in found if not _NOT_SOURCES & set(path.parts) and not _hidden(path, folder))


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _contents(path: Path) -> tuple[str, str]:
    """A file's name and the hash of its bytes; a file that is not there has none."""
    if not path.is_file():
        return path.name, ""
    with path.open("rb") as stream:
        return path.name, hashlib.file_digest(stream, "sha256").hexdigest()
