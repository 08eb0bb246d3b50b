"""Android over the real adb client, against the fake device: what it must do, and all that can go wrong on the way."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from edge_targets import DeviceError, Timeout, ToolMissing
from edge_targets._adb import Adb
from tests.edge_targets.adb_cases import CASES, Reach, sh
from tests.edge_targets.adb_program import AdbServer
from tests.edge_targets.adbd_fake import FakeAdbd


@pytest.fixture
def device(tmp_path: Path) -> Iterator[FakeAdbd]:
    root = tmp_path / "a device's root $(x)"
    root.mkdir()
    with FakeAdbd(root) as found:
        yield found


@pytest.fixture
def reach(device: FakeAdbd, adb_server: AdbServer) -> Reach:
    return partial(over, device, adb_server)


def over(device: FakeAdbd, server: AdbServer, *, most_output_bytes: int = 2**20, most_pulled_bytes: int = 2**20) -> Adb:
    return Adb(
        connect=device.serial,
        adb=server.program,
        server_port=server.port,
        root=str(device.root / "tmp & more"),
        most_output_bytes=most_output_bytes,
        most_pulled_bytes=most_pulled_bytes,
    )


@pytest.mark.parametrize("features", ["shell_v2,cmd", "cmd"], ids=["new", "old"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_device(
    case: Callable[[Reach, Path], None], features: str, device: FakeAdbd, reach: Reach, tmp_path: Path
) -> None:
    device.manners.features = features
    case(reach, tmp_path)


def test_a_device_without_sha256sum_is_read_back(device: FakeAdbd, reach: Reach, tmp_path: Path) -> None:
    device.manners.programs = tmp_path / "bin"
    device.manners.programs.mkdir()
    device.manners.programs.joinpath("sha256sum").write_text("#!/bin/sh\nexit 127\n")
    device.manners.programs.joinpath("sha256sum").chmod(0o755)
    with reach() as adb:
        assert adb.run(["cat", adb.push(Path(__file__), "file")], timeout_s=60).stdout == Path(__file__).read_bytes()
        device.manners.corrupt = True
        with pytest.raises(DeviceError, match="is not what was sent"):
            adb.push(Path(__file__), "other")


def test_what_changes_on_the_way_is_refused_and_leaves_what_was_there(device: FakeAdbd, reach: Reach) -> None:
    with reach() as adb:
        adb.push(Path(__file__), "file")
        device.manners.corrupt = True
        with pytest.raises(DeviceError, match="is not what was sent"):
            adb.push(Path(__file__), "file")
        assert sh(adb, "ls -A; cat file").stdout == b"file\n" + Path(__file__).read_bytes()


def test_a_full_disk(device: FakeAdbd, reach: Reach) -> None:
    with reach() as adb:
        device.manners.disk_bytes = 10
        with pytest.raises(DeviceError, match="No space left") as caught:
            adb.push(Path(__file__), "file")
        assert "free some space" in caught.value.mend


def test_unplugged_during_a_push(device: FakeAdbd, reach: Reach, tmp_path: Path) -> None:
    tmp_path.joinpath("large").write_bytes(bytes(2**21))
    with reach() as adb:
        device.manners.drop_after_bytes = 2**20
        with pytest.raises(DeviceError, match="large could not be sent"):
            adb.push(tmp_path / "large", "large")
    assert not [path for path in device.root.rglob("*large*") if path.name == "large"]


@pytest.mark.parametrize("features", ["shell_v2", ""], ids=["new", "old"])
def test_unplugged_during_a_run(features: str, device: FakeAdbd, reach: Reach) -> None:
    device.manners.features = features
    with reach() as adb:
        device.manners.drop_on = "half"
        with pytest.raises(DeviceError, match="was lost"):
            sh(adb, "sleep 600 & echo half; wait; exit 3")
        device.manners.drop_on = None
    deadline = time.monotonic() + 20
    while left := running_in(device.root):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def running_in(folder: Path) -> list[int]:
    """The processes that work in a folder or below."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if path.readlink().is_relative_to(folder):
                found.append(int(path.parent.name))
    return found


def test_a_device_that_was_unplugged_is_reached_again(device: FakeAdbd, reach: Reach) -> None:
    with reach():
        device.unplug()
    with reach() as adb:
        assert sh(adb, "echo back").stdout == b"back\n"


def test_a_device_that_takes_connections_and_falls_silent(device: FakeAdbd, reach: Reach) -> None:
    device.manners.silent = True
    with pytest.raises(DeviceError) as caught, reach():
        pass
    assert device.serial in caught.value.what
    device.manners.silent = False
    with reach() as adb:
        assert sh(adb, "echo back").stdout == b"back\n"


def test_a_device_that_takes_a_command_and_falls_silent(device: FakeAdbd, reach: Reach) -> None:
    with reach() as adb:
        device.manners.hang_on = "echo"
        with pytest.raises(Timeout, match="'sh' had not finished"):
            sh(adb, "echo", timeout_s=1)
        device.manners.hang_on = None


@pytest.mark.parametrize("answer", ["", "\n{token} 9x\n", "\n{token} \n", "\n{token} 12345\n"])
def test_nonsense_instead_of_an_answer(answer: str, device: FakeAdbd, reach: Reach) -> None:
    with reach() as adb:
        device.manners.garbage_on, device.manners.answer = "echo", answer
        with pytest.raises(DeviceError, match="was lost") as caught:
            sh(adb, "echo")
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_a_device_that_has_not_allowed_debugging(device: FakeAdbd, reach: Reach) -> None:
    device.manners.authorized = False
    with pytest.raises(DeviceError, match=r"unauthorized|failed to authenticate") as caught, reach():
        pass
    assert "allow USB debugging" in caught.value.mend


def test_nobody_listens(adb_server: AdbServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(DeviceError, match=f"could not connect to '{address}'.*refused"),
        Adb(connect=address, adb=adb_server.program, server_port=adb_server.port),
    ):
        pass


def test_no_device_and_several(adb_server: AdbServer, tmp_path: Path) -> None:
    def adb(serial: str | None = None) -> Adb:
        return Adb(serial, adb=adb_server.program, server_port=adb_server.port, root=str(tmp_path / "root"))

    adb_server.forget_devices()
    with pytest.raises(DeviceError, match="sees no device"), adb():
        pass
    with FakeAdbd(tmp_path) as first, FakeAdbd(tmp_path) as second:
        with over(first, adb_server), adb() as only:
            assert only.serial == first.serial
        with over(second, adb_server), pytest.raises(DeviceError, match="sees 2 devices") as caught, adb():
            pass
        assert f"{first.serial} (device)" in str(caught.value)
        assert f"{second.serial} (device)" in str(caught.value)
        with adb(second.serial) as chosen:
            assert chosen.serial == second.serial
        with pytest.raises(DeviceError, match="no device 'other'; it sees") as caught, adb("other"):
            pass


def test_an_emulator_has_a_name_of_its_own(adb_server: AdbServer, tmp_path: Path) -> None:
    with FakeAdbd(tmp_path) as device:
        adb_server.ask("start-server")
        adb_server.announce(device.port)
        serial = f"emulator-{device.port - 1}"
        with Adb(serial, adb=adb_server.program, server_port=adb_server.port, root=str(tmp_path)) as adb:
            assert sh(adb, "echo here").stdout == b"here\n"


def test_adb_is_missing() -> None:
    with (
        pytest.raises(ToolMissing, match=r"no program 'no-such-adb'.*\n.*\n.*apt-get install adb"),
        Adb(adb="no-such-adb"),
    ):
        pass


def test_another_program_holds_the_servers_port(adb_server: AdbServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=_answer_nothing, args=(other,), daemon=True).start()
        reach = Adb(adb=adb_server.program, server_port=other.getsockname()[1])
        with pytest.raises(ToolMissing, match="adb server could not be started"), reach:
            pass
        other.shutdown(socket.SHUT_RDWR)


def _answer_nothing(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            listener.accept()[0].close()


def test_folders_that_a_lost_connection_left_go_in_time(device: FakeAdbd, reach: Reach) -> None:
    for name, days in (("run-old", 3), ("run-new", 1), ("models", 9)):
        path = device.root / "tmp & more" / name
        path.mkdir(parents=True)
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - days * 86400))
    with reach():
        pass
    assert sorted(path.name for path in device.root.joinpath("tmp & more").iterdir()) == ["models", "run-new"]
