"""A run with an early exit, from recipe to report: two files that travel with all that it takes to run them."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from pipeline.bundle import make_bundle
from pipeline.cache import Cache
from pipeline.ota import Parcel, unpack
from pipeline.progress import Progress
from tests.small import write_tiny

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

SCHEMAS = Path(__file__).parents[1] / "docs" / "schemas"

STAGES = """\
stages:
  - train: {epochs: 3, batch_size: 32, learning_rate: 0.01}
  - early_exit: {epochs: 1, batch_size: 32, learning_rate: 0.01, threshold: 0.75, head: {filters: 2}, max_drop: 1}
budgets: {max_median_us: {host: 1000000}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run; beside it those of a second one, which takes all from the cache, and of one that asks for
    another threshold."""
    from pipeline import flow
    from pipeline.recipe import load_recipe

    home = tmp_path_factory.mktemp("cascade")
    recipe = write_tiny(home)
    recipe.write_text(re.sub(r"stages:\n(  .*\n)*", STAGES, recipe.read_text()))
    for out, overrides in (("out", ()), ("again", ()), ("lower", ("stages.early_exit.threshold=0.25",))):
        flow.run(load_recipe(recipe, overrides), out=home / out, cache=Cache(home / "cache"), progress=Progress())
    return home / "out"


def read(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))
    jsonschema.validate(document, json.loads(SCHEMAS.joinpath(f"{name}.schema.json").read_text("utf-8")))
    return document


def test_the_report_tells_of_both_stages(folder: Path) -> None:
    report = read(folder, "report")
    told = report["cascade"]
    assert told["threshold"] == 0.75
    assert sum(stage["decides"] for stage in told["stages"]) == pytest.approx(1)
    assert told["value"] == report["artifact"]["value"]
    assert report["artifact"]["size_bytes"] == sum(stage["size_bytes"] for stage in told["stages"])
    assert [row["model"] for row in report["measurements"]] == ["float32", "int8 early", "int8 rest"]
    first, rest = (stage["median_us"]["host"] for stage in told["stages"])
    assert told["average_us"]["host"] == pytest.approx(first + (1 - told["exits"]) * rest)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["odd_exits"]["status"] == checks["parity.host"]["status"] == "pass"
    # An example that needs both stages must keep the budget, too.
    assert checks["max_median_us.host"]["value"] == pytest.approx(first + rest)
    layers = {layer["name"] for layer in report["layers"]}
    assert {"conv1", "early_exit_conv", "early_exit_scores", "conv2", "logits"} <= layers
    assert [layer["name"] for layer in report["layers"] if layer["sqnr_db"] is None] == []
    worst = sorted(report["layers"], key=lambda layer: float(layer["sqnr_db"]))
    assert checks["worst_layer_sqnr"]["value"] == worst[0]["sqnr_db"]
    assert sum(layer["macs_share"] for layer in report["layers"]) == pytest.approx(1)


def test_the_manifests_name_files_that_are_there_and_whole(folder: Path) -> None:
    told = read(folder, "cascade")
    for stage in told["stages"]:
        model = folder.joinpath(stage["path"]).read_bytes()
        assert (hashlib.sha256(model).hexdigest(), len(model)) == (stage["sha256"], stage["size_bytes"])
        parcel = stage["over_the_air"]
        assert unpack(Parcel(parcel["codec"], folder.joinpath(parcel["path"]).read_bytes())) == model
    assert told["features"] == told["stages"][0]["outputs"][1]
    taken = told["stages"][1]["inputs"][0]
    assert (taken["scale"], taken["zero_point"]) == (told["features"]["scale"], told["features"]["zero_point"])
    manifest = read(folder, "manifest")
    assert manifest["cascade"] == "cascade.json"
    assert manifest["model"]["size_bytes"] == told["stages"][0]["size_bytes"]


def test_the_script_beside_the_files_decides_as_the_report_says(folder: Path, tmp_path: Path) -> None:
    with np.load(folder.with_name("tiny.npz")) as data:
        np.save(tmp_path / "examples.npy", data["x_test"][..., None].astype(np.float32) / 255)
        y = data["y_test"]
    files = map(str, (folder / "run_cascade.py", folder / "cascade.json", tmp_path / "examples.npy"))
    done = subprocess.run([sys.executable, "-I", *files], capture_output=True, text=True, check=True, timeout=120)
    lines = [re.fullmatch(r"class (\d)  confidence ([\d.]+)  stage ([12])", line) for line in done.stdout.splitlines()]
    classes, sure, stages = zip(*(line.groups() for line in lines if line), strict=True)
    report = read(folder, "report")["cascade"]
    assert len(lines) == len(y)
    assert stages.count("1") / len(y) == pytest.approx(report["exits"])
    assert np.mean(np.array(classes, int) == y) == pytest.approx(report["value"])
    assert all((float(one) >= 0.75) == (stage == "1") for one, stage in zip(sure, stages, strict=True))


def test_the_script_says_in_a_sentence_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((2, 3)))
    told = read(folder, "cascade")
    for stage in told["stages"]:
        tmp_path.joinpath(stage["path"]).write_bytes(folder.joinpath(stage["path"]).read_bytes() + b" ")
    tmp_path.joinpath("cascade.json").write_text(json.dumps(told))
    for manifest, examples, why in (
        (folder / "cascade.json", "wrong.npy", "Dimension mismatch"),
        (folder / "cascade.json", "none.npy", "No such file"),
        (tmp_path / "cascade.json", "wrong.npy", "is not the file that"),
        (tmp_path / "wrong.npy", "wrong.npy", "cannot be run on these examples"),
    ):
        script = [sys.executable, "-I", str(folder / "run_cascade.py"), str(manifest), str(tmp_path / examples)]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 1
        assert why in done.stderr
        assert "Traceback" not in done.stderr


def test_a_second_run_takes_it_all_from_the_cache(folder: Path) -> None:
    first, again = (read(one, "report") for one in (folder, folder.with_name("again")))
    assert [step["cached"] for step in again["steps"]] == [True, True]
    paths = [one / "cascade.json" for one in (folder, folder.with_name("again"))]
    assert paths[0].read_bytes() == paths[1].read_bytes(), "what a version is named by"
    names = ("threshold", "expected_exits", "exits", "value", "average_macs")
    assert [first["cascade"][name] for name in names] == [again["cascade"][name] for name in names]


def test_another_threshold_is_not_answered_from_the_cache(folder: Path) -> None:
    first, lower = (read(one, "report")["cascade"] for one in (folder, folder.with_name("lower")))
    assert first["stages"][0]["sha256"] == lower["stages"][0]["sha256"]
    assert (first["threshold"], lower["threshold"], lower["exits"]) == (0.75, 0.25, 1.0)


def test_both_files_make_a_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = make_bundle(folder, tmp_path / "bundle")
    assert bundle.threshold == 0.75
    assert bundle.sha256["run_cascade.py"] == hashlib.sha256(folder.joinpath("run_cascade.py").read_bytes()).hexdigest()
    assert bundle.version == hashlib.sha256(folder.joinpath("cascade.json").read_bytes()).hexdigest()
