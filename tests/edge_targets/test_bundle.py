"""What is deployed: made whole or not at all, and read as strictly as if a stranger had sent it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import TargetError
from edge_targets._bundle import Bundle
from edge_targets._golden import Golden
from pipeline.bundle import make_bundle
from pipeline.errors import ModelError, StorageError, UsageError
from pipeline.ota import Parcel, unpack

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the int8 net, with the form that travels."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    make_bundle(DATA / "tiny_int8.tflite", folder, packed=True)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """One's own copy of it."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def edit(bundle: Path, **changes: Any) -> None:
    path = bundle / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_bare_model_becomes_a_bundle(made: Path, int8_model: Path) -> None:
    bundle = Bundle.read(made)
    assert bundle.name == "tiny_int8"
    assert bundle.version == hashlib.sha256(int8_model.read_bytes()).hexdigest()
    assert made.joinpath("model.tflite").read_bytes() == int8_model.read_bytes()
    codec = bundle.packed.removeprefix("model.tflite.")
    assert unpack(Parcel(codec, made.joinpath(bundle.packed).read_bytes())) == int8_model.read_bytes()
    golden = Golden.load(made)
    assert golden.inputs.shape == (8, 8, 8, 1)
    assert {each.kernels for each in golden.outputs} >= {"builtin", "reference"}
    assert bundle.packed not in bundle.sums()
    assert set(bundle.kept) == {path.name for path in made.iterdir()} - {bundle.packed}


def test_the_same_model_makes_the_same_bundle(made: Path, int8_model: Path, tmp_path: Path) -> None:
    again = make_bundle(int8_model, tmp_path / "again", name="tiny_int8", packed=True)
    assert again.sha256 == Bundle.read(made).sha256


def run_folder(folder: Path, model: Path, *, sha256: str = "", recipe: str = "digits") -> Path:
    folder.mkdir()
    shutil.copy(model, folder / "model.tflite")
    content = model.read_bytes()
    artifact = {"sha256": sha256 or hashlib.sha256(content).hexdigest()}
    folder.joinpath("report.json").write_text(json.dumps({"recipe": recipe, "artifact": artifact}))
    folder.joinpath("manifest.json").write_text("{}")
    return folder


def test_a_run_goes_by_its_recipe_and_brings_its_manifest_and_real_inputs(int8_model: Path, tmp_path: Path) -> None:
    inputs = np.arange(128, dtype=np.int8).reshape(2, 8, 8, 1)
    bundle = make_bundle(run_folder(tmp_path / "run", int8_model), tmp_path / "a" / "b", inputs=inputs)
    assert bundle.name == "digits"
    assert bundle.packed == ""
    assert "manifest.json" in bundle.kept
    np.testing.assert_array_equal(Golden.load(bundle.folder).inputs, inputs)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda run: run.joinpath("report.json").unlink(), UsageError, "There is no model in"),
        (lambda run: run.joinpath("report.json").write_text("[]"), UsageError, "is not a report"),
        (lambda run: run.joinpath("report.json").write_text("[" * 10**5), UsageError, "is not a report"),
        (lambda run: run.joinpath("model.tflite").write_bytes(b"x"), ModelError, "is not the model that"),
        (shutil.rmtree, UsageError, r"There is no .*run\."),
    ],
)
def test_a_folder_that_is_no_run_is_refused(
    spoil: Any, error: type[Exception], words: str, int8_model: Path, tmp_path: Path
) -> None:
    run = run_folder(tmp_path / "run", int8_model)
    spoil(run)
    with pytest.raises(error, match=words):
        make_bundle(run, tmp_path / "bundle")
    assert not tmp_path.joinpath("bundle").exists()


@pytest.mark.parametrize("name", ["a b", "../up", "-x", ".x", "x/y", "x" * 65, "x\n", "ü", "$(id)"])
def test_only_plain_names(name: str, bundle: Path, int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        make_bundle(int8_model, tmp_path / "other", name=name)
    edit(bundle, name=name)
    with pytest.raises(TargetError, match=r"its name .* is not plain"):
        Bundle.read(bundle)


def test_what_crashes_the_interpreter_makes_no_bundle(crashing_model: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        make_bundle(crashing_model, tmp_path / "folder" / "bundle")
    assert list(tmp_path.joinpath("folder").iterdir()) == []


def test_nothing_is_overwritten(bundle: Path, int8_model: Path) -> None:
    with pytest.raises(StorageError, match="already something"):
        make_bundle(int8_model, bundle)
    Bundle.read(bundle)


def altered(facts: Any) -> dict[str, Any]:
    """The files of `bundle.json`, with something else said of the model."""
    return {"model.tflite": facts, "golden-inputs.npy": facts}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, "not of schema 1"),
        ({"more": 1}, "other keys"),
        ({"packed": 7}, "other keys"),
        ({"packed": "model.tflite.zip"}, "as the packed model"),
        ({"packed": "golden-inputs.npy"}, "as the packed model"),
        ({"files": []}, "not listed"),
        ({"files": {}}, "not listed"),
        ({"files": altered({"sha256": "0" * 64, "size_bytes": -1})}, "not its sha256 and size"),
        ({"files": altered({"sha256": "0" * 64, "size_bytes": True})}, "not its sha256 and size"),
        ({"files": altered({"sha256": "0" * 63 + "g", "size_bytes": 1})}, "not its sha256 and size"),
        ({"files": altered({"sha256": 5, "size_bytes": 1})}, "not its sha256 and size"),
        ({"files": altered({"sha256": "0" * 64})}, "not its sha256 and size"),
        ({"files": altered(None)}, "not its sha256 and size"),
        ({"name": None}, "not plain"),
    ],
)
def test_a_list_that_is_none_is_refused(changes: dict[str, Any], words: str, bundle: Path) -> None:
    edit(bundle, **changes)
    with pytest.raises(TargetError, match=words):
        Bundle.read(bundle)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"[" * 5000, b'{"schema": 1}', b" " * 2**17])
def test_a_list_that_is_no_list_is_refused(content: bytes, bundle: Path) -> None:
    bundle.joinpath("bundle.json").write_bytes(content)
    with pytest.raises(TargetError, match="is no bundle"):
        Bundle.read(bundle)


def test_a_file_that_is_another_or_missing_or_a_pipe_is_refused(bundle: Path) -> None:
    model = bundle / "model.tflite"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    for spoiled in (bytes(content), bytes(content[:-1]), None):
        model.unlink(missing_ok=True)
        if spoiled is None:
            os.mkfifo(model)
        else:
            model.write_bytes(spoiled)
        with pytest.raises(TargetError, match=r"model\.tflite is missing, or is not the file"):
            Bundle.read(bundle)


@pytest.mark.parametrize("name", ["../bundle/model.tflite", "SHA256SUMS", "edgesmith_runner.py", "golden-/x.npy", ""])
def test_a_file_of_another_name_is_refused(name: str, bundle: Path) -> None:
    files = json.loads(bundle.joinpath("bundle.json").read_text())["files"]
    edit(bundle, files={**files, name: files["model.tflite"]})
    with pytest.raises(TargetError, match="is no file of a bundle"):
        Bundle.read(bundle)


def test_a_file_that_nobody_vouches_for_is_refused(bundle: Path) -> None:
    shutil.copy(bundle / "golden-inputs.npy", bundle / "golden-outputs-builtin-tflite_runtime-1-x.npy")
    with pytest.raises(TargetError, match="does not vouch for 'golden-outputs-builtin"):
        Bundle.read(bundle)
