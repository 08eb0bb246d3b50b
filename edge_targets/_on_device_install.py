"""Runs on the device: tells what its Python can take, and puts an interpreter into a folder of its own.

Pushed and started like `_on_device.py`: Python 3.7 and the standard library, JSON in and JSON out, the same envelope.

    {"protocol": 1, "job": "python", "root": FOLDER}
        what Python this is, which packages it has, and which folders lie in FOLDER
    {"protocol": 1, "job": "unpack", "root": FOLDER, "name": NAME, "wheels": [PATH, ...]}
    {"protocol": 1, "job": "pip", "root": FOLDER, "name": NAME, "requirements": [TEXT, ...], "needs": BOOLEAN}
        make FOLDER/NAME, whole or not at all; one that is there is left as it is. "needs": also what those need
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Json = dict[str, Any]

PROTOCOL = 1
PACKAGES = ("ai_edge_litert", "tflite_runtime", "tensorflow", "numpy")
MOST_FOLDERS = 1000
HALF = ".half-"
STALE_S = 86_400.0
PIP_TIMEOUT_S = 1500.0


class Trouble(Exception):
    """What the host is told instead of an answer."""


def python(request: Json) -> Json:
    """What this Python is. "bits" is its own: a 64-bit kernel may run a 32-bit system, and calls itself aarch64."""
    root = root_of(request)
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith(".")) if root.is_dir() else []
    return {
        "version": platform.python_version(),
        "implementation": sys.implementation.name,
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "libc": libc(),
        "packages": [name for name in PACKAGES if importlib.util.find_spec(name)],
        "root": str(root),
        "installed": names[:MOST_FOLDERS],
    }


def unpack(request: Json) -> Json:
    """Unpack wheels, which are zip files, side by side. No pip takes part, and no network."""
    with whole_or_not_at_all(request) as folder:
        for wheel in request["wheels"]:
            with zipfile.ZipFile(wheel) as archive:
                # It drops what would lead out of the folder.
                archive.extractall(folder)
            spread(folder)
    return {}


def pip(request: Json) -> Json:
    """Have pip fetch and install."""
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--quiet"]
    with whole_or_not_at_all(request) as folder:
        command += ["--only-binary", ":all:", "--target", str(folder)]
        command += (
            ["--", *request["requirements"]] if request["needs"] else ["--no-deps", "--", *request["requirements"]]
        )
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=PIP_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            last = " | ".join(done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:])
            raise Trouble("pip could not install {}: {}".format(" ".join(request["requirements"]), last))
    return {}


JOBS = {"python": python, "unpack": unpack, "pip": pip}


@contextlib.contextmanager
def whole_or_not_at_all(request: Json) -> Iterator[Path]:
    """A folder to fill, which gets its name once it is full."""
    root = root_of(request)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(root)
    half = Path(tempfile.mkdtemp(prefix=HALF, dir=str(root)))
    try:
        yield half
        try:
            half.rename(root / request["name"])
        except OSError:
            # Somebody else was quicker.
            if not (root / request["name"]).is_dir():
                raise
    finally:
        shutil.rmtree(str(half), ignore_errors=True)


def libc() -> str:
    """`glibc 2.36`, or "" where it is another one."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        return ""


def sweep(root: Path) -> None:
    """Remove what was left half done a day ago or more."""
    for half in root.glob(HALF + "*"):
        with contextlib.suppress(OSError):
            if time.time() - half.stat().st_mtime > STALE_S:
                shutil.rmtree(str(half))


def spread(folder: Path) -> None:
    """Move what a wheel carries for site-packages (`NAME.data/purelib`, `platlib`) to where it belongs."""
    for inner in (*folder.glob("*.data/purelib"), *folder.glob("*.data/platlib")):
        for path in inner.iterdir():
            path.rename(folder / path.name)


def root_of(request: Json) -> Path:
    return Path(request["root"]).expanduser()


def main() -> None:
    request = json.loads(sys.stdin.read())
    try:
        answer = dict(JOBS[request["job"]](request), protocol=PROTOCOL, job=request["job"])
    except (Trouble, OSError, zipfile.BadZipFile, subprocess.TimeoutExpired, RuntimeError) as error:
        answer = {"protocol": PROTOCOL, "error": {"kind": "device", "what": str(error)[:2000]}}
    os.write(1, json.dumps(answer).encode("utf-8"))


if __name__ == "__main__":
    main()
