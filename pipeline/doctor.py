"""What is installed here, what is missing, what that would enable, and the command that brings it.

Nothing is imported to find that out: versions come from the packages' metadata (PyPA, core metadata 2.x), and the
requirements from edgesmith's own, so that they stand in `setup.py` alone.
"""

from __future__ import annotations

import importlib.metadata as metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SCHEMA = 1
LEAST_FREE_BYTES = 2 * 10**9
"""A run of a small model takes some 100 MB; spooled data and the cache take the rest."""

Kind = Literal["python", "package", "versions", "program", "library", "folder"]
Status = Literal["ok", "missing", "wrong"]
Installed = Mapping[str, metadata.Distribution]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        kind, name: what.
        status: whether it is there and as it should be.
        essential: whether edgesmith does not work without it.
        found: its version or place; empty where it is missing.
        expected: what would be right.
        enables: what it is good for.
        mend: the command that brings it; empty where nothing is to be done.
    """

    kind: Kind
    name: str
    status: Status
    essential: bool
    found: str
    expected: str
    enables: str
    mend: str


def examine(cache_folder: Path) -> dict[str, Any]:
    """Look at everything.

    Args:
        cache_folder: where results of stages are kept.

    Returns:
        `doctor --json` (`docs/schemas/doctor.schema.json`); `ok` where everything essential is there.
    """
    installed = installed_packages()
    found = [
        _python(),
        *packages(installed),
        *together(installed),
        *(_program(name, *about) for name, about in _PROGRAMS.items()),
        _edgetpu_library(),
        *folders(cache_folder),
    ]
    ok = all(one.status == "ok" for one in found if one.essential)
    return {"schema": SCHEMA, "ok": ok, "findings": [asdict(one) for one in found]}


def installed_packages(path: list[str] | None = None) -> dict[str, metadata.Distribution]:
    """Every package of an environment by its normalized name.

    Args:
        path: folders of packages; default: those of this Python.
    """
    from packaging.utils import canonicalize_name

    found = metadata.distributions() if path is None else metadata.distributions(path=path)
    # The first one found is the one that would be imported.
    return {canonicalize_name(one.name): one for one in reversed(list(found)) if one.name}


def packages(installed: Installed) -> Iterator[Finding]:
    """A finding for each package that edgesmith asks for, and for each that one of its extras does."""
    own = installed.get("edgesmith")
    if own is None:
        yield Finding(
            "package", "edgesmith", "missing", True, "", "", "the command itself", "pip install -c constraints.txt ."
        )
        return
    seen: set[str] = set()
    for extra in ("", *(own.metadata.get_all("Provides-Extra") or [])):
        for wanted in _required(own, extra):
            if wanted.name not in seen:
                seen.add(wanted.name)
                yield _package(wanted, installed, extra)


def together(installed: Installed) -> Iterator[Finding]:
    """A finding for each pair of versions that do not work together; one that says so where all do."""
    conflicts = [*_declared_conflicts(installed), *_known_conflicts(installed)]
    if conflicts:
        yield from conflicts
    else:
        yield Finding("versions", "versions", "ok", True, "work together", "", "", "")


def folders(cache_folder: Path) -> Iterator[Finding]:
    """Whether the cache and the temporary folder can be written to, and have room."""
    yield _folder(
        "cache",
        cache_folder,
        "results of stages, that need not be made twice",
        "choose another with --cache or XDG_CACHE_HOME",
    )
    yield _folder(
        "temporary files", Path(tempfile.gettempdir()), "reading data and models", "set TMPDIR to another folder"
    )


def _python() -> Finding:
    version, fits = platform.python_version(), sys.version_info >= (3, 11)
    # tflite-runtime has no wheels beyond 3.11; that is no fault, because LiteRT serves.
    enables = "all" if sys.version_info < (3, 12) else "all but tflite-runtime, in whose place LiteRT serves"
    mend = "" if fits else "install Python 3.11"
    return Finding("python", "Python", "ok" if fits else "wrong", True, version, "3.11", enables, mend)


def _required(own: metadata.Distribution, extra: str) -> Iterator[Requirement]:
    """What a package asks for: always, or for one of its extras."""
    from packaging.requirements import Requirement

    for wanted in map(Requirement, own.requires or []):
        always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if always if not extra else not always and wanted.marker and wanted.marker.evaluate({"extra": extra}):
            yield wanted


def _package(wanted: Requirement, installed: Installed, extra: str) -> Finding:
    found, expected = _version(installed, wanted.name), str(wanted.specifier)
    status: Status = "missing" if not found else "ok" if wanted.specifier.contains(found, prereleases=True) else "wrong"
    enables = _EXTRAS.get(extra, f"the extra '{extra}'") if extra else _PACKAGES.get(wanted.name, "edgesmith itself")
    mend = "" if status == "ok" else f"pip install '{wanted.name}{expected}'"
    return Finding("package", wanted.name, status, not extra, found, expected, enables, mend)


def _version(installed: Installed, name: str) -> str:
    from packaging.utils import canonicalize_name

    one = installed.get(canonicalize_name(name))
    return one.version if one else ""


def _declared_conflicts(installed: Installed) -> Iterator[Finding]:
    """Where a package that edgesmith uses asks for another version of a third than is there."""
    own = installed.get("edgesmith")
    users = [wanted.name for wanted in _required(own, "")] if own else []
    for user in users:
        for wanted in _required(installed[user], "") if user in installed else ():
            found = _version(installed, wanted.name)
            if found and not wanted.specifier.contains(found, prereleases=True):
                pair = f"{user} {installed[user].version} with {wanted.name} {found}"
                yield _conflict(pair, f"{wanted.name}{wanted.specifier}", f"{user} says that it needs another version")


def _known_conflicts(installed: Installed) -> Iterator[Finding]:
    """What no package's metadata says, and was found out the hard way."""
    from packaging.version import Version

    def version(name: str) -> Version | None:
        text = _version(installed, name)
        return Version(text) if text else None

    numpy, tflite = version("numpy"), version("tflite-runtime")
    if numpy and tflite and numpy.major >= 2:
        why = "tflite-runtime then fails as soon as it reads a model, inside CreateWrapperFromFile"
        yield _conflict(f"tflite-runtime {tflite} with numpy {numpy}", "numpy<2", why)
    tensorflow, keras = version("tensorflow"), version("tf-keras")
    if tensorflow and keras and tensorflow.release[:2] != keras.release[:2]:
        series = ".".join(map(str, tensorflow.release[:2]))
        why = "tf-keras is made for one TensorFlow, and TFMOT needs it: Keras 3, which TensorFlow brings, it cannot use"
        yield _conflict(f"tf-keras {keras} with tensorflow {tensorflow}", f"tf-keras~={series}.0", why)
    dtypes = version("ml-dtypes")
    if numpy and dtypes and numpy.major < 2 and dtypes.release >= (0, 6):
        yield _conflict(
            f"ml-dtypes {dtypes} with numpy {numpy}", "ml-dtypes<0.6", "ml-dtypes is then built for numpy 2"
        )


def _conflict(pair: str, expected: str, why: str) -> Finding:
    return Finding("versions", pair, "wrong", True, why, expected, "", f"pip install '{expected}'")


def _program(name: str, enables: str, mend: str) -> Finding:
    place = shutil.which(name) or ""
    return Finding("program", name, "ok" if place else "missing", False, place, "", enables, "" if place else mend)


def _edgetpu_library() -> Finding:
    # The linker's cache is not asked: that would start programs.
    places = (place for pattern in _LIBRARY_PLACES for place in Path("/usr").glob(pattern))
    place = str(next(places, ""))
    enables = "a Coral that is plugged into this machine"
    return Finding(
        "library",
        "libedgetpu",
        "ok" if place else "missing",
        False,
        place,
        "",
        enables,
        "" if place else _GET_LIBEDGETPU,
    )


def _folder(name: str, folder: Path, enables: str, mend: str) -> Finding:
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    expected = f"a folder that can be written to, with {LEAST_FREE_BYTES / 10**9:.0f} GB free"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("folder", name, "wrong", True, f"{folder}: may not be written to", expected, enables, mend)
    free_bytes = shutil.disk_usage(there).free
    found, roomy = f"{folder}: {free_bytes / 10**9:.1f} GB free", free_bytes >= LEAST_FREE_BYTES
    return Finding("folder", name, "ok" if roomy else "wrong", True, found, expected, enables, "" if roomy else mend)


_PACKAGES = {
    "tensorflow": "training and conversion",
    "tf-keras": "Keras 2, which TFMOT needs",
    "tensorflow-model-optimization": "the stages prune, cluster and qat",
    "ai-edge-litert": "running models here",
    "tflite-runtime": "running models here as small devices do",
    "vl-convert-python": "the charts of the report",
    "fastjsonschema": "reading reports back",
    "sqlalchemy": "the history of runs",
    "asyncssh": "devices over ssh",
}
"""What a package is good for, where that is more than edgesmith itself."""

_EXTRAS = {
    "tfds": "the data source tfds",
    "examples": "the recordings of the example wrist_gestures",
    "dev": "make test",
    "mlflow": "--track mlflow",
    "mcu": "the target microcontroller",
    "aeq": "convert.backend: ai_edge_quantizer, and int4 weights",
}

_LIBRARY_PLACES = tuple(f"{folder}/libedgetpu.so.1*" for folder in ("lib", "lib/*", "local/lib"))

_GET_LIBEDGETPU = (
    "add Coral's package archive (coral.ai/docs/accelerator/get-started), then: apt-get install libedgetpu1-std"
)

_PROGRAMS = {
    "adb": ("Android devices", "apt-get install adb"),
    "ssh-keyscan": ("making the key of a Raspberry Pi known (~/.ssh/known_hosts)", "apt-get install openssh-client"),
    "edgetpu_compiler": (
        "models for a Coral Edge TPU",
        "add Coral's package archive (coral.ai/docs/edgetpu/compiler), then: apt-get install edgetpu-compiler",
    ),
    "chromium": ("the tests and screenshots of the report's page", "apt-get install chromium"),
}
"""Programs, what they enable, and how they are had on Debian."""
