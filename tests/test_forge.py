"""What a run remembers beyond its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import forge, ota
from pipeline.cache import Cache
from pipeline.progress import Progress

INT8 = Path(__file__).parent / "edge_targets" / "data" / "tiny_int8.tflite"


def test_what_travels_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cache = INT8.read_bytes(), Cache(tmp_path)
    first = forge._packed(model, cache, Progress())
    assert first == ota.pack(model)
    # From here on nothing can be packed any more.
    monkeypatch.delattr(ota, "pack")
    second = forge._packed(model, cache, Progress())
    assert second == first
    assert ota.unpack(second) == model
