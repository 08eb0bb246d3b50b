"""Deploying through a target, with the host as the device: the old or the new model is in use, and it is said which."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import Completed, DeviceError, Local, Recording, TargetError, ToolMissing, UnusableModel
from edge_targets._bundle import Bundle
from edge_targets._deploy import InBetween, Installer
from edge_targets._errors import Disagreement
from edge_targets._golden import Golden
from edge_targets._runner import Runner
from edge_targets.host import HostTarget
from pipeline.bundle import make_bundle
from tests.disks import small_disk
from tests.edge_targets.one_operator import Tensor, one_operator

DATA = Path(__file__).parent / "data"
Outputs = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions of a model named "net"."""
    folder = tmp_path_factory.mktemp("bundles")
    made = [
        make_bundle(DATA / f"tiny_{kind}.tflite", folder / kind, name="net", packed=True)
        for kind in ("float32", "int8")
    ]
    return made[0].folder, made[1].folder


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostTarget:
    """This machine, with a home of its own."""
    home = tmp_path / "ho me"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return HostTarget()


def model_in_use(home: Path) -> bytes:
    return home.joinpath(".local/share/edgesmith/models/net/current/model.tflite").read_bytes()


def test_a_version_is_tried_then_used_and_comes_back(host: HostTarget, bundles: tuple[Path, Path]) -> None:
    old, new = (Bundle.read(bundle) for bundle in bundles)
    assert host.deployed("net") is None
    first = host.deploy(old.folder)
    assert (first.sha256, first.previous_sha256, first.changed) == (old.version, None, True)
    second = host.deploy(new.folder)
    assert (second.target, second.name, second.changed) == ("host", "net", True)
    assert (second.sha256, second.previous_sha256) == (new.version, old.version)
    assert second.self_test is not None
    assert second.self_test.exact
    assert Path(second.path).read_bytes() == (new.folder / "model.tflite").read_bytes()
    back = host.rollback("net")
    assert (back.sha256, back.previous_sha256, back.self_test) == (old.version, new.version, None)
    told = host.deployed("net")
    assert told is not None
    assert (told.sha256, told.changed, told.path) == (old.version, False, second.path)


def times(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_ctime_ns for path in [folder, *folder.rglob("*")]}


def test_sixteen_bits_at_the_borders_are_tried_over_their_whole_range(host: HostTarget, tmp_path: Path) -> None:
    picture = Tensor((1, 2, 2, 4), "int16")
    pool = {"Pool2DOptions": {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}}
    model = tmp_path / "wide.tflite"
    model.write_bytes(one_operator("MAX_POOL_2D", [picture], [Tensor((1, 1, 1, 4), "int16")], pool, version=3))
    bundle = make_bundle(model, tmp_path / "bundle", name="net")
    golden = Golden.load(bundle.folder)
    assert {golden.inputs.dtype.name, golden.outputs[0].values.dtype.name} == {"int16"}
    assert np.abs(golden.inputs.astype(int)).max() > 2**14
    tried = host.deploy(bundle.folder).self_test
    assert tried is not None
    assert (tried.exact, tried.allowed_steps) == (True, 0)


def test_what_is_in_use_already_is_left_alone(host: HostTarget, bundles: tuple[Path, Path]) -> None:
    kept = Path(host.deploy(bundles[0]).path).parents[1]
    before = times(kept)
    again = host.deploy(bundles[0])
    assert not again.changed
    assert again.self_test is None
    assert times(kept) == before


class Spoiled:
    """A device whose answers to the self-test are spoiled by something else that happens there."""

    def __init__(self, runner: Runner, deed: Callable[[], None]) -> None:
        self._runner = runner
        self._deed = deed

    def __call__(self, path: str, inputs: Any) -> Any:
        self._deed()
        return self._runner.outputs(path, inputs, "auto")


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "models")


@pytest.fixture
def local() -> Iterator[Local]:
    with Local() as transport:
        yield transport


@pytest.fixture
def runner(local: Local) -> Runner:
    return Runner(local, (sys.executable, "-I"))


@pytest.fixture
def deployed(local: Local, root: str, runner: Runner, bundles: tuple[Path, Path]) -> Installer:
    """An installer on a device that has the old version."""
    installer = runner.installer("bench", root)
    installer.deploy(Bundle.read(bundles[0]))
    return installer


def in_use(installer: Installer) -> str:
    told = installer.deployed("net")
    assert told is not None
    return told.sha256


def versions(root: str) -> int:
    return len(list(Path(root, "net", "versions").iterdir()))


def test_a_device_that_disagrees_keeps_the_old_model(
    local: Local, root: str, deployed: Installer, runner: Runner, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    lying = Path(shutil.copytree(bundles[1], tmp_path / "lying"))
    golden = Golden.load(lying)
    for each in golden.outputs:
        each.values[0] += 9
    golden.save(lying)
    bundle = Bundle.write(lying, "net")
    with pytest.raises(Disagreement, match=r"other outputs than the reference(.|\n)*still is\.") as caught:
        runner.installer("bench", root).deploy(bundle)
    assert caught.value.exit_code == 3
    assert not caught.value.parity.ok
    assert in_use(deployed) == Bundle.read(bundles[0]).version
    assert versions(root) == 1


def test_a_model_that_crashes_there_is_not_switched_to(
    local: Local, root: str, deployed: Installer, runner: Runner, bundles: tuple[Path, Path]
) -> None:
    def crash(path: str, inputs: Any) -> Any:
        model = Path(path)
        broken = bytearray(model.read_bytes())
        broken[20] = 0
        model.write_bytes(broken)
        return runner.outputs(path, inputs, "auto")

    with pytest.raises(UnusableModel, match="in use there still is"):
        Installer(local, "bench", root, crash).deploy(Bundle.read(bundles[1]))
    assert in_use(deployed) == Bundle.read(bundles[0]).version
    assert versions(root) == 1


def test_of_two_hosts_the_earlier_is_told_that_another_came_in_between(
    local: Local, root: str, deployed: Installer, runner: Runner, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    with Local() as elsewhere:
        other = Runner(elsewhere, (sys.executable, "-I")).installer("bench", root)
        third = Bundle.read(Path(shutil.copytree(bundles[0], tmp_path / "third")))
        spoiled = Spoiled(runner, lambda: assert_changed(other, third, deployed))
        with pytest.raises(InBetween, match="came in between"):
            Installer(local, "bench", root, spoiled).deploy(Bundle.read(bundles[1]))
    assert in_use(deployed) == third.version


def assert_changed(other: Installer, bundle: Bundle, deployed: Installer) -> None:
    """The other host deploys: what is there is damaged, so there is something to do."""
    told = deployed.deployed("net")
    assert told is not None
    Path(told.path).write_bytes(b"rotten")
    assert other.deploy(bundle).changed


class Noting(Local):
    """Notes what travels."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[str] = []

    def push(self, local: Path, name: str) -> str:
        self.pushed.append(name)
        return super().push(local, name)


def test_the_packed_model_travels_in_the_place_of_the_model(root: str, bundles: tuple[Path, Path]) -> None:
    bundle = Bundle.read(bundles[1])
    with Noting() as noting:
        told = Runner(noting, (sys.executable, "-I")).installer("bench", root).deploy(bundle)
    assert told.sha256 == bundle.version
    assert bundle.packed in noting.pushed
    assert "model.tflite" not in noting.pushed


def test_a_parcel_that_unpacks_to_something_else_is_refused(
    root: str, deployed: Installer, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundles[1], tmp_path / "other"))
    packed = Bundle.read(folder).packed
    old = Bundle.read(bundles[0])
    if not old.packed.endswith(packed[-3:]):
        folder.joinpath(packed).unlink()
        packed = old.packed
    shutil.copy(bundles[0] / old.packed, folder / packed)
    with pytest.raises(DeviceError, match="is not what was sent"):
        deployed.deploy(Bundle.write(folder, "net", packed))
    assert in_use(deployed) == old.version


def test_without_anything_that_runs_models_the_bytes_alone_are_checked(
    local: Local, root: str, bundles: tuple[Path, Path]
) -> None:
    told = Installer(local, "bench", root).deploy(Bundle.read(bundles[1]))
    assert told.changed
    assert told.self_test is None


def test_on_a_full_device_the_old_model_stays(
    local: Local, tmp_path: Path, bundles: tuple[Path, Path], runner: Runner
) -> None:
    old, new = (Bundle.read(bundle) for bundle in bundles)
    room = sum((old.folder / name).stat().st_size for name in old.kept) // 1024 + 40
    with small_disk(tmp_path / "small", f"size={room}k") as small:
        installer = runner.installer("bench", str(small))
        installer.deploy(old)
        with pytest.raises(DeviceError, match=r"could not be written(.|\n)*free some space"):
            installer.deploy(new)
        assert in_use(installer) == old.version
        assert versions(str(small)) == 1
        small.joinpath("net", "current", "golden-inputs.npy").unlink()


def test_a_rollback_to_nothing_is_a_sentence(local: Local, root: str, deployed: Installer) -> None:
    with pytest.raises(DeviceError, match="There is no previous version of 'net' on 'bench'"):
        deployed.rollback("net")
    with pytest.raises(DeviceError, match="nothing was deployed under this name"):
        deployed.rollback("other")
    with pytest.raises(TargetError, match="No model can be deployed as"):
        deployed.rollback("../net")


def test_damage_in_use_is_told(root: str, deployed: Installer) -> None:
    Path(root, "net", "current", "model.tflite").write_bytes(b"rotten")
    with pytest.raises(DeviceError, match="damaged"):
        deployed.deployed("net")


FOLDER = b"edgesmith-deploy 1\nfolder /models/net\n"
VERSION = b"a" * 64


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x1b[31m\xff" * 99,
        b"edgesmith-deploy 2\nfolder /x\n",
        b"edgesmith-deploy 1\nfolder x\n",
        b"edgesmith-deploy 1\nfolder /\x1b[2J\n",
        FOLDER + b"current " + VERSION + b"\n",
        FOLDER + b"current " + VERSION + b" " + VERSION + b"\n",
        FOLDER + b"current " + VERSION + b" " + VERSION + b" ../../etc\n",
        FOLDER + b"current ../../etc " + VERSION + b"\n",
        FOLDER + b"previous " + VERSION + b" " + VERSION + b" model.tflite\n",
        FOLDER + b"current " + VERSION + b" damaged\n" * 2,
        FOLDER + b"x" * 10**6,
    ],
)
def test_a_hostile_answer_is_refused(answer: bytes) -> None:
    with pytest.raises(DeviceError, match="cannot be trusted") as caught:
        Installer(Recording([Completed(0, answer)]), "bench", "/models").deployed("net")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (20, DeviceError, "Another deploy of 'net' on 'bench' is at work"),
        (25, ToolMissing, "A command that deploying needs is missing"),
        (24, DeviceError, "could not be written"),
        (127, DeviceError, r"ended with code 127. It last said: sh: no  \[2J"),
        (-9, DeviceError, "ended with code -9"),
    ],
)
def test_each_way_to_fail_is_a_sentence(code: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Installer(Recording([Completed(code, b"", b"sh: no \x1b[2J")]), "bench", "/models").rollback("net")


def test_nothing_that_a_user_wrote_reaches_a_shell(bundles: tuple[Path, Path]) -> None:
    recording = Recording([Completed(0, FOLDER)])
    Installer(recording, "a label; reboot", "/models; reboot").deployed("net")
    [call] = recording.calls
    assert call.argv == ("sh", "/recording/on_device_deploy.sh", "/models; reboot", "net", "10", "status")


DEPLOY = """
import sys
from pathlib import Path
from edge_targets.host import HostTarget
HostTarget().deploy(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.8, 1.1, 1.5, 2.0])
def test_a_host_that_is_killed_leaves_the_old_or_the_new(
    delay_s: float, host: HostTarget, bundles: tuple[Path, Path]
) -> None:
    old, new = (Bundle.read(bundle) for bundle in bundles)
    host.deploy(old.folder)
    process = subprocess.Popen([sys.executable, "-c", DEPLOY, str(new.folder)], start_new_session=True)
    time.sleep(delay_s)  # the instant itself is what is drawn
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    told = host.deployed("net")
    assert told is not None
    assert told.sha256 in (old.version, new.version)
    assert host.deploy(new.folder).previous_sha256 == old.version
