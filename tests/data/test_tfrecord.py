"""The tfrecord source: every way to store an input; damage is named by file and record."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data.tfrecord import TfRecord
from pipeline.errors import DataError
from tests.data.files import encoded, load, pixels

pytestmark = pytest.mark.tf


def feature(value: Any) -> Any:
    """What holds bytes, integers or floats."""
    from pipeline._tf import tf

    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    numbers = np.ravel(value)
    if numbers.dtype.kind in "iu":
        return tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
    return tf.train.Feature(float_list=tf.train.FloatList(value=numbers))


def write(path: Path, inputs: Iterable[Any], compression: str = "", **others: Any) -> Path:
    """A file with an image and a label (0, 1, 0, …) in each record."""
    from pipeline._tf import tf

    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for index, value in enumerate(inputs):
            given = {"image": value, "label": index % 2, **others}
            features = {name: feature(each) for name, each in given.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path


def images(count: int = 10, first: int = 0) -> list[Any]:
    return [pixels(first + index, 4, 5) for index in range(count)]


STORED: dict[str, Callable[[Any], Any]] = {
    "encoded_image": encoded,
    "raw_uint8": lambda image: image.tobytes(),
    "float": lambda image: image.astype(np.float32),
    "int": lambda image: image,
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_kind_of_input_is_the_same_image(kind: Any, compression: Any, tmp_path: Path) -> None:
    packing = {"none": "", "gzip": "GZIP"}[compression]
    write(tmp_path / "train.tfrecord", map(STORED[kind], images()), packing)
    write(tmp_path / "test.tfrecord", map(STORED[kind], images(4, first=50)), packing)
    source = TfRecord(
        train=tmp_path / "train.tfrecord",
        test=tmp_path / "test.tfrecord",
        x_kind=kind,
        x_shape=(4, 5, 3),
        compression=compression,
        divide_by=255,
    )
    data = load(source)
    assert (data.train.size, data.validation.size, data.test.size) == (9, 1, 4)
    x, y = next(data.test.batches(4))
    assert np.allclose(x * 255, np.stack(images(4, first=50)), atol=1e-3)
    assert y.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("train", ["shards", "shards/*.tfrecord", "shards/part-?.tfrecord"])
def test_folders_and_patterns_name_files(train: str, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    for shard in range(3):
        write(tmp_path / "shards" / f"part-{shard}.tfrecord", map(encoded, images(5, first=10 * shard)))
    data = load(TfRecord(train=tmp_path / train, x_shape=(4, 5, 3)))
    assert data.train.size + data.validation.size + data.test.size == 15
    assert data.test.size == 3


def raw(path: Path) -> TfRecord:
    return TfRecord(train=path, x_kind="raw_uint8", x_shape=(4, 5, 3))


def raw_file(folder: Path) -> Path:
    return write(folder / "data.tfrecord", (image.tobytes() for image in images()))


def record_bytes(path: Path) -> int:
    """Every record of `raw_file` has the same size, with its length and checksums."""
    [length] = struct.unpack("<Q", path.read_bytes()[:8])
    return int(length) + 16


def test_a_damaged_record_is_named_by_file_and_number(tmp_path: Path) -> None:
    path = raw_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[3 * record_bytes(path) + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"Record 3 of .*data\.tfrecord is damaged: corrupted record"):
        load(raw(path))


@pytest.mark.parametrize("kept", [5, 30, -1])
def test_a_truncated_file_is_named_by_file_and_number(kept: int, tmp_path: Path) -> None:
    path = raw_file(tmp_path)
    size = record_bytes(path)
    path.write_bytes(path.read_bytes()[: 4 * size + kept])
    with pytest.raises(DataError, match=rf"Record {4 if kept > 0 else 3} of .* goes beyond the end"):
        load(raw(path))


def checksum(content: bytes) -> int:
    """The masked CRC-32C of the format."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("length", [2**40, 2**62, 2**64 - 1])
def test_a_length_that_would_end_the_process_never_reaches_tensorflow(length: int, tmp_path: Path) -> None:
    head = struct.pack("<Q", length)
    path = tmp_path / "evil.tfrecord"
    path.write_bytes(head + struct.pack("<I", checksum(head)) + b"x" * 100)
    with pytest.raises(DataError, match=r"Record 0 of .* is too large"):
        load(raw(path))


def no_example(folder: Path) -> Path:
    from pipeline._tf import tf

    with tf.io.TFRecordWriter(str(folder / "bad")) as writer:
        writer.write(b"\xff\xff no example")
    return folder / "bad"


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no example": (no_example, "Record 0 of .* is damaged"),
    "no image": (lambda folder: write(folder / "bad", [b"no image"] * 4), "image of record 0 .* is no image"),
    "numbers": (lambda folder: write(folder / "bad", [np.zeros(3, int)] * 4), "holds numbers"),
    "no feature": (lambda folder: write(folder / "bad", [], image=b""), "holds no records"),
    "labels in words": (lambda folder: write(folder / "bad", map(encoded, images()), label=b"cat"), "holds bytes"),
    "no label": (lambda folder: write(folder / "bad", map(encoded, images()), label=np.zeros(0, int)), "holds nothing"),
    "no file": (lambda folder: folder / "nowhere-*", "There is no file"),
    "packed": (lambda folder: write(folder / "bad", map(encoded, images()), "GZIP"), "goes beyond the end"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named(name: str, tmp_path: Path) -> None:
    make, why = BAD[name]
    with pytest.raises(DataError, match=why):
        load(TfRecord(train=make(tmp_path), x_shape=(4, 5, 3)))


def test_settings_that_do_not_fit_the_file_are_named(tmp_path: Path) -> None:
    path = raw_file(tmp_path)
    with pytest.raises(DataError, match=r"record 0 of .* has 60 numbers"):
        load(TfRecord(train=path, x_kind="raw_uint8", x_shape=(3, 3)))
    with pytest.raises(DataError, match=r"record 0 of .* has no feature 'picture'") as caught:
        load(raw(path).model_copy(update={"x": "picture"}))
    assert "image, label" in caught.value.expected
    with pytest.raises(DataError, match="cannot be read"):
        load(raw(path).model_copy(update={"compression": "gzip"}))
    with pytest.raises(ValidationError, match="x_shape must be"):
        TfRecord(train=path, x_shape=(3, 3))


def test_where_the_files_lie_does_not_change_the_fingerprint(tmp_path: Path) -> None:
    path = raw_file(tmp_path)
    before = load(raw(path)).fingerprint
    assert load(raw(path.rename(tmp_path / "moved.tfrecord"))).fingerprint == before
