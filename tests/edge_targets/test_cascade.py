"""Two stages on a device: the script that runs there, and answers that cannot be trusted."""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import (
    Completed,
    DeviceError,
    DeviceInfo,
    Recording,
    Target,
    Unsupported,
    WrongInput,
    _on_device_cascade,
)
from edge_targets._base import Capabilities
from edge_targets._cascade import Exits, kernels_of_both
from edge_targets.host import HostTarget
from tests.edge_targets.stages import run_of_two_files

SOURCE = Path(_on_device_cascade.__file__)
DEVICE = {"machine": "m", "cpu_model": "c", "cores": 2, "memory_bytes": 8, "os": "o", "python": "3"}
FACTS = {"protocol": 1, "job": "cascade", "device": DEVICE, "runtime": "r", "runtime_version": "1", "kernels": "k"}
FACTS["rest_kernels"] = "k"
SCORES = np.arange(18, dtype=np.int8).reshape(3, 2, 3)
LEFT = np.array([True, False, True])


def test_it_is_python_3_7_with_numpy_alone() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 7))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} - sys.stdlib_module_names == {"numpy"}


def ran(model: Path, scores: bytes, left: bytes) -> Exits:
    """What the host makes of an answer about three examples."""
    answer = json.dumps({**FACTS, "examples": 3}).encode()
    recording = Recording([Completed(0, answer)], files={"outputs.npy": scores, "left.npy": left})
    return HostTarget(connect=lambda: recording).cascade((model, model), [np.zeros((3, 8, 8, 1), np.int8)], 0.5)


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_an_honest_answer_comes_through(int8_model: Path) -> None:
    found = ran(int8_model, npy(SCORES), npy(LEFT))
    assert (found.early == SCORES[:, 0]).all()
    assert (found.final == SCORES[:, 1]).all()
    assert (found.left == LEFT).all()


@pytest.mark.parametrize(
    ("scores", "left"),
    [
        (SCORES[:2], LEFT),
        (SCORES[:, :1], LEFT),
        (SCORES[:, 0], LEFT),
        (SCORES, LEFT[:2]),
        (SCORES, LEFT.astype(np.int8)),
        (SCORES, LEFT[:, None]),
    ],
)
def test_an_answer_about_other_examples_is_refused(scores: NDArray[Any], left: NDArray[Any], int8_model: Path) -> None:
    with pytest.raises(DeviceError, match="not those of two stages for 3 examples"):
        ran(int8_model, npy(scores), npy(left))


@pytest.mark.parametrize(
    ("first", "rest", "together"),
    [
        ("xnnpack", "xnnpack", "xnnpack"),
        ("xnnpack", "builtin", "xnnpack+builtin"),
        ("xnnpack+builtin", "xnnpack", "xnnpack+builtin"),
        ("unknown", "xnnpack", "unknown"),
        ("edgetpu", "edgetpu+cpu", "edgetpu+cpu"),
        ("edgetpu", "cpu", "edgetpu+cpu"),
        ("gpu+builtin", "gpu", "gpu+builtin"),
    ],
)
def test_two_stages_are_the_same_kernels_only_where_both_are(first: str, rest: str, together: str) -> None:
    assert kernels_of_both(first, rest) == kernels_of_both(rest, first) == together


def test_both_files_are_of_one_version_where_a_deploy_switches_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("old", "new"):
        run_of_two_files(tmp_path / version)
    current = tmp_path / "current"
    current.symlink_to("old")
    load, opened = _on_device_cascade.loaded, []

    def switch_and_load(path: Path) -> Any:
        current.unlink()
        current.symlink_to("new")
        opened.append(path.resolve().parent.name)
        return load(path)

    monkeypatch.setattr(_on_device_cascade, "loaded", switch_and_load)
    _on_device_cascade.told_by(current / "cascade.json")
    assert opened == ["old", "old"]


def test_what_is_no_array_is_refused(int8_model: Path) -> None:
    with pytest.raises(DeviceError, match=r"not a \.npy file"):
        ran(int8_model, npy(SCORES), b"True, False, True")


class OneStage(Target):
    """A target that evaluates, and knows nothing of stages."""

    provenance = "host"
    capabilities = Capabilities(evaluate=True)

    def _info(self) -> DeviceInfo:
        raise NotImplementedError

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: str) -> NDArray[Any]:
        raise NotImplementedError


def test_a_target_without_stages_says_so(int8_model: Path) -> None:
    with pytest.raises(Unsupported, match="runs no model of two stages"):
        OneStage().cascade((int8_model, int8_model), [], 0.5)


def test_no_examples_are_told(int8_model: Path) -> None:
    with pytest.raises(WrongInput, match="There are no examples"):
        HostTarget(connect=lambda: Recording([])).cascade((int8_model, int8_model), [], 0.5)
