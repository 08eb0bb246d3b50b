"""The cache of finished stages: content-addressed, written atomically, safe to kill at any instant.

An entry is a folder `ab/ab12…/` that holds the files of one result and `manifest.json` with their hashes. It is written
beside its place under a name of its own, flushed to the disk, and renamed: a reader sees all of it or nothing, and of
two writers of one result the second finds it there and throws its own away.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pipeline.errors import StorageError
from pipeline.storage import atomic_write_bytes

LIBRARIES = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "numpy")
"""Those whose version changes what a stage results in."""

_MANIFEST = "manifest.json"


class Cache:
    """Results by key.

    Args:
        folder: where they lie; None for a cache that keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def fetch(self, key: str) -> dict[str, bytes] | None:
        """The files stored under a key, or None. An entry that is damaged is thrown away and counts as absent."""
        if self.folder is None:
            return None
        entry = self._entry(key)
        if not entry.is_dir():
            return None
        try:
            return _whole(entry)
        except (OSError, ValueError, TypeError):
            # Entries appear whole: this one was damaged later. Without it, the result can be stored again.
            shutil.rmtree(entry, ignore_errors=True)
            return None

    def store(self, key: str, files: Mapping[str, bytes]) -> None:
        """Keep files under a key; the first writer wins.

        Raises:
            StorageError: the disk is full or read-only. Nothing half-written is left.
        """
        if self.folder is None:
            return
        entry = self._entry(key)
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=entry.parent))
        except OSError as error:
            raise StorageError(f"The cache {self.folder} cannot be written: {error.strerror}.") from error
        try:
            _fill(fresh, files)
            _move(fresh, entry)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _entry(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / key


def key_of(**parts: object) -> str:
    """The name of a result: a hash of everything that shaped it, and of the libraries' versions."""
    canonical = json.dumps({**parts, "libraries": library_versions()}, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """The versions that results depend on, Python's among them."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {**versions, "python": platform.python_version(), "machine": platform.machine()}


@cache
def code_version(*modules: str) -> str:
    """A hash of the source of these modules and of the private files (`_name.py`) beside them.

    Args:
        modules: dotted names.
    """
    digest = hashlib.sha256()
    for module in modules:
        source = _source(module)
        # In a folder of plugins, what they share stands in files with an underscore.
        shared = [path for path in sorted(source.parent.glob("_*.py")) if source.parent.name != "pipeline"]
        for path in dict.fromkeys([source, *shared]):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin)


def _whole(entry: Path) -> dict[str, bytes]:
    """The files of an entry; a ValueError where one is not what was stored."""
    manifest = json.loads(entry.joinpath(_MANIFEST).read_text("utf-8"))
    files = {name: entry.joinpath(name).read_bytes() for name in manifest}
    if any(hashlib.sha256(files[name]).hexdigest() != manifest[name] for name in files):
        raise ValueError(entry)
    return files


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        atomic_write_bytes(folder / name, data)
    manifest = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    atomic_write_bytes(folder / _MANIFEST, json.dumps(manifest).encode())


def _move(fresh: Path, entry: Path) -> None:
    # Renaming onto a folder that is not empty fails: then another run was first, with the same content.
    with contextlib.suppress(OSError):
        fresh.rename(entry)
