"""What travels: smaller, and exactly the same bytes on arrival, unpacked by one file that needs nothing but Python."""

from __future__ import annotations

import ast
import gzip
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_targets import _unpack
from edge_targets._unpack import unmix
from pipeline.ota import mix, pack, unpack

UNPACKER = Path(_unpack.__file__)
MODEL = Path(__file__).parent / "edge_targets" / "data" / "tiny_int8.tflite"


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=512))
def test_the_round_trip_is_exact(data: bytes) -> None:
    assert unpack(pack(data)) == data


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=64, max_size=600), st.integers(1, 9), st.integers(1, 40))
def test_mix_is_exact_with_any_tensors(data: bytes, inner: int, row: int) -> None:
    sparse = bytes(byte if byte % 3 else 0 for byte in data)
    tensors = [(3, 20, inner, row), (30, len(data) - 30, row, inner)]
    assert unmix(mix(sparse, tensors)) == sparse


def test_a_standard_codec_is_taken_where_it_is_as_small() -> None:
    sparse = bytes(200_000) + bytes(range(256)) * 40
    parcel = pack(sparse)
    assert parcel.codec in ("xz", "lzma")
    assert lzma.decompress(parcel.data) == sparse
    assert len(parcel.data) <= len(gzip.compress(sparse, 9))
    assert pack(sparse) == parcel


def test_a_small_model_travels_in_less_than_any_standard_codec_takes() -> None:
    model = MODEL.read_bytes()
    parcel = pack(model)
    assert parcel.codec == "mix"
    assert len(parcel.data) < 0.95 * len(lzma.compress(model, preset=9 | lzma.PRESET_EXTREME))


def test_the_contexts_of_weights_pay_off() -> None:
    # Filters of 60 weights that are zero in the same places: a codec of bytes does not see them, the contexts do.
    rng = np.random.default_rng(0)
    kept = rng.random(60) < 0.3
    weights = (rng.integers(-8, 8, (80, 60)) * kept).astype(np.int8).tobytes()
    assert len(mix(weights, [(0, len(weights), 60, 60)])) < 0.9 * len(lzma.compress(weights, preset=9))


def test_the_unpacker_is_one_small_file_of_the_standard_library() -> None:
    text = UNPACKER.read_text("utf-8")
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names
    assert len(text.splitlines()) <= 150


@pytest.mark.parametrize("codec", ["gz", "xz", "lzma", "mix"])
def test_the_device_unpacks_by_that_file_alone(codec: str, tmp_path: Path) -> None:
    model = MODEL.read_bytes()
    packed = {
        "gz": gzip.compress(model),
        "xz": lzma.compress(model),
        "lzma": lzma.compress(model, format=lzma.FORMAT_ALONE),
        "mix": mix(model, []),
    }
    travelled = tmp_path / f"model.tflite.{codec}"
    travelled.write_bytes(packed[codec])
    script = tmp_path / "unpack.py"
    script.write_bytes(UNPACKER.read_bytes())
    subprocess.run([sys.executable, "-I", script, travelled, tmp_path / "model.tflite"], check=True)
    assert tmp_path.joinpath("model.tflite").read_bytes() == model


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_parcel_is_refused(damage: str) -> None:
    parcel = mix(MODEL.read_bytes(), [])
    damaged = {
        "cut": parcel[: len(parcel) // 2],
        "flipped": parcel[:100] + bytes([parcel[100] ^ 1]) + parcel[101:],
        "other": b"TFL3" + parcel[4:],
    }[damage]
    with pytest.raises(ValueError, match="damaged"):
        unmix(damaged)
