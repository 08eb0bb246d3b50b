"""This side of the conversation with `_on_device_install.py`: what Python a device has, and an interpreter for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets import _answer, _on_device_install
from edge_targets._errors import ToolMissing
from edge_targets._measurement import Runtime
from edge_targets._transport import _as_device_error
from edge_targets._wheels import INTERPRETERS, DevicePython

if TYPE_CHECKING:
    from edge_targets._transport import Transport

SCRIPT = "edgesmith_install.py"
ASK_TIMEOUT_S = 120.0
# pip compiles nothing, but may fetch 30 MB over a slow line; unpacking waits for a slow card.
INSTALL_TIMEOUT_S = 1800.0
MOST_PATH = 4096
# The interpreter comes first. tflite-runtime fails with numpy 2, and does not say so.
ONLINE: Mapping[str, tuple[str, ...]] = {
    "ai_edge_litert": ("ai-edge-litert", "numpy"),
    "tflite_runtime": ("tflite-runtime", "numpy<2"),
}
THIRTY_TWO_BITS = {"aarch64": "armv7l", "x86_64": "i686", "armv8l": "armv7l"}


class Install:
    """What is asked of one device's Python, for as long as its transport is open.

    Args:
        transport: the way to the device, entered.
        python: the Python there.
        root: the folder there for interpreters, each in one of its own; `~` is the home there.
    """

    def __init__(self, transport: Transport, python: str, root: str) -> None:
        self._transport = transport
        self._root = root
        self._argv = (python, transport.push(Path(_on_device_install.__file__), SCRIPT))
        self.python = self._probe()

    def unpack(self, wheels: Sequence[Path]) -> str:
        """A folder with these wheels unpacked; nothing is sent where there is one already.

        Returns:
            its path on the device.

        Raises:
            DeviceError: the disk is full, or the device is gone.
        """
        name = "wheels-" + _fingerprint(wheels)
        if name not in self.python.installed:
            there = [self._transport.push(wheel, wheel.name) for wheel in wheels]
            self._ask("unpack", {"name": name, "wheels": there}, INSTALL_TIMEOUT_S)
        return f"{self.python.root}/{name}"

    def fetch(self, runtime: Runtime) -> str:
        """A folder with an interpreter that the device's own pip fetched.

        Raises:
            ToolMissing: no interpreter is published for it.
            DeviceError: pip failed; what it said last is told.
        """
        package = self._published(runtime)
        name = f"pip-{package}-{'.'.join(map(str, self.python.series))}-{self.python.architecture}"
        if name not in self.python.installed:
            # On 32 bits, numpy comes from the distribution, and is published nowhere else.
            alone = package == "tflite_runtime" and "numpy" in self.python.packages
            requirements = ONLINE[package][:1] if alone else ONLINE[package]
            self._ask("pip", {"name": name, "requirements": requirements, "needs": not alone}, INSTALL_TIMEOUT_S)
        return f"{self.python.root}/{name}"

    def _published(self, runtime: Runtime) -> str:
        # For 32 bits there is no LiteRT.
        narrow = self.python.architecture in ("armv7l", "i686")
        package = ("tflite_runtime" if narrow else "ai_edge_litert") if runtime == "auto" else runtime
        if package not in INTERPRETERS:
            raise ToolMissing(
                f"{package} is too large to be installed on a device.", expected=" or ".join(INTERPRETERS)
            )
        return package

    def _probe(self) -> DevicePython:
        answer = self._ask("python", {}, ASK_TIMEOUT_S)
        machine = _answer.text(answer, "machine")
        libc, _, release = _answer.text(answer, "libc").partition(" 2.")
        return DevicePython(
            version=_version(answer),
            architecture=THIRTY_TWO_BITS.get(machine, machine) if _answer.count(answer, "bits") == 32 else machine,
            glibc=int(release.partition(".")[0]) if libc == "glibc" and release.partition(".")[0].isdecimal() else None,
            packages=_names(answer, "packages"),
            root=_path(answer, "root"),
            installed=_names(answer, "installed"),
        )

    def _ask(self, job: str, request: Mapping[str, Any], timeout_s: float) -> _answer.Json:
        envelope = {"protocol": _on_device_install.PROTOCOL, "job": job, "root": self._root, **request}
        done = self._transport.run(self._argv, stdin=json.dumps(envelope).encode(), timeout_s=timeout_s)
        if done.returncode != 0 and b"SyntaxError" in done.stderr:
            raise ToolMissing(f"The device's Python ({self._argv[0]}) is too old.", expected="Python 3.7 or later")
        return _answer.read(done, job, "")


def _version(answer: _answer.Json) -> str:
    version = _answer.text(answer, "version")
    parts = version.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts[:2]):
        raise _answer.strange("its 'version' is none of Python's")
    return version


def _names(answer: _answer.Json, key: str) -> frozenset[str]:
    values = answer.get(key)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _answer.strange(f"its '{key}' are not names")
    return frozenset(values)


def _path(answer: _answer.Json, key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable() or len(value) > MOST_PATH:
        raise _answer.strange(f"its '{key}' is no path")
    return value


def _fingerprint(wheels: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for wheel in sorted(wheels):
        with _as_device_error(f"read {wheel}"), wheel.open("rb") as file:
            digest.update(f"{wheel.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
