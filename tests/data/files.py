"""Small files of every kind that the tests of the data sources share, and the mutations that damage them."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import wavfile

from pipeline.dataset import Dataset, DataSource
from pipeline.progress import Progress
from pipeline.tasks.classification import Classification

RATE_HZ = 8000


def load(source: DataSource, seed: int = 0) -> Dataset:
    """What a source reads for classification."""
    return source.load(Classification(), seed=seed, progress=Progress())


def pixels(seed: int, height: int = 10, width: int = 12) -> NDArray[np.uint8]:
    """An image that no other seed has, (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: NDArray[Any], kind: str = "PNG") -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def tone(hertz: float, seconds: float = 0.5, rate: int = RATE_HZ) -> NDArray[np.int16]:
    """A sine at half of the full scale, (samples,)."""
    angles = 2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate
    samples: NDArray[np.int16] = (16384 * np.sin(angles)).astype(np.int16)
    return samples


def wav(samples: NDArray[Any], rate: int = RATE_HZ) -> bytes:
    """The bytes of a WAV file."""
    stream = io.BytesIO()
    wavfile.write(stream, rate, samples)
    return stream.getvalue()


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Lay files down below a folder; returns it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """Pack files; returns the archive's path."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def image_files(each: int = 5, kind: str = "PNG") -> dict[str, bytes]:
    """Two classes, a folder each, of images that all differ."""
    suffix = {"PNG": "png", "JPEG": "jpg"}[kind]
    return {
        f"{label}/{index}.{suffix}": encoded(pixels(100 * place + index), kind)
        for place, label in enumerate(("cat", "dog"))
        for index in range(each)
    }


def digit_files(speakers: int = 3, each: int = 6) -> dict[str, bytes]:
    """Two digits in files named as those of FSDD: {digit}_{speaker}_{index}.wav, all different."""
    return {
        f"{digit}_speaker{speaker}_{index}.wav": wav(tone(300 + 700 * digit + 40 * speaker + 5 * index))
        for digit in range(2)
        for speaker in range(speakers)
        for index in range(each)
    }


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The bytes with some bits flipped, an end cut off, or a piece put in."""
    mutable = bytearray(content)
    kind = dice.choice(("flip", "flip", "truncate", "insert"))
    if kind == "flip":
        for _ in range(dice.choice((1, 3, 20))):
            mutable[dice.randrange(len(mutable))] ^= 1 << dice.randrange(8)
    elif kind == "truncate":
        del mutable[dice.randrange(len(mutable)) :]
    else:
        place = dice.randrange(len(mutable))
        mutable[place:place] = dice.randbytes(dice.choice((1, 4, 64)))
    return bytes(mutable)
