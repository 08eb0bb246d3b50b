"""What is deployed: `Bundle`, a folder whose `bundle.json` vouches for each file.

    model.tflite         the model
    model.tflite.xz …    the same as it travels to a device that can unpack it; may be left out
    golden-*.npy         inputs and the outputs that belong to them (`Golden`)
    manifest.json        what a program on the device must know; may be left out
    bundle.json          {"schema": 1, "name": "digits", "packed": null or "model.tflite.xz",
                          "files": {"model.tflite": {"sha256": "…", "size_bytes": 444408}, …}}

Of a model in two stages, also

    model.rest.tflite    the second stage, and model.rest.tflite.xz … where the first is packed, too
    cascade.json         names both by their hashes, and the threshold between them
    run_cascade.py       runs both: the script of this very Edgesmith, for no other code may come to a device this way

Nothing else may lie in it. A bundle comes from anywhere, so it is read as strictly as what a device answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edge_targets._cascade_file import CASCADE, FIRST, REST, RUN_CASCADE, CascadeFile, run_cascade_script
from edge_targets._errors import TargetError
from edge_targets._json_file import small_json
from edge_targets._unpack import UNPACK

SCHEMA = 1
MODEL = FIRST
MANIFEST = "manifest.json"
BUNDLE = "bundle.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILE = re.compile(
    r"model(\.rest)?\.tflite(\.[a-z]{1,8})?|(manifest|cascade)\.json|run_cascade\.py|golden-[A-Za-z0-9._+-]{1,200}\.npy"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 40
MOST_BYTES = 2**31
MOST_LIST_BYTES = 2**16


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were there and were as `bundle.json` says, when it was read.

    Attributes:
        folder: where it lies.
        name: what it is deployed as: letters, digits, dots, dashes and underscores.
        sha256: of each file, by name.
        packed: the file that travels in the place of the model where the device can unpack it, or "".
        threshold: of a model in two stages, the least confidence with which the first one's scores stand; else None.
    """

    folder: Path
    name: str
    sha256: Mapping[str, str]
    packed: str
    threshold: float | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The model's files: one, or both stages."""
        return (MODEL,) if self.threshold is None else (MODEL, REST)

    @property
    def version(self) -> str:
        """What tells one version from another: the sha256 of the model, or of the `cascade.json` that names both."""
        return self.sha256[MODEL if self.threshold is None else CASCADE]

    @property
    def parcels(self) -> dict[str, str]:
        """What travels in the place of each of the model's files; empty where none is packed."""
        return {model: _parcel_of(model, self.sha256, self.packed) for model in self.models} if self.packed else {}

    @property
    def kept(self) -> list[str]:
        """The names of the files that stay on a device."""
        travelling = self.parcels.values()
        return [name for name in self.sha256 if name not in travelling]

    @property
    def size_bytes(self) -> int:
        """The size of the model's files."""
        return sum(self.folder.joinpath(model).stat().st_size for model in self.models)

    @property
    def packed_bytes(self) -> int | None:
        """What travels of them to a device that can unpack; None where nothing is packed."""
        sizes = [self.folder.joinpath(parcel).stat().st_size for parcel in self.parcels.values()]
        return sum(sizes) if sizes else None

    def sums(self) -> str:
        """The list of the files that stay on a device, as `sha256sum -c` reads it."""
        return "".join(f"{self.sha256[name]}  {name}\n" for name in self.kept)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `bundle.json`, and check every file against it.

        Raises:
            TargetError: a file is missing, damaged or unknown, or `bundle.json` is not one.
        """
        facts = _facts(folder)
        name, packed = facts["name"], facts["packed"] or ""
        if not is_plain(name):
            raise _refused(folder, f"its name {name!r:.80} is not plain", f"a name like {_NAME.pattern}")
        files = _files(folder, facts["files"])
        if packed and (packed not in files or packed.removeprefix(f"{MODEL}.") not in UNPACK):
            raise _refused(folder, f"it names {packed!r:.80} as the packed model")
        threshold = _threshold(folder, files)
        if packed and threshold is not None and not _parcel_of(REST, files, packed):
            raise _refused(folder, f"{MODEL} is packed, and {REST} is not")
        return cls(folder, name, {**files, BUNDLE: _hash(folder / BUNDLE)}, packed, threshold)

    @classmethod
    def write(cls, folder: Path, name: str, packed: str = "") -> Self:
        """Vouch for the files in a folder: write its `bundle.json`, and read it.

        Raises:
            TargetError: what is there is no bundle.
        """
        files = {path.name: _told(path) for path in sorted(folder.iterdir()) if path.name != BUNDLE}
        document = {"schema": SCHEMA, "name": name, "packed": packed or None, "files": files}
        folder.joinpath(BUNDLE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        return cls.read(folder)


def is_plain(name: object) -> bool:
    """Whether a model can be deployed under this name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _facts(folder: Path) -> dict[str, Any]:
    """What `bundle.json` says, with its keys checked."""
    try:
        facts = small_json(folder / BUNDLE, MOST_LIST_BYTES)
    except ValueError as error:
        raise _refused(folder, f"its {BUNDLE} is unusable: {error}") from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise _refused(folder, f"its {BUNDLE} is not of schema {SCHEMA}")
    if facts.keys() != {"schema", "name", "packed", "files"} or not isinstance(facts["packed"], str | None):
        raise _refused(folder, f"its {BUNDLE} has other keys, or of other types", "schema, name, packed and files")
    return facts


def _files(folder: Path, said: Any) -> dict[str, str]:
    """The sha256 of each file, once it is as `bundle.json` says."""
    if not isinstance(said, dict) or not {MODEL, "golden-inputs.npy"} <= said.keys() or len(said) > MOST_FILES:
        raise _refused(folder, "its files are not listed", f"{MODEL} and golden-*.npy, {MOST_FILES} files at most")
    for name, facts in said.items():
        if not _FILE.fullmatch(name):
            raise _refused(folder, f"{name!r:.80} is no file of a bundle")
        _must_match(folder, name, facts)
    # Golden vectors are found by their names: one more among them would be believed.
    strangers = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - said.keys() - {BUNDLE}
    if strangers:
        raise _refused(folder, f"{BUNDLE} does not vouch for {min(strangers)!r:.80}")
    return {name: facts["sha256"] for name, facts in said.items()}


def _threshold(folder: Path, files: Mapping[str, str]) -> float | None:
    """The threshold of a model in two stages, once all that it takes is there and belongs together; else None."""
    there = {REST, CASCADE, RUN_CASCADE} & files.keys()
    if not there:
        return None
    missing = {REST, CASCADE, RUN_CASCADE} - there
    if missing:
        raise _refused(folder, f"of a model in two files, {min(missing)} is missing")
    told = CascadeFile.read(folder / CASCADE)
    strange = [name for name, sha256 in told.sha256.items() if files[name] != sha256]
    if strange:
        raise _refused(folder, f"{strange[0]} is not the file that {CASCADE} speaks of")
    if files[RUN_CASCADE] != hashlib.sha256(run_cascade_script()).hexdigest():
        raise _refused(folder, f"its {RUN_CASCADE} is not that of this version of Edgesmith")
    return told.threshold


def _parcel_of(model: str, names: Iterable[str], packed: str) -> str:
    """The packed form of one of the model's files among a bundle's, or ""; `packed` is that of the first."""
    if model == MODEL:
        return packed
    codecs = {name: name.removeprefix(f"{model}.") for name in names if name.startswith(f"{model}.")}
    return next((name for name, codec in codecs.items() if codec in UNPACK), "")


def _must_match(folder: Path, name: str, facts: Any) -> None:
    well_formed = (
        isinstance(facts, dict)
        and facts.keys() == {"sha256", "size_bytes"}
        and type(facts["size_bytes"]) is int
        and 0 <= facts["size_bytes"] <= MOST_BYTES
        and isinstance(facts["sha256"], str)
        and _SHA256.fullmatch(facts["sha256"])
    )
    if not well_formed:
        raise _refused(folder, f"what {BUNDLE} says of {name} is not its sha256 and size_bytes")
    path = folder / name
    # A pipe in the place of a file would be read for ever; the size is asked before anything is read.
    if not path.is_file() or path.stat().st_size != facts["size_bytes"] or _hash(path) != facts["sha256"]:
        raise _refused(folder, f"{name} is missing, or is not the file that {BUNDLE} vouches for")


def _told(path: Path) -> dict[str, Any]:
    return {"sha256": _hash(path), "size_bytes": path.stat().st_size}


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refused(folder: Path, why: str, expected: str = "") -> TargetError:
    return TargetError(f"{folder} is no bundle: {why}.", expected=expected, mend="make the bundle again")
