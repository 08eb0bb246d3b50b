"""`edgesmith inspect`, as a shell sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small import Command

pytestmark = pytest.mark.e2e

INT8 = Path(__file__).resolve().parents[1] / "edge_targets" / "data" / "tiny_int8.tflite"


def test_a_table_for_people_and_json_for_programs(edgesmith: Command) -> None:
    done = edgesmith("inspect", INT8)
    assert (done.returncode, done.stderr) == (0, "")
    assert "FULLY_CONNECTED" in done.stdout
    assert "\x1b" not in done.stdout
    document = json.loads(edgesmith("inspect", INT8, "--json").stdout)
    assert document["schema"] == 1
    assert [row["name"] for row in document["operators"]] == ["conv", "flatten", "logits"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("garbage.tflite", b"\x00" * 99, 3),
        ("cut.tflite", INT8.read_bytes()[:600], 3),
        ("none.tflite", None, 2),
        ("none.keras", None, 2),
        ("garbage.keras", b"\x00" * 99, 3),
    ],
)
def test_what_is_no_model_is_a_message(name: str, content: bytes | None, code: int, edgesmith: Command) -> None:
    path = edgesmith.home / name
    if content is not None:
        path.write_bytes(content)
    done = edgesmith("inspect", path, "--json")
    assert (done.returncode, done.stdout) == (code, "")
    assert name in done.stderr
    assert "Traceback" not in done.stderr
