"""Which wheels fit which Python, by their names and by what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_targets._errors import TargetError, ToolMissing
from edge_targets._measurement import Runtime
from edge_targets._wheels import DevicePython, choose
from tests.edge_targets.wheels import made_up

LITERT = "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl"
TFLITE = "tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_aarch64.whl"
TFLITE_32 = "tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l.whl"
NUMPY = "numpy-1.26.4-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"
NUMPY_2 = "numpy-2.1.0-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"
PURE = "typing_extensions-4.12.0-py3-none-any.whl"


def device(
    architecture: str = "aarch64", version: str = "3.11.2", glibc: int | None = 36, packages: tuple[str, ...] = ()
) -> DevicePython:
    return DevicePython(version, architecture, glibc, frozenset(packages), "/root", frozenset())


def chosen(folder: Path, python: DevicePython, runtime: Runtime = "auto") -> set[str]:
    return {path.name for path in choose(folder, python, runtime)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What somebody who has several boards carries along."""
    made_up(
        tmp_path, LITERT, needs=("numpy>=1.23", "typing-extensions", "absent", 'lark; extra == "tools"'), machine=183
    )
    made_up(tmp_path, "lark-1.0-py3-none-any.whl")
    for name in (NUMPY, NUMPY_2, PURE):
        made_up(tmp_path, name)
    made_up(tmp_path, TFLITE, needs=("numpy>=1.23",), machine=183)
    made_up(tmp_path, TFLITE_32, needs=("numpy>=1.23",), machine=40)
    made_up(tmp_path, "tensorflow-2.16.0-cp311-cp311-manylinux_2_17_aarch64.whl")
    return tmp_path


def test_the_newest_that_fit_are_taken_with_what_they_need(folder: Path) -> None:
    assert chosen(folder, device()) == {LITERT, NUMPY_2, PURE}
    assert chosen(folder, device(), "tflite_runtime") == {TFLITE, NUMPY}


def test_32_bits_take_numpy_from_the_device(folder: Path) -> None:
    assert chosen(folder, device("armv7l", packages=("numpy",))) == {TFLITE_32}
    with pytest.raises(ToolMissing, match=r"None of the wheels .* fits the device \(Python 3\.11\.2, armv7l.*numpy-1"):
        chosen(folder, device("armv7l"))


def test_an_older_glibc_takes_what_asks_for_less(folder: Path) -> None:
    assert chosen(folder, device(glibc=31)) == {LITERT, NUMPY_2, PURE}
    with pytest.raises(ToolMissing, match=f"glibc 2.31.*: {TFLITE}, {TFLITE_32}"):
        chosen(folder, device(glibc=31), "tflite_runtime")


@pytest.mark.parametrize(
    "python",
    [device("x86_64"), device(version="3.12.1"), device(version="3.9.0"), device(glibc=None), device("armv6l")],
)
def test_what_fits_nothing_is_told_with_all_names(folder: Path, python: DevicePython) -> None:
    with pytest.raises(ToolMissing) as caught:
        chosen(folder, python)
    assert f"fits the device ({python}): {LITERT}, {TFLITE}, {TFLITE_32}." in caught.value.what
    assert "pip download" in caught.value.mend


def test_a_wheel_under_a_false_name_is_found_out(tmp_path: Path) -> None:
    made_up(tmp_path, LITERT, machine=62)
    with pytest.raises(ToolMissing, match=f"{LITERT} holds programs for x86_64, whatever its name says"):
        chosen(tmp_path, device(packages=("numpy",)))


def test_what_is_no_wheel_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="no folder of wheels"):
        chosen(tmp_path / "nothing", device())
    with pytest.raises(ToolMissing, match="no wheel of ai-edge-litert or tflite-runtime in"):
        chosen(tmp_path, device())
    tmp_path.joinpath(LITERT).write_bytes(b"PK\3\4 cut off")
    with pytest.raises(TargetError, match="cannot be read as a wheel"):
        chosen(tmp_path, device(packages=("numpy",)))
    tmp_path.joinpath("my copy.whl").touch()
    with pytest.raises(ToolMissing, match=r"my copy\.whl has no wheel's name"):
        chosen(tmp_path, device())


def test_tensorflow_is_never_carried(folder: Path) -> None:
    with pytest.raises(ToolMissing, match="There is no wheel"):
        chosen(folder, device(), "tensorflow")
