"""The door itself: what ends its child is an error about the file, and the process that asked goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import intake
from pipeline.errors import EdgesmithError, ModelError, UsageError
from pipeline.intake import Fit, ModelSource, take_in
from pipeline.progress import Progress
from tests.intake.saved import rewritten, save, tiny_model

Golden = Callable[[str, str], None]
FIT = Fit((6, 6, 1), 3, (3,))


def taken(reference: str | Path, fits: Fit | None = None, **fields: Any) -> Any:
    return take_in(ModelSource(reference, **fields), fits, seed=1, progress=Progress())


def refused(reference: str | Path, kind: type[EdgesmithError], folder: Path, **fields: Any) -> str:
    with pytest.raises(EdgesmithError) as caught:
        taken(reference, **fields)
    assert type(caught.value) is kind
    return str(caught.value).replace(str(folder), "FOLDER") + "\n"


def own(folder: Path, source: str) -> Path:
    path = folder / "own.py"
    path.write_text(textwrap.dedent(source))
    return path


# Without TensorFlow: the child finds these before it imports any


def test_a_missing_file_is_a_mistake_of_the_user(tmp_path: Path, golden: Golden) -> None:
    golden("messages/intake_missing.txt", refused(tmp_path / "gone.keras", UsageError, tmp_path))
    golden("messages/intake_missing_function_file.txt", refused(f"{tmp_path}/gone.py:build", UsageError, tmp_path))


def test_options_of_a_file_are_a_mistake_of_the_user(tmp_path: Path, golden: Golden) -> None:
    said = refused(tmp_path / "m.keras", UsageError, tmp_path, options={"alpha": 0.5, "depth": 3})
    golden("messages/intake_options.txt", said)


def test_a_file_that_is_none_is_no_model(tmp_path: Path) -> None:
    tmp_path.joinpath("m.keras").write_bytes(b"garbage")
    assert refused(tmp_path / "m.keras", ModelError, tmp_path).startswith("m.keras is damaged:")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("crash", "def build():\n    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)"),
        ("error", "def build():\n    return 1 / 0"),
        ("no_model", "def build():\n    return 3"),
        ("no_such", "def other(): ..."),
    ],
)
def test_a_function_that_fails_is_told(name: str, source: str, tmp_path: Path, golden: Golden) -> None:
    own(tmp_path, source)
    golden(f"messages/intake_function_{name}.txt", refused(f"{tmp_path}/own.py:build", ModelError, tmp_path))


# What shapes a model


def test_the_fingerprint_covers_what_shapes_a_model(tmp_path: Path) -> None:
    file, source = tmp_path / "m.keras", own(tmp_path, "def build(): ...")
    helper = tmp_path / "deep" / "helper.py"
    helper.parent.mkdir()
    of_file, of_function = ModelSource(file, custom_objects=source), ModelSource(f"{source}:build")
    seen = [of_file.fingerprint(), of_function.fingerprint()]
    for path in (file, source, helper):
        path.write_bytes(path.read_bytes() + b"\n" if path.exists() else b"")
        seen += [of_file.fingerprint(), of_function.fingerprint()]
    changes = [fresh != before for before, fresh in zip(seen, seen[2:], strict=False)]
    assert changes == [True, False, True, True, True, True]
    others = {
        ModelSource(f"{source}:build", {"a": 1}).fingerprint(),
        ModelSource(f"{source}:build", {"a": 2}).fingerprint(),
        ModelSource(f"{source}:other").fingerprint(),
        ModelSource(file, trust_code=True).fingerprint(),
        ModelSource(file).fingerprint(),
    }
    assert len(others | {seen[-1], seen[-2]}) == 7


def test_the_fingerprint_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.joinpath("variables").mkdir(parents=True)
    source = ModelSource(folder)
    seen = {source.fingerprint()}
    for name in ("saved_model.pb", "variables/index", "variables/data"):
        folder.joinpath(name).write_bytes(b"x")
        seen.add(source.fingerprint())
    assert len(seen) == 4


def test_environments_and_hidden_folders_are_no_part_of_a_model(tmp_path: Path) -> None:
    source = ModelSource(f"{own(tmp_path, '')}:build")
    before = source.fingerprint()
    for name in (".venv/lib/a.py", "env/lib/site-packages/b.py", ".git/c.py", "d.txt"):
        tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(name).write_text("1")
    assert source.fingerprint() == before


# With TensorFlow, in a child that is real


@pytest.mark.tf
def test_a_draft_comes_with_one_step_and_its_proof(tmp_path: Path) -> None:
    from pipeline._tf import keras3

    path = save(tiny_model(keras3()), tmp_path / "m.keras")
    (step,) = (draft := taken(path, FIT)).steps
    assert draft.traits == frozenset()
    assert len(draft.restore().layers) == 6
    assert (step.stage, step.settings) == ("intake", {"model": str(path), "options": {}, "trust_code": False})
    assert step.metrics["largest_difference"] <= 1e-5
    assert step.notes["format"] == "Keras 3 .keras"
    assert step.notes["renamed"] == {"inner/conv": "conv"}
    assert "agree to" in step.notes["proven"]
    json.dumps(step.notes)


@pytest.mark.tf
def test_a_function_builds_for_the_data(tmp_path: Path) -> None:
    """Its folder has a package called `models`, its Lambda needs no more trust than the function itself."""
    tmp_path.joinpath("models").mkdir()
    tmp_path.joinpath("models", "__init__.py").write_text("SIZE = 3\n")
    source = """
        import keras
        from models import SIZE

        def build(input_shape, num_classes, width=1):
            inputs = keras.Input(input_shape)
            x = keras.layers.Lambda(lambda x: x * 2.0)(keras.layers.Conv2D(width, SIZE)(inputs))
            return keras.Model(inputs, keras.layers.Dense(num_classes)(keras.layers.Flatten()(x)))
    """
    draft = taken(f"{own(tmp_path, source)}:build", FIT, options={"width": 5})
    assert draft.restore().layers[1].filters == 5
    assert draft.steps[0].settings["options"] == {"width": 5}


@pytest.mark.tf
def test_a_function_may_name_a_file_whose_code_needs_trust(tmp_path: Path) -> None:
    from pipeline._tf import keras

    inputs = keras.Input((6, 6, 1))
    outputs = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2.0)(inputs)))
    save(keras.Model(inputs, outputs), tmp_path / "m.h5")
    builder = own(tmp_path, "def build():\n    return 'm.h5'")
    reference = f"{builder}:build"
    assert "own.py:build holds Python code that would be run" in refused(reference, ModelError, tmp_path)
    assert taken(reference, FIT, trust_code=True).steps[0].notes["format"] == "legacy HDF5"


@pytest.mark.tf
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its reader was ended by SIGSEGV."),
        ("import time; time.sleep(600)", "its reader gave no sign of life for 15 s."),
        ("x = [bytearray(2**24) for _ in range(2**10)]", "its reader needed more than 2 GiB of memory."),
    ],
)
def test_what_ends_the_reader_is_an_error_about_the_file(
    does: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline._tf import keras

    # A file of custom objects is run by the reader: it ends it as a file that breaks a C library would.
    monkeypatch.setattr(intake, "_SILENCE_S", 15.0 if "sleep" in does else 120.0)
    monkeypatch.setattr(intake, "_MEMORY_BYTES", 2 * 2**30)
    path = save(tiny_model(keras), tmp_path / "m.h5")
    message = refused(path, ModelError, tmp_path, custom_objects=own(tmp_path, does))
    assert message.startswith(f"m.h5 cannot be read: {said}"), message


@pytest.mark.tf
def test_a_model_that_would_fill_the_memory_is_refused(tmp_path: Path, golden: Golden) -> None:
    from pipeline._tf import keras3

    def widen(config: dict[str, Any]) -> None:
        config["config"]["layers"][-1]["config"]["units"] = 2**31

    path = rewritten(save(tiny_model(keras3()), tmp_path / "m.keras"), tmp_path / "wide.keras", widen)
    golden("messages/intake_memory.txt", refused(path, ModelError, tmp_path))


def test_the_door_itself_imports_no_tensorflow() -> None:
    code = "import pipeline.intake, sys; assert not {'tensorflow', 'tf_keras', 'keras', 'h5py'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent.parent)
