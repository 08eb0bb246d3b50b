"""300 damaged files of each format: each is read, refused in words, or ends its reader, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.intake.saved import save, smallest_model

pytestmark = pytest.mark.tf

MUTATIONS = 300
Mutations = Callable[[Path, Path, np.random.Generator], Iterator[Path]]
ROOT = Path(__file__).parent.parent.parent


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with bits flipped, cut off, with bytes put in, or with a run of one byte."""
    kind, place = rng.integers(4), int(rng.integers(len(data)))
    if kind == 0:
        flipped = bytearray(data)
        for at in rng.integers(len(data), size=rng.integers(1, 9)):
            flipped[at] ^= 1 << rng.integers(8)
        return bytes(flipped)
    if kind == 1:
        return data[:place]
    if kind == 2:
        return data[:place] + rng.bytes(rng.integers(1, 65)) + data[place:]
    length = int(rng.integers(1, 257))
    return data[:place] + bytes([rng.choice([0, 0xFF, 0x41])]) * min(length, len(data) - place) + data[place + length :]


STRANGE: list[Any] = [None, True, -1, 0, 10**9, 2**70, 1.5, float("nan"), "", "relu", "x" * 99, "__class__"]
STRANGE += [[], [None], {}, [[1]]]


def retold(text: bytes, rng: np.random.Generator) -> bytes:
    """A JSON text that is still one, with some other value in some place, or without what was there."""
    config = json.loads(text)
    places: list[tuple[Any, Any]] = []
    waiting = [config]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        places += [(node, key) for key in keys]
        waiting += [node[key] for key in keys if isinstance(node[key], dict | list)]
    for _ in range(rng.integers(1, 3)):
        node, key = places[rng.integers(len(places))]
        if rng.integers(3):
            node[key] = STRANGE[rng.integers(len(STRANGE))]
        elif isinstance(node, dict):
            node.pop(key, None)
    return json.dumps(config).encode()


def archives(path: Path, folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    """The archive itself, one of its members, or values in its config; packed again as if nothing had happened."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for index in range(MUTATIONS):
        yield (into := folder / f"{index}.keras")
        if index % 3 == 0:
            into.write_bytes(mutated(path.read_bytes(), rng))
            continue
        which, change = (rng.choice(list(members)), mutated) if index % 3 == 1 else ("config.json", retold)
        with zipfile.ZipFile(into, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, change(data, rng) if name == which else data)


def files(path: Path, folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    for index in range(MUTATIONS):
        yield (into := folder / f"{index}.h5")
        into.write_bytes(mutated(path.read_bytes(), rng))


def folders(path: Path, folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    parts = ["keras_metadata.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
    for index in range(MUTATIONS):
        yield (into := folder / str(index))
        shutil.copytree(path, into)
        part = into / rng.choice(parts)
        part.write_bytes(mutated(part.read_bytes(), rng))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipeline._tf import keras, keras3

    folder = tmp_path_factory.mktemp("whole")
    save(smallest_model(keras3()), folder / "keras3.keras")
    for name in ("tf_keras.keras", "tf_keras.h5", "saved"):
        save(smallest_model(keras), folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "mutations"),
    [("keras3.keras", archives), ("tf_keras.keras", archives), ("tf_keras.h5", files), ("saved", folders)],
)
def test_a_damaged_file_is_read_or_refused_or_ends_its_reader(
    name: str, mutations: Mutations, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [whole / name, *mutations(whole / name, tmp_path, np.random.default_rng(7))]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.intake.forking"],
        input=json.dumps([str(path) for path in paths]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    outcomes = json.loads(ran.stdout)
    assert outcomes[0] == "read"
    counted = Counter(outcome.partition(":")[0] for outcome in outcomes[1:])
    with capsys.disabled():
        sys.stdout.write(f"{name}: {dict(counted)} ")
    assert counted.total() == MUTATIONS
    assert counted.keys() <= {"read", "refused", "died"}, [each for each in outcomes if each.startswith("untold")]
    assert counted["refused"] > MUTATIONS / 5
