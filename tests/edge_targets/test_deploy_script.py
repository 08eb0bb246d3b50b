"""The script that keeps models on a device: killed at each of its steps, raced, its files damaged. Always whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "edge_targets" / "_on_device_deploy.sh"
BUSY, DAMAGED, NOT_INSTALLED, NO_PREVIOUS, UNWRITABLE, NO_TOOL = 20, 21, 22, 23, 24, 25
TOOLS = ("cat", "chmod", "ln", "mkdir", "mv", "printf", "readlink", "rm", "sha256sum", "sleep", "sync")

CHANGING = ("chmod", "ln", "mkdir", "mv", "rm", "sync")

# Stands in the place of every command that changes something: what ends between two of them, ends before the second. At the one whose turn it is, all that runs ends: before it does anything, or when
# it has done half of what is not one step of the file system: a copy from another disk, the removal of a folder.
ENDS_ALL = """#!/bin/sh
read -r count < "$COUNT"
count=$((count + 1))
echo "$count" > "$COUNT"
if [ "$count" = "$TURN" ]; then
  case $HALF${0##*/}$2 in
    1mv/*) head -c 5 "$2" > "$3" ;;
    1rm*) PATH=$COMMANDS rm -f .trash/model.tflite .incoming/model.tflite .next/current ;;
  esac
  kill -9 0
fi
PATH=$COMMANDS exec "${0##*/}" "$@"
"""


@dataclass(frozen=True)
class Shell:
    """A shell and the commands that it finds: what a kind of device has."""

    argv: tuple[str, ...]
    commands: str = field(default_factory=lambda: os.environ["PATH"])


def shells(folder: Path) -> Iterator[tuple[str, Shell]]:
    """Those of this machine: dash and bash always; busybox, and Android's mksh with toybox, where they are installed."""
    yield "dash", Shell(("dash",))
    yield "bash", Shell(("bash", "--posix"))
    for name, shell in (("busybox", ("busybox", "sh")), ("toybox", ("mksh",))):
        binary, program = shutil.which(name), shutil.which(shell[0])
        if binary and program:
            commands = folder / name
            commands.mkdir(exist_ok=True)
            for tool in TOOLS:
                commands.joinpath(tool).unlink(missing_ok=True)
                commands.joinpath(tool).symlink_to(binary)
            yield name, Shell((program, *shell[1:]), str(commands))


NAMES = ["dash", "bash", *(name for name in ("busybox", "toybox") if shutil.which(name) and shutil.which("mksh"))]


@pytest.fixture(params=NAMES)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    return dict(shells(tmp_path))[request.param]


@pytest.fixture
def dash() -> Shell:
    return Shell(("dash",))


@dataclass(frozen=True)
class Device:
    """A folder as a device, and what is done to it."""

    home: Path
    shell: Shell

    @property
    def kept(self) -> Path:
        return self.home / "mo dels" / "digits"

    def start(self, *verb: str, wait_s: int = 0, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        work = self.home / "work"
        work.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [*self.shell.argv, str(SCRIPT), str(self.kept.parent), "digits", str(wait_s), *verb],
            cwd=work,
            env={"PATH": self.shell.commands, "HOME": str(self.home), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, *verb: str, wait_s: int = 0, env: dict[str, str] | None = None) -> int:
        process = self.start(*verb, wait_s=wait_s, env=env)
        process.communicate(timeout=60)
        return process.returncode

    def push(self, content: str) -> str:
        """What a host pushes; returns the version."""
        work = self.home / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for name in ("model.tflite", "golden-inputs.npy"):
            work.joinpath(name).write_text(f"{name} {content}")
        sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(work.iterdir())]
        work.joinpath("SHA256SUMS").write_text("".join(sums))
        return sha256(work / "model.tflite")

    def deploy(self, content: str, **env: str) -> tuple[int, ...]:
        version = self.push(content)
        return self.ask("install", version, env=env), self.ask("switch", version, env=env)

    def content(self, link: str = "current") -> str:
        """What a program on the device finds: the model's content, once all of its files are as they should be."""
        folder = self.kept / link
        for line in folder.joinpath("SHA256SUMS").read_text().splitlines():
            wanted, name = line.split("  ")
            assert sha256(folder / name) == wanted
        model = folder.joinpath("model.tflite").read_text()
        assert os.readlink(folder) == f"versions/{sha256(folder / 'model.tflite')}"
        return model.removeprefix("model.tflite ")

    def must_be_tidy(self) -> None:
        links = {os.readlink(self.kept / link).removeprefix("versions/") for link in ("current", "previous")}
        assert {path.name for path in self.kept.iterdir()} == {"versions", "current", "previous"}
        assert {path.name for path in self.kept.joinpath("versions").iterdir()} == links


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def device(tmp_path: Path, shell: Shell) -> Device:
    return Device(tmp_path / "device", shell)


def test_versions_come_and_go(device: Device) -> None:
    for content in ("one", "two", "three"):
        assert device.deploy(content) == (0, 0)
    assert (device.content(), device.content("previous")) == ("three", "two")
    assert device.ask("rollback") == 0
    assert (device.content(), device.content("previous")) == ("two", "three")
    assert device.deploy("three") == (0, 0)
    assert (device.content(), device.content("previous")) == ("three", "two")
    device.must_be_tidy()


def ending(folder: Path) -> Path:
    """A folder of commands that end all at their turn."""
    folder.mkdir()
    for tool in CHANGING:
        folder.joinpath(tool).write_text(ENDS_ALL)
        folder.joinpath(tool).chmod(0o755)
    return folder


@pytest.mark.parametrize("half", ["", "1"], ids=["before", "halfway"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "bash"])
def test_killed_at_any_step_the_old_or_the_new_is_whole(name: str, half: str, tmp_path: Path) -> None:
    device = Device(tmp_path / "device", dict(shells(tmp_path))[name])
    commands = ending(tmp_path / "ending")
    for content in ("zero", "one"):
        assert device.deploy(content) == (0, 0)
    shutil.copytree(device.home, tmp_path / "before", symlinks=True)
    steps = 0
    seen = set()
    killed = True
    while killed:
        steps += 1
        shutil.rmtree(device.home)
        shutil.copytree(tmp_path / "before", device.home, symlinks=True)
        count = tmp_path / "count"
        count.write_text("0\n")
        env = {
            "PATH": f"{commands}:{device.shell.commands}:{os.environ['PATH']}",
            "COMMANDS": f"{device.shell.commands}:{os.environ['PATH']}",
            "COUNT": str(count),
            "TURN": str(steps),
            "HALF": half,
        }
        codes = device.deploy("two", **env)
        if -9 not in codes:
            codes += (device.ask("rollback", env=env),)
        killed = -9 in codes
        seen.add((device.content(), device.content("previous")))
        assert device.deploy("two") == (0, 0)
        assert (device.content(), device.content("previous")) == ("two", "one"), f"step {steps}"
        device.must_be_tidy()
    assert steps > 25, "the commands were not met"
    assert seen == {("one", "zero"), ("two", "zero"), ("two", "one"), ("one", "one"), ("one", "two")}
