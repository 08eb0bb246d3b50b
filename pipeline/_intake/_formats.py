"""What lies at a path, told by its first bytes and not by its name; what is no Keras model is named and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pipeline.errors import ModelError, UsageError

Format = Literal["zip", "hdf5", "saved_model"]

EXPECTED = "a Keras model: a .keras file, a legacy .h5, a SavedModel folder, or `file.py:function`"
SAVE_ANEW = "save it anew with model.save('model.keras'), or hand over `file.py:function` that builds it"

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"

# By the bytes at an offset.
_BY_CONTENT: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", ".tflite"),
    (0, b"version https://git-lfs", "git-lfs"),
    (0, b"\x1f\x8b", "gzip"),
    *((0, bytes([0x80, protocol]), "pickle") for protocol in range(2, 6)),
)

_KINDS: dict[str, tuple[str, str]] = {
    ".tflite": ("a TensorFlow Lite model, converted already", "hand over the Keras model that it was made from"),
    ".onnx": ("an ONNX model", "convert it to Keras first (onnx2tf writes a .h5 and a SavedModel)"),
    ".pt": ("a PyTorch model", "convert it to Keras first, or rebuild it in Keras and copy its weights"),
    ".pth": ("a PyTorch model", "convert it to Keras first, or rebuild it in Keras and copy its weights"),
    ".safetensors": ("weights without a model", "load them into a Keras model in `file.py:function`"),
    ".pb": ("a bare TensorFlow graph without Keras layers", SAVE_ANEW),
    ".ckpt": ("weights without a model", "load them into a model in `file.py:function`"),
    ".index": ("a TensorFlow checkpoint: weights without a model", "load it into a model in `file.py:function`"),
    ".npz": ("a numpy archive", "hand over the model itself; data belongs under `data:`"),
    ".json": ("an architecture without weights", "build the model and load its weights in `file.py:function`"),
    ".py": ("a python file without a function", "name the function that builds the model: `file.py:function`"),
    "pickle": ("a Python pickle, whatever its name says", f"pickles run code and are never read: {SAVE_ANEW}"),
    "gzip": ("compressed with gzip", "unpack it first"),
    "git-lfs": ("a git-lfs pointer and not the file itself", "fetch the file: git lfs pull"),
}


def recognise(path: Path) -> Format:
    """The format of what lies at a path.

    Raises:
        UsageError: nothing lies there.
        ModelError: it is no Keras model; the message names what it is.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UsageError(
            f"There is no model at {path}.",
            expected=EXPECTED,
            mend="check the path; in a recipe, it is relative to the recipe",
        )
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(_ZIP):
        return "zip"
    if start.startswith(_HDF5):
        return "hdf5"
    raise _refused(path, start)


def not_whole(name: str, why: str) -> ModelError:
    """The refusal of a damaged file."""
    return ModelError(
        f"{name} is damaged: {why}.",
        expected="the whole file, as model.save() wrote it",
        mend="copy it once more from where it came from, or save the model anew",
    )


def first_line(error: BaseException) -> str:
    """What an error of somebody else says, short enough for a message."""
    if isinstance(error, KeyError) and len(error.args) == 1 and len(str(error)) < 40:
        return f"{error} is missing"
    # Keras wraps the error of a layer in one about each model around it.
    text = str(error).rpartition("Exception encountered: ")[2].strip().splitlines()
    return text[0][:300].rstrip(".: ") if text else type(error).__name__


def refused_kind(name: str, kind: str) -> ModelError:
    """The refusal of a file that is something else: a key of `_KINDS`."""
    what, mend = _KINDS[kind]
    return ModelError(f"{name} is {what}.", expected=EXPECTED, mend=mend)


def _folder(path: Path) -> Format:
    if (path / "saved_model.pb").is_file():
        return "saved_model"
    raise ModelError(
        f"The folder {path.name} holds no model.",
        expected="a SavedModel, with saved_model.pb in it",
        mend="name the model file itself, or the folder that model.save() wrote",
    )


def _refused(path: Path, start: bytes) -> ModelError:
    if not start:
        return not_whole(path.name, "it is empty")
    for offset, mark, kind in _BY_CONTENT:
        if start[offset : offset + len(mark)] == mark:
            return refused_kind(path.name, kind)
    if path.suffix.lower() in _KINDS:
        return refused_kind(path.name, path.suffix.lower())
    if path.suffix.lower() in (".keras", ".h5", ".hdf5"):
        return not_whole(path.name, "it does not begin as a file of this kind does")
    return ModelError(f"{path.name} is no model that could be recognised.", expected=EXPECTED, mend=SAVE_ANEW)
