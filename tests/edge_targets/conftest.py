"""Two small models of ours, one net as float32 and as int8 (made by data/make.py); and the real adb client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge_targets import adb_program

DATA = Path(__file__).parent / "data"


@pytest.fixture
def int8_model() -> Path:
    """int8 from border to border, input (1, 8, 8, 1)."""
    return DATA / "tiny_int8.tflite"


@pytest.fixture
def float_model() -> Path:
    """The same net in float32."""
    return DATA / "tiny_float32.tflite"


@pytest.fixture
def crashing_model(int8_model: Path, tmp_path: Path) -> Path:
    """The int8 net with one byte changed: its table of contents is cut off, and interpreters fall into the hole."""
    broken = bytearray(int8_model.read_bytes())
    broken[20] = 0
    path = tmp_path / "crashing.tflite"
    path.write_bytes(broken)
    return path


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[adb_program.AdbServer]:
    """The real client with a server of its own."""
    with adb_program.adb_server(tmp_path_factory.mktemp("adb") / "tools & $(more)") as server:
        if server is None:
            pytest.skip("the real adb client is not installed, and Debian's package of it cannot be had here")
        yield server
