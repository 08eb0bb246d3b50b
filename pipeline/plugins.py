"""The file name is the registration: a stage, target, data source, task or model is one file in its folder.

A file whose name begins with `_` is not a plugin. Listing the names imports nothing.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from pipeline.errors import UsageError

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent

FOLDERS = {
    "stages": "pipeline.stages",
    "targets": "edge_targets",
    "models": "models",
    "data": "pipeline.data",
    "tasks": "pipeline.tasks",
}


def names(package: str) -> list[str]:
    """The plugins of a package, by file name, sorted. Nothing is imported.

    Args:
        package: dotted name of one of `FOLDERS`' packages.
    """
    folder = ROOT.joinpath(*package.split("."))
    found = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return sorted(name for name in found if not name.startswith("_") and name not in _NOT_PLUGINS)


def module(package: str, name: str) -> ModuleType:
    """Import one plugin's file.

    Raises:
        UsageError: there is no such plugin; the message names the nearest one.
    """
    known = names(package)
    if name not in known:
        near = nearest(name, known)
        raise UsageError(
            f"There is no {_kind(package)} named '{name}'.",
            expected=f"one of: {', '.join(known)}",
            mend=f"did you mean '{near}'?" if near else "",
        )
    return importlib.import_module(f"{package}.{name}")


def plugin_class(package: str, name: str, base: type[T]) -> type[T]:
    """The one class of `base` that a plugin's file defines."""
    found = module(package, name)
    classes = [
        thing
        for thing in vars(found).values()
        if isinstance(thing, type)
        and issubclass(thing, base)
        and thing.__module__ == found.__name__
        and not thing.__name__.startswith("_")
    ]
    if len(classes) != 1:
        raise TypeError(f"{found.__name__} must define exactly one public {base.__name__}, it has {len(classes)}")
    return classes[0]


def nearest(word: str, known: list[str]) -> str:
    """The known word that a mistyped one most likely meant, or ''."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return close[0] if close else ""


def summary(plugin: ModuleType) -> str:
    """The first line of a plugin's docstring."""
    return (plugin.__doc__ or "").strip().splitlines()[0]


# Files of edge_targets that are public to the rest of the project and yet no devices.
_NOT_PLUGINS = {"tflite_cost", "tflite_graph"}


def _kind(package: str) -> str:
    folder = next(name for name, dotted in FOLDERS.items() if dotted == package)
    return {"data": "data source", "targets": "target", "stages": "stage", "models": "model", "tasks": "task"}[folder]
