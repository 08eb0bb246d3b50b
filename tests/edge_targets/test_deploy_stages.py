"""Deploying a model in two files, with the host as the device: both come as one version, tried there as they decide."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import DeviceError, Local, TargetError, UnusableModel
from edge_targets._bundle import Bundle
from edge_targets._cascade import both_stages
from edge_targets._cascade_file import CASCADE, FIRST, REST, RUN_CASCADE
from edge_targets._deploy import Installer
from edge_targets._errors import Disagreement
from edge_targets._golden import Golden
from edge_targets._parity import Outputs
from edge_targets._runner import Runner
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import read_graph
from pipeline.bundle import make_bundle
from pipeline.errors import ModelError
from tests.edge_targets.stages import STAGES, THRESHOLD, run_of_two_files
from tests.edge_targets.test_deploy import DATA, Noting

Found = tuple[Outputs, "NDArray[np.bool_] | None"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The same two files with one threshold and with another, and a model of one file."""
    folder = tmp_path_factory.mktemp("bundles")
    runs = {"both": run_of_two_files(folder / "run"), "surer": run_of_two_files(folder / "surer-run", 0.495)}
    sources = {**runs, "single": DATA / "tiny_int8.tflite"}
    return {name: make_bundle(each, folder / name, name="net", packed=True) for name, each in sources.items()}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostTarget:
    monkeypatch.setenv("HOME", str(tmp_path))
    return HostTarget()


@pytest.fixture
def runner() -> Iterator[Runner]:
    with Local() as local:
        yield Runner(local, (sys.executable, "-I"))


def test_both_files_come_and_go_as_one_version(host: HostTarget, bundles: dict[str, Bundle]) -> None:
    single, both, surer = (bundles[name] for name in ("single", "both", "surer"))
    host.deploy(single.folder)
    first = host.deploy(both.folder)
    assert (first.sha256, first.previous_sha256, first.changed) == (both.version, single.version, True)
    assert first.self_test is not None
    assert (first.self_test.exact, first.self_test.examples) == (True, 8)
    assert first.self_test.why.endswith("4 of 8 leave early, as they should")
    assert not host.deploy(both.folder).changed
    folder = Path(first.path).parent
    assert first.path.endswith("/current/cascade.json")
    assert {path.name for path in folder.iterdir()} == {*both.kept, "SHA256SUMS"}
    done = subprocess.run(
        [sys.executable, "-I", folder / RUN_CASCADE, first.path, folder / "golden-inputs.npy"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count("stage 1\n") == done.stdout.count("stage 2\n") == 4
    assert host.deploy(surer.folder).previous_sha256 == both.version
    assert host.rollback("net").path == first.path
    back = host.deploy(single.folder)
    assert (Path(back.path).name, back.previous_sha256) == (FIRST, both.version)
    told = host.rollback("net")
    assert (told.sha256, told.path) == (both.version, first.path)
    assert host.deployed("net") == replace(told, changed=False)


def test_both_travel_packed(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    bundle = bundles["both"]
    with Noting() as noting:
        told = Runner(noting, (sys.executable, "-I")).installer("bench", str(tmp_path)).deploy(bundle)
    assert told.sha256 == bundle.version
    assert set(bundle.parcels.values()) <= set(noting.pushed)
    assert not {FIRST, REST} & set(noting.pushed)
    assert bundle.packed_bytes is not None
    assert bundle.packed_bytes < bundle.size_bytes == sum(path.stat().st_size for path in STAGES.values())


class Device:
    """A device that does something else than it is asked for: what `spoil` makes of what both stages gave."""

    def __init__(self, runner: Runner, spoil: Callable[[Outputs, Any], Found]) -> None:
        self._runner = runner
        self._spoil = spoil

    def __call__(self, folder: str, inputs: NDArray[Any], threshold: float) -> Found:
        paths = [f"{folder}/{name}" for name in (FIRST, REST)]
        return self._spoil(*both_stages(self._runner, paths, inputs, threshold, "auto"))

    def tensors(self, opened: Path, example: NDArray[Any]) -> NDArray[np.uint8]:
        """It computes the second file wrongly from its first layer on."""
        found = self._runner.tensors(opened, example, "auto")
        graph = read_graph(opened)
        return found + np.uint8(16) if "conv2" in graph.operators[0].name else found


def other_scores(stage: int) -> Callable[[Outputs, Any], Found]:
    def spoil(outputs: Outputs, left: Any) -> Found:
        values = outputs.values.copy()
        values[0, stage] -= 9
        return replace(outputs, values=values), left

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_scores(0), r"early: up to 9 steps apart.*; rest: the same to the bit"),
        (other_scores(1), r"early: the same to the bit.*; rest: up to 9 steps apart(.|\n)*differs is 'conv2'"),
        (lambda outputs, left: (outputs, ~left), "of 8 examples 8 leave early against the threshold"),
    ],
)
def test_a_device_that_runs_them_otherwise_keeps_what_it_had(
    spoil: Callable[[Outputs, Any], Found], words: str, runner: Runner, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    honest = runner.installer("bench", str(tmp_path))
    honest.deploy(bundles["single"])
    device = Device(runner, spoil)
    lying = replace(honest, stages=device, tensors=device.tensors)
    with pytest.raises(Disagreement, match=words) as caught:
        lying.deploy(bundles["both"])
    assert "in use there still is" in str(caught.value)
    told = honest.deployed("net")
    assert told is not None
    assert told.sha256 == bundles["single"].version
    assert len(list(tmp_path.joinpath("net", "versions").iterdir())) == 1


def test_golden_outputs_of_one_stage_are_no_test(runner: Runner, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundles["both"].folder, tmp_path / "bundle"))
    golden = Golden.load(folder)
    Golden(golden.inputs, tuple(replace(each, values=each.values[:, 0]) for each in golden.outputs)).save(folder)
    with pytest.raises(TargetError, match=r"not those of two stages(.|\n)*still is"):
        runner.installer("bench", str(tmp_path / "models")).deploy(Bundle.write(folder, "net", bundles["both"].packed))


@pytest.mark.parametrize("models", [(REST, REST), (FIRST, FIRST), (FIRST, "tiny_int8.tflite")])
def test_files_that_are_not_two_stages_are_refused_before_they_run(
    models: tuple[str, str], runner: Runner, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    """A bundle comes from anywhere: one that vouches for its files may still hold any models."""
    folder = Path(shutil.copytree(bundles["both"].folder, tmp_path / "bundle"))
    sources = [STAGES.get(name, DATA / name).read_bytes() for name in models]
    for name, content in zip(STAGES, sources, strict=True):
        folder.joinpath(name).write_bytes(content)
    stages = [
        {"path": name, "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in zip(STAGES, sources, strict=True)
    ]
    retold(folder, stages=stages)
    installer = runner.installer("bench", str(tmp_path / "models"))
    with pytest.raises(UnusableModel, match=r"not two stages of one model(.|\n)*still is"):
        replace(installer, unpack=None).deploy(Bundle.write(folder, "net", bundles["both"].packed))
    assert not list(tmp_path.joinpath("models", "net", "versions").iterdir())


def test_a_second_file_that_changed_there_is_damage(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with Local() as local:
        installer = Installer(local, "bench", str(tmp_path))
        told = installer.deploy(bundles["both"])
        assert told.self_test is None
        Path(told.path).with_name(REST).write_bytes(b"rotten")
        with pytest.raises(DeviceError, match="damaged"):
            installer.deployed("net")
        assert installer.deploy(bundles["both"]).changed
        assert Path(told.path).with_name(REST).read_bytes() == STAGES[REST].read_bytes()


# ---- what makes no bundle ----


def retold(run: Path, **changes: Any) -> None:
    told = json.loads(run.joinpath(CASCADE).read_text())
    run.joinpath(CASCADE).write_text(json.dumps({**told, **changes}))


OTHER = "0" * 64
SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no rest": (lambda run: run.joinpath(REST).unlink(), f"is two files, and {REST} is missing"),
    "no cascade": (lambda run: run.joinpath(CASCADE).unlink(), f"is two files, and {CASCADE} is missing"),
    "threshold": (lambda run: retold(run, threshold=0.3), f"is 0.3, and report.json speaks of {THRESHOLD}"),
    "nan": (lambda run: retold(run, threshold=float("nan")), "its threshold is nan"),
    "text": (lambda run: retold(run, threshold="0.5"), "its threshold is '0.5'"),
    "yes": (lambda run: retold(run, threshold=True), "its threshold is True"),
    "hash": (
        lambda run: retold(run, stages=[{"path": name, "sha256": OTHER} for name in STAGES]),
        f"{FIRST} is not the model that .*{CASCADE} speaks of",
    ),
    "rest": (lambda run: run.joinpath(REST).write_bytes(b"x"), f"{REST} is not the model that"),
    "first": (lambda run: run.joinpath(FIRST).write_bytes(b"x"), f"{FIRST} is not the model that"),
    "stages": (lambda run: retold(run, stages=[]), f"its stages are not {FIRST} and {REST}"),
    "path": (lambda run: retold(run, stages=[{"path": "../x"}, {"path": REST}]), "its stages are not"),
    "no list": (lambda run: retold(run, stages=7), "it lists no stages"),
    "no json": (lambda run: run.joinpath(CASCADE).write_text("[" * 10**5), "it is no JSON"),
    "list": (lambda run: run.joinpath(CASCADE).write_text("[]"), "its threshold is None"),
    "large": (lambda run: run.joinpath(CASCADE).write_bytes(b" " * 2**21), "larger than"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_run_that_is_not_whole_is_refused_in_a_sentence(how: str, tmp_path: Path) -> None:
    run = run_of_two_files(tmp_path / "run")
    spoil, words = SPOILED[how]
    spoil(run)
    with pytest.raises(ModelError, match=words) as caught:
        make_bundle(run, tmp_path / "bundle")
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.what
    assert not tmp_path.joinpath("bundle").exists()


def test_both_files_and_report_exchanged_for_others_are_refused(tmp_path: Path) -> None:
    """A `cascade.json` that fits its files, which the report does not mean."""
    run = run_of_two_files(tmp_path / "run")
    report = json.loads(run.joinpath("report.json").read_text())
    report["cascade"]["stages"][1]["sha256"] = OTHER
    run.joinpath("report.json").write_text(json.dumps(report))
    with pytest.raises(ModelError, match=rf"{REST} is not the model that .*report\.json"):
        make_bundle(run, tmp_path / "bundle")


def test_what_an_earlier_run_left_is_no_second_stage(tmp_path: Path) -> None:
    """The report says that the model is one file; older versions let a `cascade.json` lie beside it."""
    run = run_of_two_files(tmp_path / "run")
    report = json.loads(run.joinpath("report.json").read_text())
    del report["cascade"]
    run.joinpath("report.json").write_text(json.dumps(report))
    assert make_bundle(run, tmp_path / "bundle").models == (FIRST,)


def unlisted(bundle: Path, *names: str) -> None:
    """The bundle without some of its files."""
    for name in names:
        bundle.joinpath(name).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda bundle: unlisted(bundle, REST), f"{REST} is missing"),
        (lambda bundle: unlisted(bundle, CASCADE), f"{CASCADE} is missing"),
        (lambda bundle: unlisted(bundle, RUN_CASCADE), f"{RUN_CASCADE} is missing"),
        (lambda bundle: unlisted(bundle, *(path.name for path in bundle.glob(f"{REST}.*"))), f"{REST} is not"),
        (
            lambda bundle: shutil.copy(DATA / "tiny_int8.tflite", bundle / REST),
            f"{REST} is not the file that {CASCADE}",
        ),
        (lambda bundle: bundle.joinpath(RUN_CASCADE).write_text("import os"), f"its {RUN_CASCADE} is not that of"),
        (lambda bundle: retold(bundle, threshold=2), "its threshold is 2"),
    ],
)
def test_a_bundle_of_two_files_that_do_not_belong_together_is_refused(
    spoil: Callable[[Path], object], words: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundles["both"].folder, tmp_path / "bundle"))
    spoil(folder)
    with pytest.raises(TargetError, match=words):
        Bundle.write(folder, "net", bundles["both"].packed)
