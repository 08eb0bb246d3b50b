"""Arrows point one way: read from the imports themselves, those inside functions and for type checkers too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

NOUNS = {
    *(
        "_children",
        "_mistakes",
        "_tf",
        "_yaml",
        "_yaml_file",
        "artifact",
        "augment",
        "check",
        "choice",
        "convert",
        "cost",
    ),
    *("dataset", "devices", "draft", "errors", "half", "interpreter", "latency"),
    *("plugins", "process", "progress", "quantize_configs", "settings", "stage", "storage", "task", "user_code"),
}
ROOMS = {"recipe", "intake", "stages", "data", "tasks", "verify", "report", "cache", "ota", "workplace"}
PRIVATE = {
    "_recipe_written": "recipe",
    "_intake": "intake",
    "_convert": "convert",
} | {
    "_precision": "verify",
    "_promises": "verify",
    "cascade": "verify",
    "_sqnr": "verify",
    "_uncut": "verify",
    "_fewest": "sensitivity",
    "_keepable": "sensitivity",
    "_evidence": "advice",
    "_known": "advice",
    "_inspect_keras": "inspection",
    "_inspect_tflite": "inspection",
    "_node_data": "inspection",
}
ABOVE = {
    "forge": ROOMS | {"sensitivity"},
    "sensitivity": ROOMS,
    "advice": ROOMS,
    "inspection": ROOMS | {"advice"},
    "comparison": ROOMS,
    "doctor": set[str](),
    "history": set[str](),
    "tracking": set[str](),
    "regressions": {"history"},
    "measure": ROOMS,
    "bundle": ROOMS,
    "evaluation": ROOMS | {"measure"},
    "benchmark": ROOMS | {"measure", "evaluation"},
    "deployment": ROOMS | {"bundle", "measure", "evaluation"},
    "flow": ROOMS | {"forge", "measure", "advice"},
    "commands": ROOMS
    | {
        "flow",
        "doctor",
        "history",
        "inspection",
        "comparison",
        "regressions",
        "tracking",
        "benchmark",
        "evaluation",
        "deployment",
        "console",
    },
    "cli": {"commands"},
    "console": set[str](),
}
HEAVY = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}

FILES = sorted(path for top in ("pipeline", "models", "edge_targets") for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, and whether that happens when the file itself is imported."""
    tree = ast.parse(path.read_text("utf-8"))
    inner = {
        id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inner) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) not in inner
            yield from ((f"{node.module}.{alias.name}", id(node) not in inner) for alias in node.names)


def room_of(module: str) -> str:
    """The file or folder of `pipeline` that a dotted name lies in."""
    name = module.partition(".")[2].partition(".")[0]
    return PRIVATE.get(name, name)


def allowed(room: str) -> set[str]:
    """The rooms that one may import."""
    if room in NOUNS:
        return NOUNS
    return NOUNS | {room} | ABOVE.get(room, set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_one_way(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    ours = {module for module, _ in imports(path) if module.split(".")[0] == "pipeline" and "." in module}
    if parts[0] != "pipeline":
        assert not ours, f"{parts[0]} must not know the pipeline"
        return
    if parts[1] in ("__init__", "__main__"):
        return
    room = PRIVATE.get(parts[1], parts[1])
    known = NOUNS | ROOMS | set(ABOVE)
    reached = {room_of(module) for module in ours} & known
    assert room in known, f"{room} has no place in the plan: name it in DESIGN.md's rooms and here"
    assert reached <= allowed(room), f"{room} must not import {sorted(reached - allowed(room))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_heavy_is_imported_at_import(path: Path) -> None:
    at_import = {module.split(".")[0] for module, on_import in imports(path) if on_import}
    if path.name != "_tf.py":
        assert not at_import & HEAVY
        assert not any(module == "pipeline._tf" for module, on_import in imports(path) if on_import)


def test_only_one_file_picks_keras() -> None:
    picking = {
        path.name
        for path in (ROOT / "pipeline").rglob("*.py")
        if any(module.split(".")[0] in ("tf_keras", "keras") for module, _ in imports(path))
    }
    assert picking == {"_tf.py"}
