"""The npz source: good archives load; every bad one is an error that names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.npz import Npz
from pipeline.errors import DataError
from pipeline.progress import Progress
from pipeline.tasks.classification import Classification

GOOD = {
    "x_train": np.arange(40 * 4, dtype=np.uint8).reshape(40, 2, 2),
    "y_train": np.arange(40) % 4,
    "x_test": np.full((8, 2, 2), 255, np.uint8),
    "y_test": np.arange(8) % 4,
}


def load(folder: Path, arrays: dict[str, Any], **settings: Any) -> Any:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return Npz(path=path, **settings).load(Classification(), seed=0, progress=Progress())


def test_a_good_archive_loads_in_three_splits(tmp_path: Path) -> None:
    data = load(tmp_path, GOOD, divide_by=255, add_channel=True, validation_fraction=0.25)
    assert (data.train.size, data.validation.size, data.test.size) == (30, 10, 8)
    assert data.input_shape == (2, 2, 1)
    assert data.num_outputs == 4
    assert next(data.test.batches(8))[0].max() == 1.0


def test_training_and_validation_share_no_example(tmp_path: Path) -> None:
    data = load(tmp_path, GOOD)
    rows = [{x.tobytes() for batch, _ in part.batches(100) for x in batch} for part in (data.train, data.validation)]
    assert not rows[0] & rows[1]
    assert len(rows[0] | rows[1]) == 40


def test_the_fingerprint_follows_content_settings_and_seed(tmp_path: Path) -> None:
    prints = {load(tmp_path, GOOD).fingerprint, load(tmp_path, GOOD, divide_by=2).fingerprint}
    prints.add(load(tmp_path, {**GOOD, "y_train": (np.arange(40) + 1) % 4}).fingerprint)
    assert len(prints) == 3
    assert load(tmp_path, GOOD).fingerprint in prints


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "wrong key": ({"x_train": None, "images": GOOD["x_train"]}, "has no array 'x_train'"),
    "object arrays": ({"x_train": np.array([{}, []], dtype=object)}, "pickled objects are refused"),
    "text": ({"x_train": np.array(["a"] * 40)}, "expected: integers or floats"),
    "complex": ({"x_train": np.zeros((40, 2, 2), complex)}, "expected: integers or floats"),
    "NaN": ({"x_train": np.where(np.arange(160) == 7, np.nan, 0.5).reshape(40, 2, 2)}, "first is number 1"),
    "infinite": ({"x_test": np.full((8, 2, 2), np.inf)}, "NaN or infinite"),
    "different lengths": ({"y_train": np.arange(39) % 4}, "40 inputs and 39 targets"),
    "no samples": ({"x_test": np.zeros((0, 2, 2)), "y_test": np.zeros(0, int)}, "test split is empty"),
    "one class": ({"y_train": np.zeros(40, int)}, "one class only: 0"),
    "negative label": ({"y_train": np.arange(40) % 4 - 1}, "out of range"),
    "test label beyond": ({"y_test": np.full(8, 4)}, "out of range"),
    "a class is missing": ({"y_train": np.arange(40) % 2 * 9}, "first that is missing: 1"),
    "one-hot labels": ({"y_train": np.eye(4)[np.arange(40) % 4]}, "argmax"),
    "float labels": ({"y_train": np.arange(40) % 4 + 0.5}, "one integer an example"),
    "other shapes": ({"x_test": np.zeros((8, 3, 3))}, "expected: one shape"),
    "a single number": ({"x_train": np.float32(3)}, "single number"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_named(name: str, tmp_path: Path) -> None:
    changes, said = BAD[name]
    arrays = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(DataError) as caught:
        load(tmp_path, arrays)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 half a zip", b"\x93NUMPY\x01\x00", b"\x80\x04\x95pickle", b"text"]
)
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz"):
        Npz(path=path).load(Classification(), seed=0, progress=Progress())


def test_a_bare_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.zeros(3))
    with pytest.raises(DataError, match="one bare array"):
        Npz(path=tmp_path / "data.npy").load(Classification(), seed=0, progress=Progress())


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_archive_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError):
        Npz(path=path).load(Classification(), seed=0, progress=Progress())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no file .*nowhere\.npz"):
        Npz(path=tmp_path / "nowhere.npz").load(Classification(), seed=0, progress=Progress())
