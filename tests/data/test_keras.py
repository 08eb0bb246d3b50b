"""The keras source: the files that Keras keeps are read; a download that fails is an error with a mend."""

from __future__ import annotations

import gzip
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tf

LOAD = """
import sys
from pipeline.data.keras import KerasData
from pipeline.errors import DataError
from pipeline.progress import Progress
from pipeline.tasks.classification import Classification
try:
    data = KerasData(name=sys.argv[1], add_channel=True).load(Classification(), seed=0, progress=Progress())
    print(data.input_shape, data.train.size, data.validation.size, data.test.size, data.origin)
except DataError as error:
    print(error)
"""


def load(home: Path, name: str) -> str:
    # A loopback port that nobody listens on stands for the network: the download is refused at once.
    env = {**os.environ, "HOME": str(home), "https_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, "-c", LOAD, name], env=env, check=True, text=True, stdout=-1).stdout


def idx(path: Path, magic: int, shape: tuple[int, ...], content: bytes) -> None:
    """Write the format that MNIST is published in."""
    with gzip.open(path, "wb") as stream:
        stream.write(struct.pack(f">I{len(shape)}I", magic, *shape) + content)


def test_the_files_that_keras_keeps_are_read(tmp_path: Path) -> None:
    folder = tmp_path / ".keras" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("t10k", 10)):
        # Images that differ: copies of test images would be dropped.
        pixels = random.Random(count).randbytes(count * 28 * 28)
        idx(folder / f"{part}-images-idx3-ubyte.gz", 2051, (count, 28, 28), pixels)
        idx(folder / f"{part}-labels-idx1-ubyte.gz", 2049, (count,), bytes(index % 10 for index in range(count)))
    assert load(tmp_path, "fashion_mnist") == "(28, 28, 1) 36 4 10 fashion_mnist (Keras)\n"


def test_a_failed_download_says_how_to_go_on(tmp_path: Path) -> None:
    said = load(tmp_path, "mnist")
    assert said.startswith("Keras could not bring the data set mnist")
    assert "use the source npz" in said
