"""What is asked of a device's Python, and what is put beside it: in child processes of this machine."""

from __future__ import annotations

import ast
import json
import os
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edge_targets import Completed, DeviceError, Local, Recording, ToolMissing, _on_device_install
from edge_targets._install import Install
from tests.edge_targets.wheels import made_up

SOURCE = Path(_on_device_install.__file__)
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
LITERT = f"ai_edge_litert-2.3.0-{TAG}-{TAG}-linux_x86_64.whl"
PYTHON: dict[str, Any] = {"protocol": 1, "job": "python", "version": "3.11.2", "machine": "aarch64", "bits": 64}
PYTHON |= {"libc": "glibc 2.36", "packages": ["numpy"], "root": "/home/pi/x", "installed": []}


def told(**changes: Any) -> Install:
    answer = json.dumps({**PYTHON, **changes}).encode()
    return Install(Recording([Completed(0, answer)]), "python3", "~/x")


def test_it_is_python_3_7_and_the_standard_library() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 7))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in named} <= sys.stdlib_module_names


def test_a_32_bit_system_on_a_64_bit_kernel_is_seen() -> None:
    assert told().python.architecture == "aarch64"
    assert told(bits=32).python.architecture == "armv7l"
    assert told(machine="armv7l", bits=32).python.architecture == "armv7l"
    assert str(told(libc="").python) == "Python 3.11.2, aarch64, another libc than glibc"


@pytest.mark.parametrize(
    "lie",
    [
        {"version": "new"},
        {"version": 3},
        {"bits": "64"},
        {"packages": "numpy"},
        {"packages": [1]},
        {"root": "relative"},
        {"root": "/a\n/b"},
        {"root": "/" + "x" * 5000},
        {"installed": None},
        {"machine": None},
    ],
)
def test_answers_of_another_shape_are_refused(lie: dict[str, Any]) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted"):
        told(**lie)


def test_wheels_are_unpacked_whole_and_nowhere_else(tmp_path: Path) -> None:
    root = tmp_path / "it's $(here)"
    wheel = made_up(tmp_path, LITERT)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("../../../outside", "")
        archive.writestr("/outside", "")
        archive.writestr("ai_edge_litert-2.3.0.data/purelib/beside.py", "")
    with Local() as transport:
        folder = Path(Install(transport, sys.executable, str(root)).unpack([wheel]))
        again = Install(transport, sys.executable, str(root))
    assert folder.parent == root
    assert folder.name in again.python.installed
    assert {path.name for path in folder.iterdir()} >= {"ai_edge_litert", "beside.py"}
    assert list(root.iterdir()) == [folder]
    assert list(tmp_path.rglob("outside")) == [folder / "outside"]


def test_a_broken_wheel_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / LITERT
    broken.write_bytes(b"PK no")
    with Local() as transport, pytest.raises(DeviceError, match="not a zip file"):
        Install(transport, sys.executable, str(tmp_path / "root")).unpack([broken])
    assert not list((tmp_path / "root").iterdir())


def test_several_at_once_agree(tmp_path: Path) -> None:
    wheel = made_up(tmp_path, LITERT)
    found = []

    def install() -> None:
        with Local() as transport:
            found.append(Install(transport, sys.executable, str(tmp_path / "root")).unpack([wheel]))

    threads = [threading.Thread(target=install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert [str(path) for path in (tmp_path / "root").iterdir()] == list({*found})


def test_what_was_left_half_done_goes_after_a_day(tmp_path: Path) -> None:
    old, new = (tmp_path / "root" / name for name in (".half-old", ".half-new"))
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    with Local() as transport:
        Install(transport, sys.executable, str(tmp_path / "root")).unpack([made_up(tmp_path, LITERT)])
    assert not old.exists()
    assert new.exists()


def test_pip_fetches_what_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    with Local() as transport:
        install = Install(transport, sys.executable, str(tmp_path / "root"))
        with pytest.raises(DeviceError, match=r"pip could not install ai-edge.*No matching distribution"):
            install.fetch("auto")
        assert not list((tmp_path / "root").iterdir())
        for name in (LITERT, f"numpy-1.26.4-{TAG}-{TAG}-linux_x86_64.whl"):
            made_up(index, name)
        folder = Path(install.fetch("auto"))
    assert {"ai_edge_litert", "numpy"} <= {path.name for path in folder.iterdir()}


def test_numpy_is_left_to_a_32_bit_device_that_has_it() -> None:
    answers = [json.dumps({**PYTHON, "bits": 32, "packages": found}).encode() for found in (["numpy"], [])]
    asked = []
    for answer in answers:
        recording = Recording([Completed(0, answer), Completed(0, b'{"protocol": 1, "job": "pip"}')])
        Install(recording, "python3", "~/x").fetch("auto")
        asked.append(json.loads(recording.calls[1].stdin))
    assert [(job["requirements"], job["needs"]) for job in asked] == [
        (["tflite-runtime"], False),
        (["tflite-runtime", "numpy<2"], True),
    ]


def test_32_bits_fetch_tflite_runtime_and_tensorflow_is_not_fetched() -> None:
    narrow = told(bits=32, installed=["pip-tflite_runtime-3.11-armv7l"])
    assert narrow.fetch("auto") == "/home/pi/x/pip-tflite_runtime-3.11-armv7l"
    with pytest.raises(ToolMissing, match="too large"):
        narrow.fetch("tensorflow")
