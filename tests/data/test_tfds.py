"""The tfds source: data sets that TensorFlow Datasets wrote itself; without it, or without a network, it says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data.tfds import Tfds
from pipeline.errors import DataError
from tests.data.files import load, pixels

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data set `tiny_set`: 40 and 12 images of two classes, in two sizes."""
    folder = tmp_path_factory.mktemp("tfds")
    # tfds warns of its own ways while it writes; what we ship only reads.
    subprocess.run([sys.executable, "-c", WRITE, str(folder)], check=True, capture_output=True)
    return folder


WRITE = """
import sys
from pipeline._tf import tf
import tensorflow_datasets as tfds
from tests.data.files import pixels

def examples(first, count):
    for index in range(count):
        yield {"image": pixels(first + index, 8 - 2 * (index % 2), 6), "label": index % 2, "number": float(index)}

features = tfds.features.FeaturesDict({
    "image": tfds.features.Image(shape=(None, None, 3)),
    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    "number": tf.float32,
})
signature = {
    "image": tf.TensorSpec((None, None, 3), tf.uint8),
    "label": tf.TensorSpec((), tf.int64),
    "number": tf.TensorSpec((), tf.float32),
}
splits = {
    name: tf.data.Dataset.from_generator(lambda f=first, c=count: examples(f, c), output_signature=signature)
    for name, first, count in (("train", 0, 40), ("test", 100, 12))
}
tfds.dataset_builders.store_as_tfds_dataset(
    name="tiny_set", version="1.0.0", features=features, split_datasets=splits, data_dir=sys.argv[1]
)
"""


def tiny(data_dir: Path, **settings: Any) -> Tfds:
    given = {"name": "tiny_set", "x": "image", "y": "label", "size": (8, 6), "divide_by": 255.0, **settings}
    return Tfds.model_validate({"data_dir": data_dir, **given})


def test_its_splits_classes_and_pixels_are_read(data_dir: Path) -> None:
    data = load(tiny(data_dir))
    assert (data.train.size, data.validation.size, data.test.size) == (36, 4, 12)
    assert data.class_names == ("cat", "dog")
    assert data.origin == "tiny_set/1.0.0 (tfds)"
    stored = {image.tobytes() for image in (np.rint(next(data.test.batches(12))[0] * 255).astype(np.uint8))}
    assert {pixels(seed, 8, 6).tobytes() for seed in range(100, 112, 2)} <= stored


def test_splits_are_written_as_tfds_has_them(data_dir: Path) -> None:
    data = load(tiny(data_dir, train="train[:50%]", validation="train[50%:]", test=None, test_fraction=0.25))
    assert data.train.size + data.test.size == 20
    assert data.validation.size == 20
    assert data.test.size in (4, 5, 6)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no size": ({"size": None}, r"example \d+ of train has shape \(\d, 6, 3\)"),
    "a split": ({"train": "trian"}, "split 'trian' of tiny_set cannot be read: ValueError: Unknown split"),
    "a feature": ({"x": "picture"}, "'picture' and 'label' are not both features"),
    "no feature": ({"x": None}, "'' and 'label' are not both features"),
    "no array": ({"x": "number", "size": None}, "is no array of numbers"),
    "another set": ({"name": "nonsense"}, "could not bring 'nonsense': DatasetNotFoundError"),
    "not there": (
        {"name": "mnist", "download": False},
        "split 'train' of mnist cannot be read: .* could not find data",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_named(name: str, data_dir: Path) -> None:
    settings, why = BAD[name]
    with pytest.raises(DataError, match=why):
        load(tiny(data_dir, **settings))


def test_other_peoples_code_is_not_run(data_dir: Path) -> None:
    with pytest.raises(ValidationError):
        tiny(data_dir, name="someone:tiny_set")


def said(code: str, folder: Path) -> str:
    """What a program prints that reads MNIST from a folder."""
    read = f"""
from pathlib import Path
from pipeline.data.tfds import Tfds
from pipeline.errors import DataError
from tests.data.files import load
{code}
try:
    load(Tfds(name="mnist", data_dir=Path({str(folder)!r})))
except DataError as error:
    print(error)
"""
    return subprocess.run([sys.executable, "-c", read], check=True, text=True, capture_output=True).stdout


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    # A port that nobody listens on stands for the network; tfds itself would try for three minutes.
    code = """
import os
os.environ["https_proxy"] = "http://127.0.0.1:9"
from tensorflow_datasets.core.download import downloader
downloader.MAX_RETRIES = 0
"""
    told = said(code, tmp_path)
    assert told.startswith("TensorFlow Datasets could not bring 'mnist': ")
    assert "connect once" in told


def test_without_the_package_it_says_how_to_get_it(tmp_path: Path) -> None:
    told = said("import sys; sys.modules['tensorflow_datasets'] = None", tmp_path)
    assert told.startswith("TensorFlow Datasets cannot be imported")
    assert "pip install 'edgesmith[tfds]'" in told
