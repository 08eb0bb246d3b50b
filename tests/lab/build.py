"""Builds the parts of the lab, side by side, into the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType

from tests.lab import adbd_build, android_root, apt, cache, python, tools, userland, wheels
from tests.lab.apt import Apt
from tests.lab.packages import (
    TOOLS,
    USERLAND,
    USERLAND_ARMHF,
    WHEELS,
    pinned,
)

Make = Callable[[Apt, Path], None]


@dataclass(frozen=True)
class Part:
    """A folder of the cache.

    Attributes:
        name: what it is.
        key: a hash of what it is built from.
        make: fills an empty folder, given apt.
    """

    name: str
    key: str
    make: Make

    @cached_property
    def path(self) -> Path:
        return cache.folder() / "parts" / f"{self.name}-{self.key}"


def parts() -> dict[str, Part]:
    """Every part of the lab, the slowest first."""
    return {
        part.name: part
        for part in (
            _part("adbd", adbd_build, *adbd_build.ingredients()),
            _userland("armhf", USERLAND_ARMHF),
            _userland("arm64", USERLAND),
            _part("tools", tools, *TOOLS),
            _wheels("aarch64"),
            _wheels("armv7l"),
            _part("android", android_root, *android_root.ingredients()),
        )
    }


def _userland(architecture: str, packages: list[str]) -> Part:
    return _part(architecture, userland, *_code(python), *packages, given=(architecture, packages))


def _wheels(machine: str) -> Part:
    return _part(f"wheels-{machine}", wheels, *_code(python), *pinned(WHEELS[machine]), given=(machine,))


def _part(name: str, module: ModuleType, *ingredients: str | bytes, given: tuple[object, ...] = ()) -> Part:
    """A part that `module.make` makes; it is made anew when that file, or what it is given, changes."""
    return Part(name, cache.key(*_code(module, apt), *ingredients), partial(module.make, *given))


def _code(*modules: ModuleType) -> list[bytes]:
    return [Path(str(module.__file__)).read_bytes() for module in modules]


def is_built() -> bool:
    """Whether a lab can start at once."""
    return all(part.path.exists() for part in parts().values())


def build() -> dict[str, Path]:
    """Build what is missing; gives the folder of each part. A second build at the same time waits for the first."""
    wanted = parts()
    with cache.locked(cache.folder() / "build.lock"):
        absent = [part for part in wanted.values() if not part.path.exists()]
        if absent:
            _make(absent)
    return {name: part.path for name, part in wanted.items()}


def _make(absent: list[Part]) -> None:
    scratch = cache.folder() / "apt.half"
    # We hold the lock: what is half was left by builds that were ended hard, maybe of other keys.
    for half in [scratch, *cache.folder().glob("parts/*.half")]:
        shutil.rmtree(half, ignore_errors=True)
    try:
        source = Apt(scratch)
        # Downloads and compilers take turns with the processor: three at a time keep both busy.
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(cache.build, part.path, partial(part.make, source)) for part in absent]
            for future in futures:
                future.result()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
