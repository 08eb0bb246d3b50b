"""The lab: its devices, up together and down together."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tests.lab import memory
from tests.lab.android import Android
from tests.lab.device import HERE, Board, LabError, hold, release
from tests.lab.packages import WHEELS
from tests.lab.pi import Keys, Pi

# Loopback addresses and binfmt registrations are the machine's: so is the folder that shares them out.
RUN = Path("/run/edgesmith-lab")
MOST_LABS = 16
FIRST_NETWORK = 10
FIRST_ADBD_PORT = 25557
FIRST_SERVER_PORT = 25037


@dataclass(frozen=True)
class Lab:
    """Devices that answer.

    Attributes:
        pis: arm64 boards with Python, LiteRT and tflite-runtime.
        bare: an arm64 board with Python, but without numpy and interpreters.
        armhf: a 32-bit board with tflite-runtime, and Debian's numpy.
        android: an Android device.
        wheels: what could be carried to boards of each machine: a folder of wheels.
        tools: a folder with the programs adb, ssh, scp, sftp and ssh-keygen.
        folder: where it keeps its files, `lab.json` among them.
        can_limit_memory: whether `limit_memory` works on this machine.
    """

    pis: list[Pi]
    bare: Pi
    armhf: Pi
    android: Android
    wheels: Mapping[str, Path]
    tools: Path
    folder: Path
    can_limit_memory: bool

    @property
    def devices(self) -> list[Pi | Android]:
        """All of them."""
        return [*self.pis, self.bare, self.armhf, self.android]

    def describe(self) -> dict[str, Any]:
        """How to reach everything, for people and for JSON."""
        programs = {program.name: str(program) for program in sorted(self.tools.iterdir())}
        wheels = {machine: str(folder) for machine, folder in self.wheels.items()}
        return {
            "devices": {device.name: device.describe() for device in self.devices},
            "programs": programs,
            "wheels": wheels,
        }


@contextmanager
def running(parts: Mapping[str, Path], *, stays: bool = False) -> Iterator[Lab]:
    """A lab of one's own, made of built parts, for as long as the context lasts.

    Args:
        parts: the folder of each.
        stays: noted in `lab.json`: it is for others, until somebody ends this process.
    """
    with ExitStack() as stack:
        slot = stack.enter_context(_slot())
        folder = RUN / f"slot-{slot}"
        shutil.rmtree(folder, ignore_errors=True)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(release, emulation(parts["tools"]))
        lab = _start(parts, folder, slot, stack)
        described = {"slot": slot, "process": os.getpid(), "stays": stays, **lab.describe()}
        (folder / "lab.json").write_text(json.dumps(described, indent=2) + "\n")
        yield lab


def _start(parts: Mapping[str, Path], folder: Path, slot: int, stack: ExitStack) -> Lab:
    folder.mkdir(parents=True)
    clients = parts["tools"] / "clients"
    keys = Keys(folder, clients / "ssh-keygen")
    pis = {}
    for place, (name, board) in enumerate(_boards(parts).items(), start=1):
        host = f"127.0.{FIRST_NETWORK + slot}.{place}"
        pis[name] = Pi(name, board, folder / name, (host, _port(host)), keys)
        stack.callback(pis[name].close)
    server_port = FIRST_SERVER_PORT + slot
    stack.callback(release, _adb_server(clients / "adb", server_port, folder))
    layers = [parts[name] for name in ("adbd", "android")] + [parts["wheels-aarch64"] / "layer", parts["arm64"]]
    phone = Board("Lab Phone", HERE / "boards/cpuinfo-aarch64", "cortex-a76", layers, ["data"])
    android = Android("phone", phone, folder / "phone", FIRST_ADBD_PORT + slot, clients / "adb", server_port)
    stack.callback(android.close)
    for device in (*pis.values(), android):
        device.wait()
    return Lab(
        pis=[pis["kitchen"], pis["garden"]],
        bare=pis["bare"],
        armhf=pis["attic"],
        android=android,
        wheels={machine: parts[f"wheels-{machine}"] / "wheels" for machine in WHEELS},
        tools=clients,
        folder=folder,
        can_limit_memory=memory.can_be_limited(),
    )


def _boards(parts: Mapping[str, Path]) -> dict[str, Board]:
    """The Pis, by their host names."""
    pi4 = partial(Board, "Raspberry Pi 4 Model B Rev 1.5", HERE / "boards/cpuinfo-aarch64", "cortex-a72")
    pi2 = partial(Board, "Raspberry Pi 2 Model B Rev 1.1", HERE / "boards/cpuinfo-armv7l", "cortex-a7")
    small = ["home", "tmp"]
    full = [parts["wheels-aarch64"] / "layer", parts["arm64"]]
    return {
        "kitchen": pi4(full, small),
        "garden": pi4(full, small),
        "bare": pi4([parts["arm64"]], small),
        "attic": pi2([parts["wheels-armv7l"] / "layer", parts["armhf"]], small),
    }


def _adb_server(adb: Path, port: int, home: Path) -> subprocess.Popen[bytes]:
    # adb keeps its keys in the home directory: these are for this lab alone.
    environment = {**os.environ, "HOME": str(home), "ANDROID_ADB_SERVER_PORT": str(port)}
    return hold(["sh", HERE / "adb_server.sh"], [adb], environment)


@contextmanager
def _slot() -> Iterator[int]:
    """A number that no other lab has while this one lives: its addresses and ports follow from it."""
    RUN.mkdir(exist_ok=True)
    for number in range(MOST_LABS):
        with _lock_of(number).open("w") as lock:
            if _try(lock):
                yield number
                return
    raise LabError(f"{MOST_LABS} labs are up already.")


def is_free(slot: int) -> bool:
    """Whether no lab lives in this slot."""
    with _lock_of(slot).open("w") as lock:
        return _try(lock)


def _lock_of(slot: int) -> Path:
    return RUN / f"slot-{slot}.lock"


def _try(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def emulation(tools: Path, locks: Path = RUN, prefix: str = "edgesmith-lab") -> subprocess.Popen[bytes]:
    """Have the kernel start ARM programs by QEMU until `release`, under names of this prefix."""
    return hold(["unshare", "--mount", "sh", HERE / "binfmt.sh"], [locks, tools / "usr/bin", prefix])


def _port(host: str) -> int:
    """Port 22, unless a server of this machine has it at every address."""
    with socket.socket() as attempt:
        try:
            attempt.bind((host, 22))
        except OSError:
            return 2222
    return 22
