"""What is deployed: `Bundle`, a folder whose `bundle.json` vouches for each file.

    model.tflite         the model
    model.tflite.xz …    the same as it travels to a device that can unpack it; may be left out
    golden-*.npy         inputs and the outputs that belong to them (`Golden`)
    manifest.json        what a program on the device must know; may be left out
    bundle.json          {"schema": 1, "name": "digits", "packed": null or "model.tflite.xz",
                          "files": {"model.tflite": {"sha256": "…", "size_bytes": 444408}, …}}

Nothing else may lie in it. A bundle comes from anywhere, so it is read as strictly as what a device answers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edge_targets._errors import TargetError
from edge_targets._unpack import UNPACK

SCHEMA = 1
MODEL = "model.tflite"
MANIFEST = "manifest.json"
BUNDLE = "bundle.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILE = re.compile(r"model\.tflite(\.[a-z]{1,8})?|manifest\.json|golden-[A-Za-z0-9._+-]{1,200}\.npy")
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
    """

    folder: Path
    name: str
    sha256: Mapping[str, str]
    packed: str

    @property
    def version(self) -> str:
        """What tells one version from another: the model's sha256."""
        return self.sha256[MODEL]

    @property
    def kept(self) -> list[str]:
        """The names of the files that stay on a device."""
        return [name for name in self.sha256 if name != self.packed]

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
        return cls(folder, name, {**files, BUNDLE: _hash(folder / BUNDLE)}, packed)

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
    path = folder / BUNDLE
    try:
        if path.stat().st_size > MOST_LIST_BYTES:
            raise _refused(folder, f"its {BUNDLE} is larger than {MOST_LIST_BYTES} bytes")
        facts = json.loads(path.read_bytes())
    except OSError as error:
        raise _refused(folder, f"its {BUNDLE} cannot be read: {error.strerror}") from error
    # Deep nesting ends in RecursionError; broken text in ValueError.
    except (ValueError, RecursionError) as error:
        raise _refused(folder, f"its {BUNDLE} is no JSON") from error
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
