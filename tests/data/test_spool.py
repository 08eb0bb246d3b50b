"""The spool: examples come back as they went in, in any order; a set larger than the memory is read and trained on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.data._spool import Spool
from pipeline.errors import DataError, StorageError
from tests.data.files import encoded, wav, write_zip

MIB = 2**20


def spool(count: int = 10) -> Spool:
    filled = Spool((2,), np.int16, divide_by=4.0)
    for index in range(count):
        filled.add(np.array([index, -index]), index % 3, group=f"g{index // 2}", source=f"row {index}")
    return filled


def test_examples_come_back_in_order_and_scaled() -> None:
    split = spool().split()
    batches = list(split.batches(4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    x = np.concatenate([x for x, _ in batches])
    assert x.dtype == np.float32
    assert (x[:, 0] == np.arange(10) / 4).all()
    assert split.targets().tolist() == [index % 3 for index in range(10)]


def test_any_choice_of_examples_is_a_split() -> None:
    split = spool().split().take(np.array([7, 2, 2])).take(np.array([0, 2]))
    [(x, y)] = split.batches(9)
    assert (x[:, 0] * 4).tolist() == [7, 2]
    assert y.tolist() == [1, 2]
    assert split.with_targets(np.array([8, 9])).targets().tolist() == [8, 9]


def test_the_same_content_has_the_same_name() -> None:
    filled = Spool((2,), np.float32)
    for values in ([1, 2], [1.0, 2.0], [1, 3]):
        filled.add(np.array(values), 0, source="a test")
    assert filled.digests[0] == filled.digests[1] != filled.digests[2]


def test_bad_examples_are_named() -> None:
    with pytest.raises(DataError, match=r"row 3 has shape \(3,\)"):
        spool().add(np.zeros(3), 0, source="row 3")
    for value in (np.nan, np.inf, 1e300):
        with pytest.raises(DataError, match="row 3 holds NaN or infinite"):
            Spool((1,), np.float32).add(np.array([value]), 0, source="row 3")


def test_no_file_is_left_behind_while_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    split = spool().split()
    assert not list(tmp_path.iterdir())
    assert next(split.batches(1))[0].shape == (1, 2)


def test_files_are_closed_with_their_last_user() -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the count is all that matters
    kept = spool().split().take(np.array([1, 2]))
    assert len(os.listdir("/proc/self/fd")) == before + 1  # noqa: PTH208
    assert len(next(kept.batches(2))[0]) == 2
    del kept
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    code = """
import resource, signal
import numpy as np
from pipeline.data._spool import Spool
from pipeline.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
spool = Spool((1000,), np.uint8)
try:
    for index in range(9):
        spool.add(np.zeros(1000), 0, source="a test")
except StorageError as error:
    print(len(spool), error)
"""
    said = subprocess.run([sys.executable, "-c", code], check=True, text=True, stdout=-1).stdout
    assert said.startswith("2 The temporary folder")
    assert "set TMPDIR" in said
    assert StorageError.exit_code == 3


@pytest.mark.tf
def test_tensorflow_sees_the_same_examples() -> None:
    split = spool(50).split()
    whole = np.concatenate([x for x, _ in split.batches(50)])
    ordered = [(x.numpy(), y.numpy()) for x, y in split.ordered(8)]
    assert np.array_equal(np.concatenate([x for x, _ in ordered]), whole)
    assert np.concatenate([y for _, y in ordered]).tolist() == split.targets().tolist()

    def epochs(seed: int) -> list[list[float]]:
        batches = split.shuffled(8, seed)
        return [np.concatenate([x.numpy()[:, 0] for x, _ in batches]).tolist() for _ in range(2)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == whole[:, 0].tolist()
    assert first != second
    assert epochs(1) == [first, second] != epochs(2)


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from pipeline.data.audio import Audio
from pipeline.data.images import Images
from pipeline.data.npz import Npz
from tests.data.files import load

def limit(room_bytes):
    status = Path("/proc/self/status").read_text()
    used = int(status.split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + room_bytes,) * 2)

path, kind = Path(sys.argv[1]), sys.argv[2]
source = {
    "npz": lambda: Npz(path=path, divide_by=255),
    "images": lambda: Images(path=path, size=(256, 256)),
    "audio": lambda: Audio(path=path, sample_rate=8000, duration_s=20, features="waveform"),
}[kind]()
"""

READ_ALL = """
load(Npz(path=path.with_name("small.npz"), divide_by=255))
import PIL.Image, PIL.PngImagePlugin, scipy.io.wavfile
limit(48 * 2**20)
try:
    np.ones(64 * 2**20, np.uint8)
except MemoryError:
    print("limited")
data = load(source)
print(sum(x.nbytes for part in (data.train, data.validation, data.test) for x, _ in part.batches(4)))
"""

TRAIN = """
import threading, time
from pipeline._tf import keras

def fit(source):
    data = load(source)
    validation = data.validation_batches(16)
    return model.fit(data.training_batches(16, 1), validation_data=validation, verbose=0).history["loss"][0]

def own_bytes():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

def watch():
    global most_bytes
    while True:
        most_bytes = max(most_bytes, own_bytes())
        time.sleep(0.01)

layers = [keras.layers.InputLayer((128, 1024)), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)]
model = keras.Sequential(layers)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
fit(Npz(path=path.with_name("small.npz"), divide_by=255))
before_bytes = most_bytes = own_bytes()
threading.Thread(target=watch, daemon=True).start()
print(np.isfinite(fit(source)), most_bytes - before_bytes)
"""


def write_npz(path: Path, examples: int) -> Path:
    """Inputs of 128 KiB each, all different."""
    x = np.random.default_rng(examples).integers(0, 256, (examples, 128, 1024), dtype=np.uint8)
    y = np.arange(examples) % 2
    np.savez(path, x_train=x[8:], y_train=y[8:], x_test=x[:8], y_test=y[:8])
    return path


def large_set(kind: str, folder: Path) -> Path:
    """A set whose inputs take at least 128 MiB, as small on the disk as can be."""
    write_npz(folder / "small.npz", 40)
    if kind == "npz":
        return write_npz(folder / "large.npz", 1100)
    if kind == "images":
        dots = (np.full((1, 1, 3), (index % 256, index // 256, 0), np.uint8) for index in range(800))
        files = {f"{index % 2}/{index}.png": encoded(dot) for index, dot in enumerate(dots)}
    else:
        files = {f"{index % 2}/{index}.wav": wav(np.array([index], np.int16)) for index in range(240)}
    return write_zip(folder / "large.zip", files)


def run_limited(code: str, path: Path, kind: str) -> list[str]:
    arguments = [sys.executable, "-c", LIMITED + code, str(path), kind]
    return subprocess.run(arguments, check=True, text=True, stdout=-1).stdout.split()


@pytest.mark.parametrize("kind", ["npz", "images", "audio"])
def test_a_set_larger_than_the_memory_is_read(kind: str, tmp_path: Path) -> None:
    limited, read_bytes = run_limited(READ_ALL, large_set(kind, tmp_path), kind)
    assert limited == "limited"
    assert int(read_bytes) > 128 * MIB


@pytest.mark.tf
def test_a_set_larger_than_the_memory_is_trained_on(tmp_path: Path) -> None:
    """Threads of TensorFlow need room of their own, so here memory is measured, not limited."""
    finite, grown_bytes = run_limited(TRAIN, large_set("npz", tmp_path), "npz")
    assert finite == "True"
    assert int(grown_bytes) < 64 * MIB
