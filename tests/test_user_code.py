"""A user's own functions: found in their folder, told what they ask for, and named where they fail."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from pipeline.process import ChildError, Limits
from pipeline.user_code import Example, UserFunction

PLAIN = """
def pairs(count, *, scale=1.0):
    import numpy as np
    for index in range(count):
        yield np.full((2, 3), index * scale, "float32"), index
"""


def function(folder: Path, source: str, name: str, file: str = "own.py", **options: object) -> UserFunction:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source))
    return UserFunction(path, name, options, Limits(silence_s=60))


def failure(asked: UserFunction) -> ChildError:
    with pytest.raises(ChildError) as caught:
        list(asked.examples())
    return caught.value


def test_examples_arrive_as_they_were_made(tmp_path: Path) -> None:
    first, second = function(tmp_path, PLAIN, "pairs", count=2, scale=0.5).examples()
    np.testing.assert_array_equal(second.x, np.full((2, 3), 0.5, "float32"))
    assert (second.x.dtype, second.y.shape, int(second.y), first.group) == (np.dtype("float32"), (), 1, "")


def test_groups_and_labels_in_words_arrive(tmp_path: Path) -> None:
    source = "def rows():\n    yield [1, 2], 'walk', 'anna'\n"
    (found,) = function(tmp_path, source, "rows").examples()
    assert isinstance(found, Example)
    assert (found.x.tolist(), str(found.y), found.group) == ([1, 2], "walk", "anna")


def test_a_quick_edit_is_not_missed(tmp_path: Path) -> None:
    # The same size within the same second: by a compiled file that lay there, Python would not see the difference.
    for count in (2, 3):
        source = f"def rows():\n    yield from (([i], i) for i in range({count}))\n"
        assert len(list(function(tmp_path, source, "rows").examples())) == count
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_function_is_told_what_it_has_a_parameter_for(tmp_path: Path) -> None:
    source = "def rows(split):\n    yield [len(split)], 0\n"
    asked = function(tmp_path, source, "rows")
    assert [int(each.x[0]) for each in asked.examples(split="train", num_classes=4)] == [5]
    source = "def rows(**told):\n    yield [len(told['shape'])], 0\n    assert isinstance(told['shape'], tuple)\n"
    assert [int(each.x[0]) for each in function(tmp_path, source, "rows").examples(shape=(1, 2))] == [2]


@pytest.mark.parametrize("ours", ["models", "pipeline", "edge_targets"])
def test_a_package_with_the_name_of_ours_is_the_users(ours: str, tmp_path: Path) -> None:
    package = tmp_path / ours
    package.mkdir()
    package.joinpath("__init__.py").write_text("SIZE = 7\n")
    package.joinpath("deep.py").write_text(f"from {ours} import SIZE\n")
    source = f"from {ours}.deep import SIZE\ndef rows():\n    yield [SIZE], 0\n"
    assert [int(each.x[0]) for each in function(tmp_path, source, "rows").examples()] == [7]


@pytest.mark.parametrize("ours", ["models.lenet5", "pipeline", "edge_targets.host"])
def test_nothing_of_ours_can_be_imported(ours: str, tmp_path: Path) -> None:
    source = f"def rows():\n    import {ours}\n    yield [1], 0\n"
    said = f"failed: own.py, line 2: ModuleNotFoundError: No module named '{ours.partition('.')[0]}'"
    assert failure(function(tmp_path, source, "rows")).what == said


@pytest.mark.parametrize("package", ["", "models/", "mine/models/"])
def test_a_file_imports_its_neighbours(package: str, tmp_path: Path) -> None:
    folder = tmp_path / package
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("sizes.py").write_text("SIZE = 3\n")
    dot = "." if package else ""
    for part in [folder, folder.parent][: package.count("/")]:
        part.joinpath("__init__.py").touch()
    source = f"from {dot}sizes import SIZE\nimport sizes\ndef rows():\n    yield [SIZE + sizes.SIZE], 0\n"
    asked = function(tmp_path, source, "rows", f"{package}own.py")
    assert [int(each.x[0]) for each in asked.examples()] == [6]


def test_what_the_function_prints_is_no_message(tmp_path: Path) -> None:
    source = "import os\ndef rows():\n    print('hello')\n    os.write(1, b'raw')\n    yield [1], 0\n"
    assert len(list(function(tmp_path, source, "rows").examples())) == 1


@pytest.mark.parametrize(
    ("source", "said", "expected"),
    [
        ("def other(): ...", "has no function 'rows'", "one of: other"),
        ("x = 1", "has no function 'rows'", "one of: it has none"),
        ("def rows():\n    return 1 / 0", "failed: own.py, line 2: ZeroDivisionError: division by zero", ""),
        ("def rows(:", "failed: own.py, line 1: SyntaxError: invalid syntax (own.py, line 1)", ""),
        ("def rows(): ...", "gave nothing", "a generator of examples"),
        ("def rows():\n    return 'text'", "gave a str", "a generator of examples"),
        ("def rows():\n    yield 1", "gave a int as example 1", "(x, y) or (x, y, group)"),
        ("def rows():\n    yield [object()], 0", "gave x of type object in example 1", "numbers"),
        ("def rows():\n    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)", "was ended by SIGSEGV", ""),
        ("def rows():\n    import os\n    os._exit(0)\n    yield", "left before its last example", ""),
    ],
)
def test_what_is_wrong_with_a_function_is_said(source: str, said: str, expected: str, tmp_path: Path) -> None:
    asked = function(tmp_path, source, "rows")
    error = failure(asked)
    assert (error.what, error.expected) == (said, expected)


def test_options_that_a_function_does_not_take_are_said(tmp_path: Path) -> None:
    assert "unexpected keyword argument 'depth'" in failure(function(tmp_path, PLAIN, "pairs", depth=1)).what


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    assert failure(UserFunction(tmp_path / "gone.py", "rows")).what == "is not there"


@pytest.mark.parametrize("text", ["model.keras", "own.py", "own.py:", "own.py:a.b", "own.txt:rows", ":rows"])
def test_what_is_no_function_is_not_taken_for_one(text: str) -> None:
    assert UserFunction.parse(text) is None


def test_a_reference_is_taken_apart() -> None:
    found = UserFunction.parse("a folder/own.py:rows", depth=3)
    assert found is not None
    assert (found.path, found.name, found.options, str(found)) == (
        Path("a folder/own.py"),
        "rows",
        {"depth": 3},
        "own.py:rows",
    )


@pytest.mark.tf
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_model_is_saved_by_its_own_keras(package: str, tmp_path: Path) -> None:
    source = f"""
        import {package} as keras

        def build(input_shape, num_classes, units=2):
            return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(units * num_classes)])
    """
    asked = function(tmp_path, source, "build", units=3)
    path, wrote = asked.build_model(tmp_path, input_shape=(4,), num_classes=5)
    assert wrote == package
    assert path.is_file()


def test_a_function_may_name_a_saved_model(tmp_path: Path) -> None:
    asked = function(tmp_path, "def build():\n    return 'saved/model.h5'\n", "build")
    assert asked.build_model(tmp_path / "work") == (tmp_path / "saved" / "model.h5", "")


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="gave a int") as caught:
        function(tmp_path, "def build():\n    return 3\n", "build").build_model(tmp_path)
    assert caught.value.expected == "a Keras model, or the path of a saved one"
