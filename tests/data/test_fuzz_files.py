"""Damaged files of every kind: each load works or says what is wrong; nothing else comes out, and nothing crashes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.audio import Audio
from pipeline.data.images import Images
from pipeline.data.npz import Npz
from pipeline.data.tfrecord import TfRecord
from pipeline.dataset import DataSource
from pipeline.errors import DataError, StorageError
from tests.data.files import damaged, digit_files, image_files, load, pixels, write_files, write_zip

pytestmark = pytest.mark.tf

MUTATIONS = 300


def image_in_folder(kind: str) -> Callable[[Path], tuple[Path, DataSource]]:
    def make(folder: Path) -> tuple[Path, DataSource]:
        files = image_files(each=3, kind=kind)
        return write_files(folder, files) / next(iter(files)), Images(path=folder, size=(8, 8))

    return make


def image_zip(folder: Path) -> tuple[Path, DataSource]:
    path = write_zip(folder / "set.zip", image_files(each=3))
    return path, Images(path=path, size=(8, 8))


def wav_in_folder(folder: Path) -> tuple[Path, DataSource]:
    files = digit_files(speakers=1, each=3)
    source = Audio(
        path=folder, labels="{label}_{_}_{index}", sample_rate=8000, duration_s=0.2, resample=True, mel_bins=20
    )
    return write_files(folder, files) / next(iter(files)), source


def npz(folder: Path) -> tuple[Path, DataSource]:
    x, y = np.arange(240, dtype=np.uint8).reshape(12, 20), np.arange(12) % 2
    np.savez(folder / "data.npz", x_train=x[:8], y_train=y[:8], x_test=x[8:], y_test=y[8:])
    return folder / "data.npz", Npz(path=folder / "data.npz")


def tfrecord(folder: Path) -> tuple[Path, DataSource]:
    from pipeline._tf import tf

    path = folder / "data.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for index in range(8):
            features = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[pixels(index, 2, 2).tobytes()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[index % 2])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path, TfRecord(train=path, x_kind="raw_uint8", x_shape=(2, 2, 3))


KINDS: dict[str, Callable[[Path], tuple[Path, DataSource]]] = {
    "png": image_in_folder("PNG"),
    "jpeg": image_in_folder("JPEG"),
    "zip": image_zip,
    "wav": wav_in_folder,
    "npz": npz,
    "tfrecord": tfrecord,
}


@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_data_or_in_a_message(kind: str, tmp_path: Path) -> None:
    path, source = KINDS[kind](tmp_path)
    whole = path.read_bytes()
    load(source)
    dice = random.Random(kind)
    ends: Counter[str] = Counter()
    for _ in range(MUTATIONS):
        path.write_bytes(damaged(whole, dice))
        try:
            load(source)
            ends["loaded"] += 1
        except (DataError, StorageError) as error:
            assert error.what and error.expected
            ends["refused"] += 1
    # Were all of them refused or none, the fuzzing would not reach what it is for.
    assert ends["refused"] > MUTATIONS / 20, ends


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_reader_never_sees_what_the_settings_rule_out(kind: str, tmp_path: Path) -> None:
    """Where damaged files may be skipped, the rest loads, and each that was skipped is counted."""
    path, source = KINDS[kind](tmp_path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    skipping = source.model_copy(update={"unreadable": "skip"})
    assert "1 of 6 files cannot be used" in load(skipping).notes[0]
