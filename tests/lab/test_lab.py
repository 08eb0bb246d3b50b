"""The lab is what it says: devices that answer, of another architecture, on loopback only, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import build
from tests.lab.device import Device, LabError, connect, release
from tests.lab.lab import Lab, emulation, is_free, running
from tests.lab.pi import Pi

COMPUTE = Path(__file__).with_name("compute.py")
# It has biases: tflite-runtime 2.14 crashes on ARM over fully connected layers without one.
MODEL = Path(__file__).parents[1] / "edge_targets/data/digits_int8.tflite"
PIS = ("kitchen", "garden", "bare", "attic")
IN_USE = Path("/proc/sys/fs/binfmt_misc")


def ssh(lab: Lab, pi: Pi, command: str, *options: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command on a device through OpenSSH's own client."""
    words: list[str | Path] = [lab.tools / "ssh", "-F", pi.ssh_config, *options, pi.name, command]
    return subprocess.run(words, input=stdin, capture_output=True, timeout=120)


def pi_named(lab: Lab, name: str) -> Pi:
    return next(device for device in lab.devices if isinstance(device, Pi) and device.name == name)


# ---- devices that answer ----


@pytest.mark.parametrize("name", PIS)
def test_a_pi_answers_ssh_as_what_it_is(lab: Lab, name: str) -> None:
    pi = pi_named(lab, name)
    done = ssh(lab, pi, "uname -m; hostname; id -un; cat /proc/device-tree/model; vcgencmd get_throttled >&2; exit 7")
    machine, host, user, model = done.stdout.decode().split(maxsplit=3)
    assert (machine, host, user) == ("armv7l" if name == "attic" else "aarch64", name, "pi")
    assert model == f"{pi.board.model}\0"
    assert (done.stderr, done.returncode) == (b"throttled=0x0\n", 7)


def test_android_answers_adb_as_what_it_is(lab: Lab, tmp_path: Path) -> None:
    phone = lab.android
    done = phone.client("shell", "uname -m; id -un; getprop ro.product.cpu.abi; echo oh >&2; exit 7")
    assert (done.stdout.split(), done.stderr, done.returncode) == (["aarch64", "shell", "arm64-v8a"], "oh\n", 7)
    assert phone.client("push", MODEL, "/data/local/tmp/a model").returncode == 0
    assert phone.client("pull", "/data/local/tmp/a model", tmp_path / "back").returncode == 0
    assert (tmp_path / "back").read_bytes() == MODEL.read_bytes()


def test_a_pi_opens_to_its_key_alone_and_shows_its_own(lab: Lab, tmp_path: Path) -> None:
    pi = lab.bare
    wrong_key = pi.ssh_config.read_text().replace(str(pi.key_file), str(pi.wrong_key_file))
    (tmp_path / "config").write_text(wrong_key)
    assert b"Permission denied (publickey)" in ssh(lab, pi, "true", "-F", str(tmp_path / "config")).stderr
    with pi.change_host_key():
        assert b"REMOTE HOST IDENTIFICATION HAS CHANGED" in ssh(lab, pi, "true").stderr
    assert ssh(lab, pi, "true").returncode == 0


# ---- what they compute ----


def outputs_here(runtime: str, kernels: str = "AUTO") -> bytes:
    words: list[str | Path] = [sys.executable, "-I", COMPUTE, MODEL, runtime, kernels]
    return subprocess.run(words, capture_output=True, check=True).stdout


def outputs_on(lab: Lab, pi: Pi, runtime: str) -> bytes:
    shutil.copy(MODEL, pi.root / "tmp/model.tflite")
    done = ssh(lab, pi, f"python3 -I - /tmp/model.tflite {runtime}", stdin=COMPUTE.read_bytes())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_litert_computes_the_same_bytes_there_as_here(lab: Lab) -> None:
    assert outputs_on(lab, lab.pis[0], "ai_edge_litert") == outputs_here("ai_edge_litert")


def test_tflite_runtime_computes_the_reference_on_64_and_on_32_bits(lab: Lab) -> None:
    reference = outputs_here("ai_edge_litert", "BUILTIN_REF")
    assert outputs_on(lab, lab.pis[1], "tflite_runtime") == reference
    assert outputs_on(lab, lab.armhf, "tflite_runtime") == reference


def test_a_wrong_processor_computes_something_else(lab: Lab) -> None:
    lab.pis[0].restart(cpu=None)
    assert outputs_on(lab, lab.pis[0], "ai_edge_litert") != outputs_here("ai_edge_litert")


def test_the_bare_board_has_no_interpreter_and_wheels_to_get_one(lab: Lab) -> None:
    assert ssh(lab, lab.bare, "python3 -c 'import zipfile'").returncode == 0
    assert b"No module named 'numpy'" in ssh(lab, lab.bare, "python3 -c 'import numpy'").stderr
    assert any(lab.wheels["aarch64"].glob("ai_edge_litert-*_aarch64.whl"))
    assert any(lab.wheels["armv7l"].glob("tflite_runtime-*_armv7l.whl"))


# ---- what can go wrong with them ----


@pytest.mark.parametrize("name", ["bare", "phone"])
def test_a_device_that_is_unplugged_comes_back_with_its_files(lab: Lab, name: str) -> None:
    device = next(device for device in lab.devices if device.name == name)
    (device.root / "etc/kept").write_text("kept")
    device.kill_daemon()
    port = device.port
    with pytest.raises(LabError, match="Nobody listens"):
        connect(str(getattr(device, "host", "127.0.0.1")), port, seconds=0.1)
    device.restart()
    assert (device.root / "etc/kept").read_text() == "kept"


def test_faults_last_as_long_as_they_should(lab: Lab) -> None:
    pi = lab.bare
    with pi.full_disk():
        assert b"No space left" in ssh(lab, pi, "echo x > x; echo x > /tmp/x").stderr
    with pi.without_python():
        assert b"not found" in ssh(lab, pi, "python3 -V").stderr
    with pi.frozen(), pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([lab.tools / "ssh", "-F", pi.ssh_config, pi.name, "true"], timeout=0.5)
    done = ssh(lab, pi, "echo x > x && echo x > /tmp/x && cat x && python3 -V")
    assert (done.returncode, done.stdout[:9]) == (0, b"x\nPython "), done.stderr


def test_more_memory_than_there_is_gets_one_killed(lab: Lab) -> None:
    if not lab.can_limit_memory:
        pytest.skip("this kernel offers no control group for memory")
    with lab.bare.limit_memory(64 * 2**20):
        assert ssh(lab, lab.bare, "python3 -c 'bytearray(256 << 20)'; echo $?").stdout == b"137\n"


# ---- what is left of them ----


def listening(device_pids: list[int]) -> Iterator[str]:
    """Addresses, as the kernel writes them, at which these processes wait for others."""
    sockets = {str(fd.readlink()) for pid in device_pids for fd in Path(f"/proc/{pid}/fd").iterdir()}
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        table = Path(f"/proc/net/{protocol}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            words = line.split()
            waits = words[3] == ("0A" if protocol.startswith("tcp") else "07")
            if waits and f"socket:[{words[9]}]" in sockets:
                yield words[1]


def test_everything_listens_on_loopback_only(lab: Lab) -> None:
    for device in lab.devices:
        addresses = list(listening(device.processes()))
        assert len(addresses) == 1
        assert addresses[0][6:8] == "7F"  # 127.x.y.z: the kernel writes the first byte last
    server = [int(path.name) for path in Path("/proc").glob("[0-9]*") if path.name.isdigit() and is_server(path, lab)]
    addresses = list(listening(server))
    assert addresses and all(address.startswith("0100007F:") for address in addresses)


def is_server(process: Path, lab: Lab) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        variable = f"ANDROID_ADB_SERVER_PORT={lab.android.server_port}".encode()
        return words[1:3] == [b"nodaemon", b"server"] and variable in (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def mentions(folder: Path) -> list[str]:
    """Processes that see a mount below this folder, or were started with it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "mountinfo").read_text() + (process / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if f"{folder}/" in told:
            found.append(process.name)
    return found


def test_a_lab_leaves_nothing(lab: Lab) -> None:
    with running(build.build()) as second:
        assert second.folder != lab.folder
        assert {device.name for device in second.devices} == {device.name for device in lab.devices}
        assert len(mentions(second.folder)) > len(second.devices)
    assert mentions(second.folder) == []
    assert not second.folder.exists()
    assert ssh(lab, lab.bare, "true").returncode == 0  # the one does not disturb the other


def test_a_lab_ends_with_the_process_that_holds_it(lab: Lab) -> None:
    # Amid a hang, too, and without a chance to clear up.
    hold = "import time; from tests.lab import build; from tests.lab.lab import running\n"
    hold += "with running(build.build()) as lab, lab.bare.frozen(), lab.android.frozen():\n"
    hold += "    print(lab.folder, flush=True); time.sleep(60)"
    keeper = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, start_new_session=True)
    assert keeper.stdout is not None
    folder = Path(keeper.stdout.readline().decode().strip())
    assert len(mentions(folder)) > len(lab.devices)
    time.sleep(0.5)  # for nsenter to have stopped
    keeper.send_signal(signal.SIGKILL)
    keeper.communicate()
    deadline = time.monotonic() + 20
    while mentions(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mentions(folder) == []
    assert is_free(int(folder.name.removeprefix("slot-")))


def registered(prefix: str) -> list[str]:
    """Names in binfmt_misc, which is mounted nowhere but where it is used."""
    command = ["unshare", "--mount", "sh", "-c", f"mount -t binfmt_misc none {IN_USE} && ls {IN_USE}"]
    names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    return sorted(name for name in names if name.startswith(prefix))


def test_the_last_lab_takes_its_emulators_along(lab: Lab, tmp_path: Path) -> None:
    prefix = f"edgesmith-test-{os.getpid()}"  # names of our own: other labs may be up
    first, second = (emulation(lab.tools.parent, tmp_path, prefix) for _ in range(2))
    assert registered(prefix) == [f"{prefix}-aarch64", f"{prefix}-arm"]
    release(first)
    assert len(registered(prefix)) == 2
    release(second)
    assert registered(prefix) == []


def test_devices_are_told_apart(lab: Lab) -> None:
    roots: list[Device] = list(lab.devices)
    (lab.bare.root / "tmp/mine").touch()
    assert [(device.root / "tmp/mine").exists() for device in roots].count(True) == 1
