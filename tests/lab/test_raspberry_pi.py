"""The Raspberry Pi target against emulated boards with a real OpenSSH server: what it finds, gives and survives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, DeviceError, Timeout, ToolMissing
from edge_targets._errors import TargetError
from edge_targets._parity import TOLERANCE_STEPS
from edge_targets._ssh import Ssh
from edge_targets._ssh_connect import Login
from edge_targets.host import HostTarget
from edge_targets.raspberry_pi import RaspberryPiTarget
from tests.edge_targets.wheels import wheel_of
from tests.lab.lab import Lab
from tests.lab.pi import Pi

MODEL = Path(__file__).parents[1] / "edge_targets/data/tiny_int8.tflite"
X = np.random.default_rng(3).integers(-128, 128, (5, 8, 8, 1)).astype(np.int8)
QUICK = BenchmarkPlan(num_runs=5, warmup_runs=1, min_secs=0, max_secs=2)


def reach(pi: Pi, **changes: Any) -> dict[str, Any]:
    """The settings that lead to a board."""
    given = {name: getattr(pi, name) for name in ("host", "port", "user", "key_file", "known_hosts")}
    return {**given, **changes}


def target(pi: Pi, **changes: Any) -> RaspberryPiTarget:
    return RaspberryPiTarget(**reach(pi, **changes))


def ssh(pi: Pi, **changes: Any) -> Ssh:
    return Ssh(Login(**reach(pi, **changes)))


def refusal(pi: Pi, **changes: Any) -> DeviceError:
    with pytest.raises(DeviceError) as caught, ssh(pi, **changes):
        pass
    return caught.value


@contextmanager
def unplugged_when(pi: Pi, there: str) -> Iterator[None]:
    """The plug is pulled once a file of this name lies in a work folder there."""

    def pull() -> None:
        deadline = time.monotonic() + 60
        while not list(pi.root.glob(f"tmp/edgesmith-*/{there}")) and time.monotonic() < deadline:
            time.sleep(0.01)
        pi.kill_daemon()

    plug = threading.Thread(target=pull)
    plug.start()
    yield
    plug.join()


def wait_until_none_sleeps(pi: Pi) -> None:
    deadline = time.monotonic() + 10
    while "sleep 7" in pi.run(["ps", "-eo", "args"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


# ---- what it finds and gives ----


def test_a_board_tells_what_it_is(lab: Lab) -> None:
    found = target(lab.pis[0]).info()
    assert (found.machine, found.cpu_model) == ("aarch64", "Raspberry Pi 4 Model B Rev 1.5")
    assert (found.governor, found.temperature_c, found.power) == ("ondemand", 48.312, "not throttled")
    assert found.emulator.startswith("qemu-aarch64")
    assert found.os.startswith("Debian GNU/Linux 12")


def test_two_boards_side_by_side_give_what_the_host_gives(lab: Lab) -> None:
    found: dict[int, Any] = {}

    def evaluate(place: int) -> None:
        found[place] = target(lab.pis[place]).evaluate(MODEL, [X])

    threads = [threading.Thread(target=evaluate, args=(place,)) for place in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reference = HostTarget().evaluate(MODEL, [X])
    assert np.array_equal(found[0], reference)
    assert np.array_equal(found[1], reference)


def test_a_bare_board_is_given_an_interpreter(lab: Lab) -> None:
    with pytest.raises(ToolMissing, match=r"Python 3\.11\.\d+, aarch64, glibc 2\.36\) has no ai_edge_litert"):
        target(lab.bare).evaluate(MODEL, [X])
    ready = target(lab.bare, wheels=lab.wheels["aarch64"])
    assert np.array_equal(ready.evaluate(MODEL, [X]), HostTarget().evaluate(MODEL, [X]))


def test_a_32_bit_board_gives_what_the_reference_kernels_give(lab: Lab) -> None:
    carried = target(lab.armhf, wheels=lab.wheels["armv7l"], folder="carried")
    # A model with biases: without any, tflite-runtime's optimized kernels crash there.
    digits = MODEL.with_name("digits_int8.tflite")
    images = np.random.default_rng(0).integers(-128, 128, (4, 28, 28, 1), np.int8)
    reference = HostTarget(reference=True, runtime="tflite_runtime").evaluate(digits, [images])
    assert np.abs(carried.evaluate(digits, [images]).astype(int) - reference).max() <= TOLERANCE_STEPS
    assert len(list(lab.armhf.root.glob("home/pi/carried/runtimes/wheels-*/tflite_runtime"))) == 1
    with pytest.raises(ToolMissing, match=r"fits the device \(.*armv7l.*: ai_edge_litert.*aarch64"):
        target(lab.armhf, wheels=lab.wheels["aarch64"]).evaluate(MODEL, [X])


# ---- faults ----


def test_a_wheel_for_another_processor_is_named_before_anything_is_sent(lab: Lab, tmp_path: Path) -> None:
    wheel = wheel_of("tflite-runtime", tmp_path)
    with pytest.raises(ToolMissing, match=rf"fits the device \(.*aarch64.*: {wheel.name}"):
        target(lab.bare, wheels=tmp_path).evaluate(MODEL, [X])


def test_a_wrong_key_a_changed_host_key_and_a_dead_daemon_are_told(lab: Lab) -> None:
    pi = lab.pis[0]
    assert "does not accept any of the keys" in refusal(pi, key_file=pi.wrong_key_file).what
    with pi.change_host_key():
        refused = refusal(pi)
    assert "has changed: it shows SHA256:" in refused.what
    assert f"{pi.known_hosts} line 1" in refused.what
    pi.kill_daemon()
    assert f"{pi.host} port {pi.port} refuses connections" in refusal(pi).what


def test_a_board_that_is_unplugged_amid_a_push_is_told(lab: Lab, tmp_path: Path) -> None:
    pi, big = lab.pis[0], tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200 * 2**20)
    lost = pytest.raises(DeviceError, match="broke while it was to take the file big")
    with unplugged_when(pi, ".big.part"), lost, ssh(pi) as transport:
        transport.push(big, "big")


def test_a_board_that_is_unplugged_amid_a_run_is_told(lab: Lab) -> None:
    pi = lab.pis[0]
    lost = pytest.raises(DeviceError, match="broke while it was to run 'sh'")
    with unplugged_when(pi, "running"), lost, ssh(pi) as transport:
        transport.run(["sh", "-c", "touch running; sleep 60"], timeout_s=60)


def test_a_board_that_hangs_is_given_up(lab: Lab) -> None:
    pi = lab.pis[0]
    with ssh(pi) as transport:
        with pi.frozen(), pytest.raises(Timeout, match=r"'true' had not finished on .* after 1 s"):
            transport.run(["true"], timeout_s=1)
        with pi.frozen():
            assert isinstance(refusal(pi, connect_timeout_s=1), Timeout)


def test_nothing_of_a_run_outlives_its_timeout(lab: Lab) -> None:
    pi = lab.pis[0]
    # A daemon that was killed under a connection, as in the tests before, cannot clear up.
    earlier = set(pi.root.glob("tmp/edgesmith-*"))
    with ssh(pi) as transport:
        with pytest.raises(Timeout):
            transport.run(["sh", "-c", "sleep 77 & trap '' TERM HUP; sleep 78"], timeout_s=2)
        wait_until_none_sleeps(pi)
        assert transport.run(["sh", "-c", "kill -BUS $$"], timeout_s=20).returncode == -7
    assert set(pi.root.glob("tmp/edgesmith-*")) <= earlier


def test_a_full_disk_is_told_and_nothing_half_stays(lab: Lab, tmp_path: Path) -> None:
    bare = lab.bare
    content = tmp_path / "content"
    content.write_bytes(bytes(2**20))
    with ssh(bare) as transport:
        with (
            bare.full_disk(),
            pytest.raises(DeviceError, match=r"No space left on device\n.*free some space") as caught,
        ):
            transport.push(content, "content")
        assert "could not take the file content" in caught.value.what
        assert not list(Path(f"{bare.root}{transport.path('x')}").parent.iterdir())
    with bare.full_disk(), pytest.raises(DeviceError, match="No space left"):
        target(bare, folder="full", wheels=lab.wheels["aarch64"]).evaluate(MODEL, [X])
    assert not list(bare.root.glob("home/pi/full/runtimes/*"))


def test_no_python_is_told(lab: Lab) -> None:
    with lab.bare.without_python(), pytest.raises(ToolMissing, match="'python3' could not be started"):
        target(lab.bare).info()


def test_a_runner_that_is_killed_for_memory_is_told(lab: Lab) -> None:
    if not lab.can_limit_memory:
        pytest.skip("this machine does not let memory be limited")
    with lab.pis[0].limit_memory(64 * 2**20), pytest.raises(TargetError, match="SIGKILL"):
        target(lab.pis[0]).benchmark({"tiny": MODEL}, QUICK)
