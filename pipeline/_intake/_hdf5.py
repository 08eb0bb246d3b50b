"""HDF5 files looked through before Keras reads them: links that lead elsewhere, bombs, and what no Keras writes.

HDF5 is a file system in a file, read by a C library: a file may point at other files, ask for plugins to be loaded, or
declare arrays of any size in a few bytes. Keras itself uses groups, plain arrays and text attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline._intake._archive import BOMB_BYTES, BOMB_RATIO, MOST_JSON_BYTES
from pipeline._intake._formats import first_line, not_whole
from pipeline.errors import ModelError

MOST_DEPTH = 64
MOST_OBJECTS = 200_000
_SAFE_FILTERS = frozenset({"deflate", "shuffle", "fletcher32", "lzf"})


def check_hdf5(path: Path, name: str) -> None:
    """Refuse a file with anything in it that Keras does not write.

    Args:
        path: the file.
        name: what messages call it.

    Raises:
        ModelError: it is damaged or not safe.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check_attributes(file, "/", name)
            declared = sum(_checked_bytes(thing, place, name) for place, thing in _walk(file, name))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise not_whole(name, first_line(error)) from error
    if declared > BOMB_BYTES and declared > BOMB_RATIO * path.stat().st_size:
        raise _unsafe(name, f"{path.stat().st_size:,} bytes that would unpack to {declared:,}")


def legacy_facts(path: Path, name: str) -> tuple[str, str]:
    """What a whole model's legacy `.h5` says of itself: its config as JSON, and the version of Keras that wrote it.

    Raises:
        ModelError: it holds no model.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config, version = (_text(file.attrs.get(key)) for key in ("model_config", "keras_version"))
            holds = set(file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise not_whole(name, first_line(error)) from error
    if config and "model_weights" in holds:
        return config, version
    if config or holds & {"layers", "_layer_checkpoint_dependencies", "model_weights", "top_level_model_weights"}:
        raise ModelError(
            f"{name} holds the weights of a model and not the model itself.",
            expected="a whole model, as model.save() writes it and save_weights() does not",
            mend="build the model and load these weights in `file.py:function`",
        )
    raise refused_hdf5(name)


def refused_hdf5(name: str) -> ModelError:
    """The refusal of an HDF5 file that is of no Keras."""
    return ModelError(
        f"{name} is an HDF5 file without a Keras model in it.",
        expected="a whole model, as model.save() writes it",
        mend="name the model's file; data belongs under `data:`",
    )


def _walk(file: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every object below the root, each once, with its path."""
    import h5py

    seen = {_address(file)}
    waiting = [("", file, 0)]
    while waiting:
        path, group, depth = waiting.pop()
        for key in group:
            place = f"{path}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _unsafe(name, f"{place[:80]!r} is a link that leads elsewhere")
            thing = group[key]
            if _address(thing) in seen or depth >= MOST_DEPTH or len(seen) >= MOST_OBJECTS:
                raise _unsafe(name, f"{place[:80]!r} lies too deep, or leads back to where it came from")
            seen.add(_address(thing))
            yield place, thing
            if isinstance(thing, h5py.Group):
                waiting.append((place, thing, depth + 1))


def _checked_bytes(thing: Any, place: str, name: str) -> int:
    """The bytes that an object would take in memory, once it is found to be harmless."""
    import h5py

    _check_attributes(thing, place, name)
    if isinstance(thing, h5py.Group):
        return 0
    if not isinstance(thing, h5py.Dataset):
        raise _unsafe(name, f"{place[:80]!r} is nothing that Keras writes")
    properties = thing.id.get_create_plist()
    filters = {_filter_name(properties.get_filter(index)) for index in range(properties.get_nfilters())}
    if properties.get_external_count() or properties.get_layout() == h5py.h5d.VIRTUAL:
        raise _unsafe(name, f"{place[:80]!r} takes its numbers from another file")
    if not filters <= _SAFE_FILTERS:
        raise _unsafe(name, f"{place[:80]!r} is packed in an unusual way")
    # A text of any length is the one thing without a size of its own: Keras keeps a few names so.
    if thing.dtype.kind not in "iufbS" and not (h5py.check_string_dtype(thing.dtype) and thing.size <= 1):
        raise _unsafe(name, f"{place[:80]!r} holds {thing.dtype} and no plain numbers")
    return int(thing.size) * int(thing.dtype.itemsize)


def _check_attributes(thing: Any, place: str, name: str) -> None:
    import h5py

    for key in thing.attrs:
        attribute = thing.attrs.get_id(key)
        dtype, count = attribute.dtype, 1
        for length in attribute.shape:
            count *= length
        if dtype.kind not in "iufbSU" and not h5py.check_string_dtype(dtype):
            raise _unsafe(name, f"the attribute {key[:80]!r} of {place[:80]!r} is no text and no number")
        if count * dtype.itemsize > MOST_JSON_BYTES:
            raise _unsafe(name, f"the attribute {key[:80]!r} of {place[:80]!r} has {count:,} elements")


def _filter_name(filter_: tuple[int, int, Any, bytes]) -> str:
    import h5py

    names = {h5py.h5z.FILTER_DEFLATE: "deflate", h5py.h5z.FILTER_SHUFFLE: "shuffle"}
    names |= {h5py.h5z.FILTER_FLETCHER32: "fletcher32", h5py.h5z.FILTER_LZF: "lzf"}
    return names.get(filter_[0], "")


def _address(thing: Any) -> tuple[int, int]:
    import h5py

    info = h5py.h5o.get_info(thing.id)
    return info.fileno, info.addr


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _unsafe(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} is not safe to read: {why}.",
        expected="groups, arrays of numbers and names, as Keras writes them",
        mend="save the model anew from a source that you trust",
    )
