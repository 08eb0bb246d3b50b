"""From a file that nobody vouches for to a flat model that is proven. It runs in a child process: see `_child.py`.

recognise   what the file is                          _formats.py
unpack      copies of its parts, each looked through   _archive.py, _hdf5.py, _saved_model.py
check       the names in its config                   _config.py
load        by the Keras that wrote it                here
fit         to the data's shapes                      _fit.py
flatten     and prove                                 _flatten.py, _prove.py
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline._intake import _archive, _config, _formats, _hdf5, _saved_model
from pipeline._intake._custom import Flavour, custom_objects, works_with_keras3_only
from pipeline.errors import EdgesmithError, ModelError

TITLES = {
    ("zip", "keras"): "Keras 3 .keras",
    ("zip", "tf_keras"): "tf_keras .keras",
    ("hdf5", "keras"): "legacy HDF5 of Keras 3",
    ("hdf5", "tf_keras"): "legacy HDF5",
    ("saved_model", "tf_keras"): "SavedModel of Keras",
}


@dataclass(frozen=True)
class Request:
    """What is asked of the reader.

    Attributes:
        path: the model's file or folder.
        name: what messages call it.
        custom: the user's file of custom objects.
        trust_code: whether code in the model may run.
        seed: of the random inputs of the proof.
        input_shape: what the data gives, without the batch; None where nothing is known of the data.
        output_shape: what the task asks for, likewise.
    """

    path: Path
    name: str
    custom: Path | None = None
    trust_code: bool = False
    seed: int = 0
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Opened:
    """A file of which every part was looked at: its copy is ready to be loaded.

    Attributes:
        kind: its format.
        config: the model's config, without what it says of training.
        version: of the Keras that wrote it.
        copy: what Keras shall read.
    """

    kind: _formats.Format
    config: Any
    version: str
    copy: Path

    @property
    def flavours(self) -> tuple[Flavour, ...]:
        """The Keras that can read it, the one that wrote it first."""
        if not self.version.startswith("3"):
            return ("tf_keras",)
        # Keras 3 leaves out of a legacy .h5 what it needs to read some of them back.
        return ("keras", "tf_keras") if self.kind == "hdf5" else ("keras",)


@dataclass(frozen=True)
class Reading:
    """What the child hands back: the files of a draft without steps, and what people should know."""

    files: dict[str, bytes]
    difference: float
    notes: dict[str, Any]


def read_and_flatten(request: Request) -> Reading:
    """Take a model in: recognise, check, load, fit, flatten, prove.

    Raises:
        ModelError: the model cannot be used.
        UsageError: a file that was named is missing.
    """
    kind = _formats.recognise(request.path)
    with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
        opened = _open(kind, request, Path(folder))
        model, flavour = _load(opened, request)
    return _flat_and_proven(model, opened, flavour, request)


def _open(kind: _formats.Format, request: Request, folder: Path) -> Opened:
    opener = {"zip": _open_archive, "hdf5": _open_hdf5, "saved_model": _open_saved_model}[kind]
    return opener(request, folder)


def _open_archive(request: Request, folder: Path) -> Opened:
    unpacked = _archive.unpack(request.path, folder)
    metadata = _config.parse_config(unpacked.metadata, request.name)
    config = _config.without_training(_config.parse_config(unpacked.config, request.name))
    _hdf5.check_hdf5(unpacked.weights, request.name)
    copy = folder / "model.keras"
    _archive.pack(unpacked, config, copy)
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return Opened("zip", config, _clean(version), copy)


def _open_hdf5(request: Request, folder: Path) -> Opened:
    # A copy, so that what is loaded is what was looked at; and it has the ending that Keras goes by.
    copy = folder / "model.h5"
    shutil.copyfile(request.path, copy)
    _hdf5.check_hdf5(copy, request.name)
    config, version = _hdf5.legacy_facts(copy, request.name)
    return Opened("hdf5", _config.parse_config(config, request.name), _clean(version), copy)


def _open_saved_model(request: Request, folder: Path) -> Opened:
    config, version, copy = _saved_model.opened(request.path, folder)
    return Opened("saved_model", _config.without_training(config), _clean(version), copy)


def _load(opened: Opened, request: Request) -> tuple[Any, Flavour]:
    """The live model, by the first Keras that can read it."""
    failures: list[ModelError] = []
    for flavour in opened.flavours:
        objects = custom_objects(request.custom, flavour) if request.custom else {}
        names = _config.keras_names(_keras(flavour), objects, request.custom.name if request.custom else "")
        _config.check_config(opened.config, request.name, names, trust_code=request.trust_code)
        try:
            return _loaded(opened, flavour, objects, request), flavour
        except ModelError as error:
            failures.append(error)
    raise failures[0]


def _loaded(opened: Opened, flavour: Flavour, objects: Mapping[str, Any], request: Request) -> Any:
    keras = _keras(flavour)
    try:
        if flavour == "tf_keras" and request.trust_code:
            keras.__internal__.enable_unsafe_deserialization()  # its legacy formats take no other word for it
        with keras.saving.custom_object_scope(dict(objects)):
            if opened.kind == "saved_model":
                return _saved_model.loaded(opened.config, opened.copy)
            return keras.saving.load_model(opened.copy, compile=False, safe_mode=not request.trust_code)
    except (EdgesmithError, MemoryError):
        raise
    except Exception as error:
        if "OOM when allocating" in str(error):  # TensorFlow's own word for it
            raise MemoryError from error
        raise _not_loaded(request.name, flavour, _reason(error, opened.copy), objects) from error


def _reason(error: Exception, copy: Path) -> str:
    """What Keras says of a file, without the place of our copy of it."""
    return _formats.first_line(error).replace(str(copy), "the file").replace(f"{copy.parent}/", "")


def _not_loaded(name: str, flavour: Flavour, why: str, objects: Mapping[str, Any]) -> ModelError:
    own = next((each for each in objects if each in why), None)
    if own is None:
        mend = "load it where it was made and save it anew with model.save('model.keras')"
    else:
        mend = f"return all that {own}.__init__ takes from {own}.get_config, and save the model anew"
    return ModelError(
        f"{name} cannot be loaded by {flavour}: {why}", expected="a whole model, as model.save() wrote it", mend=mend
    )


def _flat_and_proven(model: Any, opened: Opened, flavour: Flavour, request: Request) -> Reading:
    from pipeline._intake._fit import fitted
    from pipeline._intake._flatten import flatten
    from pipeline._intake._proven import proven
    from pipeline.draft import Draft

    with _told_as_model_error(request):
        custom = custom_objects(request.custom, "tf_keras") if request.custom else {}
        # A kernel that has taken in 1/255 is about as small as one step of Adam: what is trained keeps its scaling, and
        # `intake.fold_front` moves it into the weights once the training is over.
        flat = flatten(model, custom=custom, trust_code=request.trust_code, fold=False)
        fits = fitted(flat.model, request.name, request.input_shape, request.output_shape, custom)
        difference = proven(model, fits, request.name, flat.renamed, seed=request.seed)
    notes = {
        "format": TITLES[opened.kind, flavour],
        "written_by": f"{'keras' if opened.version.startswith('3') else 'tf_keras'} {opened.version}".strip(),
        "layers": len(fits.layers),
        "folded": list(flat.folded),
        "kept": list(flat.kept_front),
        "renamed": flat.renamed,
        "proven": f"outputs of the original and the flat model agree to {difference:.1e} on 4 random inputs",
    }
    return Reading(Draft.of(fits).to_files(), difference, notes)


@contextlib.contextmanager
def _told_as_model_error(request: Request) -> Iterator[None]:
    """Whatever a strange model, or a layer of the user's own, sets off on its way to a flat one."""
    from pipeline._children.theirs import where_it_failed

    try:
        yield
    except EdgesmithError as error:
        if request.custom is None or request.custom.name not in str(error.__cause__):
            raise
        raise works_with_keras3_only(request.custom, _innermost(str(error.__cause__))) from error
    except MemoryError:
        raise
    except Exception as error:
        if request.custom is None:
            raise _not_flat(request.name, error) from error
        raise works_with_keras3_only(request.custom, where_it_failed(error, request.custom.parent)) from error


def _not_flat(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"{name} cannot be made flat: {type(error).__name__}: {_formats.first_line(error)}",
        expected="layers that work in tf_keras as they do in Keras 3",
        mend="check that the file still works where it was made; if so, report the model",
    )


def _innermost(report: str) -> str:
    """The error itself, out of what tf_keras wraps around one that a layer raised."""
    lines = [line.strip() for line in report.partition("Call arguments received")[0].splitlines()]
    return next(line for line in reversed(lines) if line)


def _keras(flavour: Flavour) -> Any:
    from pipeline import _tf

    return _tf.keras3() if flavour == "keras" else _tf.keras


def _clean(version: Any) -> str:
    """A version as a file tells it, fit to be printed."""
    return version if isinstance(version, str) and len(version) < 40 and version.isprintable() else ""
