"""Imports python files of users: their folder is the first to import from, and nothing of ours stands in its way.

`models` and `pipeline` are common names, so a user's file may well import a package of such a name. Standard library
only: it runs in children before anything else is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

OURS = ("pipeline", "models", "edge_targets")

_ROOT = Path(__file__).resolve().parent.parent.parent


class _OnlyTheirs(importlib.abc.MetaPathFinder):
    """Looks for a package with one of our names in the user's folders alone."""

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in OURS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, self._folders)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec


def hide_ours(path: Path) -> None:
    """From here on, import for a user's file: from its folder first, and nothing of ours.

    Args:
        path: the user's python file.
    """
    folders = list(dict.fromkeys([str(path.parent), str(_package(path)[0])]))
    sys.path[:] = [*folders, *(entry for entry in sys.path if Path(entry or ".").resolve() != _ROOT)]
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.meta_path.insert(0, _OnlyTheirs(folders))
    # Python tells a stale compiled file by second and size alone: it would miss a quick edit. And the folder is theirs.
    sys.dont_write_bytecode = True


@contextlib.contextmanager
def ours_hidden(path: Path) -> Iterator[None]:
    """`hide_ours` for a block. Afterwards the user's modules are forgotten, so that they can be imported once more."""
    before, paths, finders = dict(sys.modules), sys.path[:], sys.meta_path[:]
    writes_nothing = sys.dont_write_bytecode
    root = _package(path)[0]
    hide_ours(path)
    try:
        yield
    finally:
        sys.path[:], sys.meta_path[:] = paths, finders
        sys.dont_write_bytecode = writes_nothing
        for name in [name for name in sys.modules if name not in before and _lies_in(sys.modules[name], root)]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if name.partition(".")[0] in OURS})


def load_file(path: Path) -> ModuleType:
    """Import a python file under its own name; in a package, under the package's, so that `from .x import` works."""
    _, name = _package(path)
    if "." in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def where_it_failed(error: BaseException, folder: Path) -> str:
    """`builder.py, line 12: ValueError: …`: the last place in the user's own files."""
    places = traceback.extract_tb(error.__traceback__)
    theirs = [place for place in places if Path(place.filename).is_relative_to(folder)]
    where = f"{Path(theirs[-1].filename).name}, line {theirs[-1].lineno}: " if theirs else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{Path(error.filename).name}, line {error.lineno}: "
    return f"{where}{type(error).__name__}: {error}"


def _package(path: Path) -> tuple[Path, str]:
    """The folder to import a file from, and its dotted name there."""
    folder, name = path.parent, path.stem
    while folder.name.isidentifier() and (folder / "__init__.py").is_file():
        folder, name = folder.parent, f"{folder.name}.{name}"
    return folder, name


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    # An environment may lie in the folder of the project; what is installed there is not the user's.
    return file is not None and Path(file).is_relative_to(folder) and "site-packages" not in file
