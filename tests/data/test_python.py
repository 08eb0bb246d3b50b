"""The python source: what a user's generator yields is read in a child process; whatever goes wrong there is told."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.data._spool import SpooledSplit
from pipeline.data.python import PythonData
from pipeline.dataset import Dataset, Split
from pipeline.errors import DataError, RecipeError
from pipeline.progress import Progress
from pipeline.recipe import load_recipe
from pipeline.tasks.classification import Classification

MIB = 2**20

GOOD = """
import numpy as np

def numbers(count=40, kind="uint8", first=0):
    for index in range(first, first + count):
        yield np.full((2, 3), index, kind), index % 2

def words(count=40):
    for x, y in numbers(count):
        yield x, ("walk", "run")[y]

def people(count=40):
    for x, y in numbers(count):
        yield x, y, f"person {x[0, 0] // 4}"

def held_out():
    print("this must not reach stdout")
    yield from numbers(10, first=200)

def strangers():
    for x, y in held_out():
        yield x, y, "somebody else"

def neighbours():
    for x, y in held_out():
        yield x, y, "person 3"
"""


def load(folder: Path, code: str, train: str, **settings: Any) -> Dataset:
    file = folder / "mine.py"
    file.write_text(code)
    named: dict[str, Any] = {
        key: Path(f"{file}:{value}") if key == "test" else value for key, value in settings.items()
    }
    source = PythonData(train=Path(f"{file}:{train}"), **named)
    return source.load(Classification(), seed=0, progress=Progress())


def values(split: Split) -> list[int]:
    return sorted(int(x[0, 0]) for batch, _ in split.batches(16) for x in batch)


def test_examples_of_two_functions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = load(tmp_path, GOOD, "numbers", test="held_out", preprocessing={"filter_hz": 20}, validation_fraction=0.25)
    assert [data.train.size, data.validation.size, data.test.size] == [30, 10, 10]
    assert values(data.test) == list(range(200, 210))
    assert data.input_shape == (2, 3)
    assert data.preprocessing == {"filter_hz": 20, "divide_by": 1.0}
    assert capfd.readouterr().out == ""


def test_without_a_test_function_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    data = load(tmp_path, GOOD, "numbers", test_fraction=0.25, divide_by=2)
    assert np.bincount(data.test.targets()).tolist() == [5, 5]
    assert max(x.max() for x, _ in data.train.batches(100)) <= 19.5


@pytest.mark.parametrize("settings", [{}, {"test": "strangers"}])
def test_no_group_is_in_two_splits(settings: dict[str, str], tmp_path: Path) -> None:
    data = load(tmp_path, GOOD, "people", **settings)
    groups = [{value // 4 for value in values(split)} for split in (data.train, data.validation, data.test)]
    assert all(groups)
    assert not any(one & other for one, other in itertools.combinations(groups, 2))


def test_names_become_classes(tmp_path: Path) -> None:
    data = load(tmp_path, GOOD, "words")
    assert data.class_names == ("run", "walk")
    other = load(tmp_path, GOOD, "words", class_names=("walk", "run"))
    assert other.class_names == ("walk", "run")
    assert np.array_equal(np.sort(other.test.targets()), np.sort(1 - data.test.targets()))


def test_the_fingerprint_follows_what_the_function_yields(tmp_path: Path) -> None:
    plain = load(tmp_path, GOOD, "numbers").fingerprint
    (tmp_path / "elsewhere").mkdir()
    assert load(tmp_path / "elsewhere", GOOD + "\nunused = 1", "numbers").fingerprint == plain
    changed = GOOD.replace("np.full((2, 3), index", "np.full((2, 3), index + 1")
    assert load(tmp_path, changed, "numbers").fingerprint != plain
    assert load(tmp_path, GOOD.replace("index % 2", "1 - index % 2"), "numbers").fingerprint != plain
    assert load(tmp_path, GOOD, "numbers", preprocessing={"a": 1}).fingerprint != plain


@pytest.mark.parametrize(("kind", "stored"), [("uint8", "uint8"), ("int64", "float32"), ("float64", "float32")])
def test_numbers_take_no_more_room_than_training_needs(kind: str, stored: str, tmp_path: Path) -> None:
    data = load(tmp_path, GOOD, "numbers", options={"count": 20, "kind": kind})
    assert isinstance(data.test, SpooledSplit)
    assert data.test.dtype == stored
    assert next(data.test.batches(4))[0].dtype == np.float32


BAD: dict[str, tuple[str, str]] = {
    "other shapes": ("yield np.zeros(3), 0\n    yield np.zeros(4), 1", "Example 2 of mine.py:f has x of shape (4,)"),
    "other types": (
        "yield np.zeros(3, 'u1'), 0\n    yield np.zeros(3), 1",
        "Example 2 of mine.py:f has x of shape (3,)",
    ),
    "other targets": ("yield np.zeros(3), 0\n    yield np.zeros(3), [1, 2]", "y of shape (2,)"),
    "names and numbers": ("yield np.zeros(3), 'a'\n    yield np.zeros(3), 1", "y of shape () that is numbers"),
    "several names": ("yield np.zeros(3), ['a', 'b']", "several names as its target"),
    "NaN": ("yield np.array([0, np.nan]), 1", "Example 1 of mine.py:f holds NaN or infinite"),
    "too large": ("yield np.array([1e300]), 1", "Example 1 of mine.py:f holds NaN or infinite"),
    "NaN target": ("yield np.zeros(3), float('nan')", "The target of example 1 of mine.py:f is NaN"),
    "no numbers": ("yield np.zeros((0, 3)), 1", "has shape (0, 3)"),
    "a bare number": ("yield 3, 1", "has shape ()"),
    "text": ("yield 'abc', 1", "gave x of type <U3 in example 1"),
    "objects": ("yield [{}], 1", "gave x of type object in example 1"),
    "ragged": ("yield [[1], [2, 3]], 1", "mine.py:f failed: "),
    "no pair": ("yield np.zeros(3)", "gave a ndarray as example 1"),
    "nothing": ("return\n    yield", "mine.py:f yields no example"),
    "no generator": ("return 3", "gave a int"),
    "one example": ("yield np.zeros(3), 1", "training split"),
    "endless": ("while True:\n        yield np.zeros(3), 1", "yields more than 50 examples"),
    "an exception": ("yield np.zeros(3), 1\n    1 / 0", "mine.py, line 5: ZeroDivisionError"),
    "a crash": ("import os\n    yield np.zeros(3), 1\n    os.abort()", "mine.py:f was ended by SIGABRT"),
    "leaving": ("import os\n    yield np.zeros(3), 1\n    os._exit(0)", "mine.py:f left before its last example"),
    "leaving politely": ("yield np.zeros(3), 1\n    raise SystemExit", "mine.py:f left before its last example"),
    "no such module": ("import nowhere_to_be_found", "mine.py, line 4: ModuleNotFoundError"),
    "no syntax": ("yield (", "SyntaxError"),
    "an unknown option": ("yield unknown", "NameError"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_generators_are_told(name: str, tmp_path: Path) -> None:
    body, said = BAD[name]
    with pytest.raises(DataError) as caught:
        load(tmp_path, f"import numpy as np\n\ndef f():\n    {body}\n", "f", most_examples=50)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_does_not_fit_the_function_or_the_other_split(tmp_path: Path) -> None:
    def said(**settings: Any) -> str:
        with pytest.raises(DataError) as caught:
            load(tmp_path, GOOD, **settings)
        return str(caught.value)

    assert "unexpected keyword argument 'colour'" in said(train="numbers", options={"colour": 3})
    assert "one of: numbers, words, people" in said(train="number")
    assert "Group 'person 3' yields training and test examples" in said(train="people", test="neighbours")
    assert "that is numbers" in said(train="words", test="held_out")
    assert "'run' is none of the classes" in said(train="words", class_names=("walk", "stand"))
    three = GOOD.replace("index % 2", "index % 3")
    with pytest.raises(DataError, match="run to 2, and 2 classes are named"):
        load(tmp_path, three, "numbers", class_names=("a", "b"))
    with pytest.raises(DataError, match=r"nowhere\.py:f is not there"):
        PythonData(train=tmp_path / "nowhere.py:f").load(Classification(), seed=0, progress=Progress())


def test_a_recipe_names_functions_beside_it(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    text = "task: classification\nmodel: lenet5\nstages: [train]\ndata:\n  python: {train: mine.py:numbers}\n"
    recipe.write_text(text)
    assert load_recipe(recipe).data.train == tmp_path / "mine.py:numbers"  # type: ignore[attr-defined]
    recipe.write_text(text.replace("mine.py:numbers", "mine.py"))
    with pytest.raises(RecipeError, match=r"expected file\.py:function"):
        load_recipe(recipe)
    with pytest.raises(ValidationError):
        PythonData(train=Path("mine.py:f"), test=Path("mine.txt:f"))


LARGE = """
import numpy as np

def examples(count):
    for index in range(count):
        yield np.random.default_rng(index).integers(0, 256, 2**20, np.uint8), index % 2, str(index % 9)

def series(count):
    for x, y, person in examples(count):
        yield x.reshape(-1, 4), y, person
"""

LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from pipeline.data.python import PythonData
from pipeline.data.timeseries import TimeSeries
from pipeline.progress import Progress
from pipeline.tasks.classification import Classification

def load(count):
    source = {
        "python": lambda: PythonData(train=Path(f"{sys.argv[1]}:examples"), options={"count": count}),
        "timeseries": lambda: TimeSeries(
            path=Path(f"{sys.argv[1]}:series"), options={"count": count}, window=2**14, normalise="per_channel"
        ),
    }[sys.argv[2]]()
    return source.load(Classification(), seed=0, progress=Progress())

def limit(room_bytes):
    used = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + room_bytes,) * 2)
    try:
        # More by far: what a thread that ends gives back just then must not make room for it.
        np.ones(room_bytes + 64 * 2**20, np.uint8)
    except MemoryError:
        print("limited")
"""

READ = """
load(20)
limit(48 * 2**20)
data = load(100)
print(sum(x.size for part in (data.train, data.validation, data.test) for x, _ in part.batches(2)))
"""

TRAIN = """
def an_epoch(count):
    return sum(x.shape.num_elements() for x, _ in load(count).training_batches(2, seed=1))

# Once with little, so that TensorFlow's threads have their room.
an_epoch(20)
limit(64 * 2**20)
print(an_epoch(140))
"""


def run_limited(code: str, folder: Path, kind: str) -> tuple[str, int]:
    (folder / "large.py").write_text(LARGE)
    arguments = [sys.executable, "-c", LIMITED + code, str(folder / "large.py"), kind]
    done = subprocess.run(arguments, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    limited, numbers = done.stdout.split()
    return limited, int(numbers)


@pytest.mark.parametrize(("kind", "bytes_a_number"), [("python", 1), ("timeseries", 4)])
def test_more_than_the_memory_is_read(kind: str, bytes_a_number: int, tmp_path: Path) -> None:
    limited, numbers = run_limited(READ, tmp_path, kind)
    assert limited == "limited"
    assert numbers * bytes_a_number > 90 * MIB


@pytest.mark.tf
def test_more_than_the_memory_passes_through_to_training(tmp_path: Path) -> None:
    limited, numbers = run_limited(TRAIN, tmp_path, "python")
    assert limited == "limited"
    assert numbers > 80 * MIB
