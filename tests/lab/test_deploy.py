"""Deploying to emulated boards with a real sshd: a second version, back, unplugged, two at once, a full disk."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_targets import DeviceError, TargetError
from edge_targets._bundle import Bundle
from edge_targets._deploy import InBetween
from edge_targets._parity import Deployment
from pipeline.bundle import make_bundle
from tests.edge_targets.stages import run_of_two_files
from tests.lab.lab import Lab
from tests.lab.pi import Pi
from tests.lab.test_android import PYTHON
from tests.lab.test_android import target as on_phone
from tests.lab.test_raspberry_pi import target, unplugged_when

DATA = Path(__file__).parents[1] / "edge_targets" / "data"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Two versions of one model: float32, and int8 with its packed form."""
    folder = tmp_path_factory.mktemp("versions")
    return (
        make_bundle(DATA / "tiny_float32.tflite", folder / "old", name="net"),
        make_bundle(DATA / "tiny_int8.tflite", folder / "new", name="net", packed=True),
    )


def in_use(pi: Pi) -> str:
    found = target(pi).deployed("net")
    assert found is not None
    return found.sha256


def test_a_second_version_is_tried_there_and_goes_back(lab: Lab, versions: tuple[Bundle, Bundle]) -> None:
    old, new = versions
    board = target(lab.pis[0])
    assert board.deploy(old.folder).changed
    second = board.deploy(new.folder)
    assert second.self_test is not None
    assert second.self_test.exact
    assert (second.sha256, second.previous_sha256) == (new.version, old.version)
    assert not board.deploy(new.folder).changed
    assert lab.pis[0].root.joinpath(second.path.lstrip("/")).parent.is_symlink()
    with lab.pis[0].without_python():
        assert board.rollback("net").sha256 == old.version


def test_a_model_in_two_files_is_tried_there_and_comes_and_goes(
    lab: Lab, versions: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    """On a board over ssh with the kernels of this machine, and on a phone by adb."""
    single = versions[0]
    run = run_of_two_files(tmp_path / "run")
    both = make_bundle(run, tmp_path / "both")
    board = target(lab.pis[0])
    board.deploy(single.folder)
    done = board.deploy(both.folder)
    assert done.self_test is not None
    assert (done.self_test.kernels, done.self_test.exact) == ("xnnpack", True)
    assert "of ai_edge_litert" in done.self_test.why
    assert done.self_test.why.endswith("4 of 8 leave early, as they should")
    there = lab.pis[0].root / done.path.lstrip("/")
    inputs = there.with_name("golden-inputs.npy")
    said = [
        sys.executable,
        "-I",
        str(run / "run_cascade.py"),
        str(run / "cascade.json"),
        str(inputs),
    ]
    here = subprocess.run(said, capture_output=True, text=True, check=True, timeout=60).stdout
    folder = Path(done.path).parent
    argv = ["python3", *(str(folder / name) for name in ("run_cascade.py", "cascade.json", "golden-inputs.npy"))]
    assert lab.pis[0].run(argv).splitlines() == here.splitlines()
    with lab.pis[0].without_python():
        assert board.rollback("net").sha256 == single.version
        assert board.rollback("net").path == done.path
    phone = on_phone(lab.android, python=PYTHON).deploy(both.folder)
    assert phone.self_test is not None
    assert (phone.self_test.exact, Path(phone.path).name) == (True, "cascade.json")


def test_unplugged_between_the_two_files_the_old_stays(
    lab: Lab, versions: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    both = make_bundle(run_of_two_files(tmp_path / "run"), tmp_path / "both")
    pi = lab.pis[0]
    target(pi).deploy(versions[0].folder)
    with unplugged_when(pi, "model.rest.tflite"), pytest.raises(TargetError):
        target(pi).deploy(both.folder)
    pi.restart()
    assert in_use(pi) == versions[0].version
    assert target(pi).deploy(both.folder).previous_sha256 == versions[0].version


@pytest.mark.parametrize("there", ["SHA256SUMS", "golden-inputs.npy", "inputs.npy"])
def test_unplugged_while_it_is_sent_or_tried_the_old_stays(
    there: str, lab: Lab, versions: tuple[Bundle, Bundle]
) -> None:
    old, new = versions
    pi = lab.pis[0]
    target(pi).deploy(old.folder)
    with unplugged_when(pi, there), pytest.raises(TargetError):
        target(pi).deploy(new.folder)
    pi.restart()
    assert in_use(pi) == old.version
    assert target(pi).deploy(new.folder).previous_sha256 == old.version


def test_of_two_hosts_at_once_one_wins_and_the_other_is_told(lab: Lab, versions: tuple[Bundle, Bundle]) -> None:
    pi = lab.pis[0]
    outcomes: list[Deployment | TargetError] = []

    def deploy(bundle: Bundle) -> None:
        try:
            outcomes.append(target(pi).deploy(bundle.folder))
        except TargetError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=deploy, args=(bundle,)) for bundle in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [each for each in outcomes if isinstance(each, Deployment)]
    assert won
    assert all(isinstance(each, Deployment | InBetween) for each in outcomes)
    assert in_use(pi) in {each.sha256 for each in won}


def test_on_a_full_board_the_old_model_stays(lab: Lab, versions: tuple[Bundle, Bundle]) -> None:
    old, new = versions
    pi = lab.pis[0]
    target(pi).deploy(old.folder)
    with pi.full_disk(), pytest.raises(DeviceError, match=r"[Nn]o space left|free some space"):
        target(pi).deploy(new.folder)
    assert in_use(pi) == old.version
