"""Which of the wheels that are carried along fit a device's Python. Nothing is sent before that is known.

Tags are those of the packaging specifications (PEP 425, 600); a manylinux wheel needs a glibc as new as its tag says.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edge_targets._errors import TargetError, ToolMissing
from edge_targets._measurement import Runtime

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.tags import Tag
    from packaging.version import Version

# The distributions that hold an interpreter; "auto" takes the first that is there.
INTERPRETERS: Mapping[str, str] = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime"}
# tflite-runtime does not say that it fails with numpy 2.
UNSAID = {"tflite-runtime": ("numpy<2",)}
# What ELF files say they are made for.
ELF_MACHINES = {"aarch64": 183, "armv7l": 40, "armv6l": 40, "x86_64": 62, "i686": 3}
# The oldest glibc of any manylinux tag, and the tags of before they were named by its version.
OLDEST_GLIBC_MINOR = 5
OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True)
class DevicePython:
    """The Python on a device.

    Attributes:
        version: `3.11.2`.
        architecture: what it was compiled for: `aarch64`, `armv7l`, `x86_64`. That of the kernel may be another.
        glibc: the minor version of its glibc 2, or None where it has another libc.
        packages: the interpreters among its packages, and numpy, by import name.
        root: the folder for what we install, absolute.
        installed: what lies in it.
    """

    version: str
    architecture: str
    glibc: int | None
    packages: frozenset[str]
    root: str
    installed: frozenset[str]

    def __str__(self) -> str:
        libc = "another libc than glibc" if self.glibc is None else f"glibc 2.{self.glibc}"
        return f"Python {self.version}, {self.architecture}, {libc}"

    @property
    def series(self) -> tuple[int, int]:
        """`(3, 11)`."""
        major, minor, *_ = (int(part) for part in re.findall(r"\d+", self.version)[:2])
        return major, minor

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """What a wheel may be tagged with to fit."""
        from packaging.tags import compatible_tags, cpython_tags

        platforms = list(self._platforms())
        major, minor = self.series
        own = cpython_tags(self.series, [f"cp{major}{minor}"], platforms)
        return frozenset([*own, *compatible_tags(self.series, f"cp{major}{minor}", platforms)])

    def _platforms(self) -> Iterator[str]:
        for minor in range(OLDEST_GLIBC_MINOR, (self.glibc or 0) + 1):
            yield f"manylinux_2_{minor}_{self.architecture}"
            if minor in OLD_NAMES:
                yield f"{OLD_NAMES[minor]}_{self.architecture}"
        yield f"linux_{self.architecture}"


@dataclass(frozen=True)
class Wheel:
    """A wheel file: what its name says, and what is in it."""

    path: Path
    project: str
    version: Version
    tags: frozenset[Tag]

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """From its name. ToolMissing: that is no wheel's."""
        from packaging.utils import InvalidWheelFilename, parse_wheel_filename

        try:
            project, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename as error:
            raise ToolMissing(
                f"{path} has no wheel's name.", mend="give it back the name that it was published by"
            ) from error
        return cls(path, project, version, tags)

    def requirements(self, python: DevicePython) -> list[Requirement]:
        """What it needs there, extras left aside."""
        from packaging.requirements import Requirement

        needs = [Requirement(text) for text in (*self._metadata(), *UNSAID.get(self.project, ()))]
        series = ".".join(str(part) for part in python.series)
        there = {"extra": "", "python_version": series, "python_full_version": python.version}
        there |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": python.architecture}
        return [need for need in needs if need.marker is None or need.marker.evaluate(there)]

    def foreign_machine(self, architecture: str) -> str:
        """What its binaries are made for, if that is another processor than its name says; else ""."""
        wanted = ELF_MACHINES.get(architecture)
        with _opened(self.path) as archive:
            heads = [archive.open(name).read(20) for name in archive.namelist() if re.search(r"\.so(\.\d+)*$", name)]
        machines = {int.from_bytes(head[18:20], "little") for head in heads if head.startswith(b"\x7fELF")}
        names = {number: name for name, number in ELF_MACHINES.items()}
        return ", ".join(names.get(number, f"machine {number}") for number in sorted(machines - {wanted}))

    def _metadata(self) -> Sequence[str]:
        from packaging.metadata import parse_email

        with _opened(self.path) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            return parse_email(archive.read(names[0]))[0].get("requires_dist", []) if names else []


def choose(folder: Path, python: DevicePython, runtime: Runtime) -> list[Path]:
    """The wheels to install: an interpreter, numpy, and what they need as far as it is there.

    Args:
        folder: where the wheels lie; wheels for other devices may lie there too.
        python: the device's.
        runtime: which interpreter; "auto" takes LiteRT, then tflite-runtime.

    Raises:
        ToolMissing: none fits; those that do not are named, with what they are for.
    """
    if not folder.is_dir():
        raise ToolMissing(f"There is no folder of wheels {folder}.", expected="a folder with .whl files")
    wheels = [Wheel.read(path) for path in sorted(folder.glob("*.whl"))]
    fitting = sorted((wheel for wheel in wheels if wheel.tags & python.tags), key=lambda wheel: wheel.version)
    interpreter = _newest(fitting, _wanted(runtime))
    if interpreter is None:
        raise _none_fits("interpreter", _wanted(runtime), wheels, folder, python)
    chosen = _with_needs(interpreter, fitting, python)
    if "numpy" not in chosen and "numpy" not in python.packages:
        raise _none_fits("numpy", ["numpy"], wheels, folder, python)
    for wheel in chosen.values():
        _must_be_what_it_says(wheel, python)
    return [wheel.path for wheel in chosen.values()]


def _wanted(runtime: Runtime) -> list[str]:
    return [name for package, name in INTERPRETERS.items() if runtime in ("auto", package)]


def _newest(fitting: Sequence[Wheel], projects: Iterable[str], need: Requirement | None = None) -> Wheel | None:
    for project in projects:
        found = [
            each for each in fitting if each.project == project and (need is None or each.version in need.specifier)
        ]
        if found:
            return found[-1]
    return None


def _with_needs(interpreter: Wheel, fitting: Sequence[Wheel], python: DevicePython) -> dict[str, Wheel]:
    """The interpreter and, of what it needs directly or not, what lies there. Much of it is never imported."""
    from packaging.utils import canonicalize_name

    chosen = {interpreter.project: interpreter}
    waiting = interpreter.requirements(python)
    while waiting:
        need = waiting.pop()
        wheel = _newest(fitting, [canonicalize_name(need.name)], need)
        if wheel is not None and wheel.project not in chosen:
            chosen[wheel.project] = wheel
            waiting += wheel.requirements(python)
    return chosen


def _none_fits(
    what: str, projects: Sequence[str], wheels: Sequence[Wheel], folder: Path, python: DevicePython
) -> ToolMissing:
    others = [wheel.path.name for wheel in wheels if wheel.project in projects]
    if others:
        told = f"None of the wheels in {folder} fits the device ({python}): {', '.join(others)}."
    else:
        told = f"There is no wheel of {' or '.join(projects) or 'TensorFlow that is small enough'} in {folder}."
    return ToolMissing(
        told,
        expected=f"a wheel of {' or '.join(projects)} for {python}" if projects else "another runtime",
        mend=f"put one there: pip download --only-binary :all: --python-version {'.'.join(map(str, python.series))}"
        f" --platform manylinux_2_{python.glibc or OLDEST_GLIBC_MINOR}_{python.architecture} … ({what})",
    )


def _must_be_what_it_says(wheel: Wheel, python: DevicePython) -> None:
    machine = wheel.foreign_machine(python.architecture)
    if machine:
        raise ToolMissing(
            f"{wheel.path.name} holds programs for {machine}, whatever its name says; the device is {python}.",
            expected=f"a wheel made for {python.architecture}",
        )


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise TargetError(f"{path} cannot be read as a wheel: {error}.", mend="download it again") from error
