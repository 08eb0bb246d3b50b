"""A `.keras` archive, unpacked with suspicion: only the members that Keras writes, and no more bytes than they say.

Keras gets to see an archive that was written anew from what was checked here, never the one that came from outside.
"""

from __future__ import annotations

import json
import shutil
import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline._intake._formats import first_line, not_whole, refused_kind
from pipeline.errors import ModelError

MOST_JSON_BYTES = 64 * 2**20

BOMB_BYTES, BOMB_RATIO = 2**30, 100
"""What unpacks to more than as many bytes, and to more than as many times its size, is no model."""

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_ENCRYPTED = 0x1
# What zipfile raises on damaged archives; the last two come out of members with impossible sizes and offsets.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, OSError, ValueError)


@dataclass(frozen=True)
class Unpacked:
    """The members of a `.keras`: the texts of its JSON files, and where its weights were laid."""

    config: str
    metadata: str
    weights: Path


def unpack(path: Path, folder: Path) -> Unpacked:
    """Take an archive apart.

    Args:
        path: the archive.
        folder: an empty one of ours, for the weights.

    Raises:
        ModelError: it is damaged, unsafe, or another kind of zip.
    """
    weights = folder / "weights.h5"
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in _checked(archive, path.name)}
            config, metadata = (archive.read(members[name]).decode() for name in (_CONFIG, _METADATA))
            with archive.open(members[_WEIGHTS]) as source, weights.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
    except _DAMAGE as error:
        raise not_whole(path.name, first_line(error)) from error
    return Unpacked(config, metadata, weights)


def pack(unpacked: Unpacked, config: object, path: Path) -> None:
    """Write a clean archive with another config."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_METADATA, unpacked.metadata)
        archive.writestr(_CONFIG, json.dumps(config))
        archive.write(unpacked.weights, _WEIGHTS)


def _checked(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    names = Counter(info.filename for info in infos)
    if any(member.endswith("/data.pkl") for member in names):
        raise refused_kind(name, ".pt")
    if names and all(member.endswith(".npy") for member in names):
        raise refused_kind(name, ".npz")
    for info in infos:
        if problem := _problem(info, names):
            raise _unsafe(name, f"its member {info.filename!r:.80} {problem}")
    missing = sorted({_CONFIG, _METADATA, _WEIGHTS} - names.keys())
    if missing:
        raise not_whole(name, f"it has no {' and no '.join(missing)}")
    return infos


def _problem(info: zipfile.ZipInfo, names: Counter[str]) -> str:
    """What is wrong with a member, or ''."""
    is_json = info.filename.endswith(".json")
    inflated = info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * info.compress_size
    findings = {
        "leads out of the archive": info.filename.startswith(("/", "\\")) or ".." in info.filename,
        "is a vocabulary or another asset, which no int8 model can use": info.filename.startswith("assets/"),
        "is nothing that Keras writes": info.filename not in (_CONFIG, _METADATA, _WEIGHTS),
        "is there more than once": names[info.filename] > 1,
        "is a link": stat.S_ISLNK(info.external_attr >> 16),
        "is encrypted": bool(info.flag_bits & _ENCRYPTED),
        "is packed in an unusual way": info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
        f"would unpack to {info.file_size:,} bytes": inflated or (is_json and info.file_size > MOST_JSON_BYTES),
    }
    return next((finding for finding, found in findings.items() if found), "")


def _unsafe(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} is not safe to read: {why}.",
        expected="an archive as model.save('model.keras') writes it: config.json, metadata.json, model.weights.h5",
        mend="save the model anew from a source that you trust",
    )
