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
from pathlib import Path
from typing import IO, Any

from tests.lab import memory
from tests.lab.device import HERE, Board, LabError, hold, release
from tests.lab.pi import Keys, Pi

# Loopback addresses and binfmt registrations are the machine's: so is the folder that shares them out.
RUN = Path("/run/edgesmith-lab")
MOST_LABS = 16
SMALL = ("home", "tmp")


@dataclass(frozen=True)
class Lab:
    """Devices that answer.

    Attributes:
        pis: arm64 boards with Python, LiteRT and tflite-runtime.
        bare: an arm64 board with Python, but without numpy and interpreters.
        armhf: a 32-bit board with tflite-runtime.
        wheels: what could be carried to boards of each machine: a folder of wheels.
        tools: a folder with the programs adb, ssh, scp, sftp and ssh-keygen.
        folder: where it keeps its files, `lab.json` among them.
        can_limit_memory: whether `limit_memory` works on this machine.
    """

    pis: list[Pi]
    bare: Pi
    wheels: Mapping[str, Path]
    tools: Path
    folder: Path
    can_limit_memory: bool

    @property
    def devices(self) -> list[Pi]:
        """All of them."""
        return [*self.pis, self.bare]

    def describe(self) -> dict[str, Any]:
        """How to reach everything, for people and for JSON."""
        programs = {program.name: str(program) for program in sorted(self.tools.iterdir())}
        wheels = {machine: str(folder) for machine, folder in self.wheels.items()}
        return {"devices": {pi.name: pi.describe() for pi in self.devices}, "programs": programs, "wheels": wheels}


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
        stack.callback(release, _emulation(parts["tools"]))
        lab = _start(parts, folder, slot, stack)
        described = {"slot": slot, "process": os.getpid(), "stays": stays, **lab.describe()}
        (folder / "lab.json").write_text(json.dumps(described, indent=2) + "\n")
        yield lab


def _start(parts: Mapping[str, Path], folder: Path, slot: int, stack: ExitStack) -> Lab:
    folder.mkdir(parents=True)
    tools = parts["tools"] / "clients"
    keys = Keys(folder, tools / "ssh-keygen")
    arm64 = parts["arm64"]
    pi4 = ("Raspberry Pi 4 Model B Rev 1.5", HERE / "boards/cpuinfo-aarch64", "cortex-a72")
    boards = {
        "kitchen": Board(*pi4, (parts["wheels-aarch64"] / "layer", arm64), SMALL),
        "garden": Board(*pi4, (parts["wheels-aarch64"] / "layer", arm64), SMALL),
        "bare": Board(*pi4, (arm64,), SMALL),
    }
    pis = {}
    for place, (name, board) in enumerate(boards.items(), start=1):
        host = f"127.0.{10 + slot}.{place}"
        pis[name] = Pi(name, board, folder / name, (host, _port(host)), keys)
        stack.callback(pis[name].close)
    for pi in pis.values():
        pi.wait()
    return Lab(
        pis=[pis["kitchen"], pis["garden"]],
        bare=pis["bare"],
        wheels={machine: parts[f"wheels-{machine}"] / "wheels" for machine in ("aarch64",)},
        tools=tools,
        folder=folder,
        can_limit_memory=memory.can_be_limited(),
    )


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


def _emulation(tools: Path) -> subprocess.Popen[bytes]:
    return hold(["unshare", "--mount", "sh", HERE / "binfmt.sh"], [RUN, tools / "usr/bin"])


def _port(host: str) -> int:
    """Port 22, unless a server of this machine has it at every address."""
    with socket.socket() as attempt:
        try:
            attempt.bind((host, 22))
        except OSError:
            return 2222
    return 22
