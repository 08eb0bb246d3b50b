"""Deploying to emulated boards with a real sshd: a second version, back, unplugged, two at once, a full disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_targets import DeviceError, TargetError
from edge_targets._bundle import Bundle
from edge_targets._deploy import InBetween
from edge_targets._parity import Deployment
from pipeline.bundle import make_bundle
from tests.lab.lab import Lab
from tests.lab.pi import Pi
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
