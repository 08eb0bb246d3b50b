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
BUSY, DAMAGED, NOT_INSTALLED, NO_PREVIOUS, UNWRITABLE, NO_TOOL, NO_FOLDER = range(20, 27)
TOOLS = ("cat", "chmod", "ln", "mkdir", "mv", "printf", "readlink", "rm", "sha256sum", "sleep", "sync")

TWO_FILES = " in two files"

CHANGING = ("chmod", "ln", "mkdir", "mv", "rm", "sync")

# Stands in the place of every command that changes something: what ends between two of them, ends before the second.
# At the one whose turn it is, all that runs ends: before it does anything, or when it has done half of what is not one
# step of the file system: a copy from another disk, the removal of a folder.
ENDS_ALL = """#!/bin/sh
read -r count < "$COUNT"
count=$((count + 1))
echo "$count" > "$COUNT"
if [ "$count" = "$TURN" ]; then
  case $HALF${0##*/}$1$2 in
    1mv-f/*) head -c 5 "$2" > "$3" ;;
    1rm-rf*) for folder; do PATH=$COMMANDS rm -f "./$folder/model.tflite" "./$folder/current"; done ;;
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
    """Those of this machine: dash and bash; busybox, and Android's mksh with toybox, where they are installed."""
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
            [
                shutil.which(self.shell.argv[0]) or "",
                *self.shell.argv[1:],
                str(SCRIPT),
                str(self.kept.parent),
                "digits",
                str(wait_s),
                *verb,
            ],
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
        """What a host pushes; returns the version. "… in two files" is a model in two files."""
        work = self.home / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        key = "cascade.json" if content.endswith(TWO_FILES) else "model.tflite"
        for name in ("model.tflite", "golden-inputs.npy", *(["model.rest.tflite"] if key == "cascade.json" else [])):
            work.joinpath(name).write_text(f"{name} {content}")
        if key == "cascade.json":
            work.joinpath(key).write_text(" ".join(sha256(path) for path in sorted(work.glob("model*"))))
        self.list_files()
        return sha256(work / key)

    def list_files(self) -> None:
        work = self.home / "work"
        work.joinpath("SHA256SUMS").unlink(missing_ok=True)
        sums = [f"{sha256(path)}  {path.name}\n" for path in sorted(work.iterdir())]
        work.joinpath("SHA256SUMS").write_text("".join(sums))

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
        key = "cascade.json" if model.endswith(TWO_FILES) else "model.tflite"
        assert folder.readlink() == Path("versions", sha256(folder / key))
        return model.removeprefix("model.tflite ")

    def must_be_tidy(self) -> None:
        links = {self.kept.joinpath(link).readlink().name for link in ("current", "previous")}
        assert {path.name for path in self.kept.iterdir()} == {"versions", "current", "previous"}
        assert {path.name for path in self.kept.joinpath("versions").iterdir()} == links


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def device(tmp_path: Path, shell: Shell) -> Device:
    return Device(tmp_path / "device", shell)


@pytest.fixture
def dash(tmp_path: Path) -> Device:
    return Device(tmp_path / "device", Shell(("dash",)))


@dataclass(frozen=True)
class Rival(Device):
    """Another host: a work folder of its own, on the same device."""

    device_kept: Path = Path()

    @property
    def kept(self) -> Path:
        return self.device_kept


def test_versions_come_and_go(device: Device) -> None:
    for content in ("one", "two", "three"):
        assert device.deploy(content) == (0, 0)
    assert (device.content(), device.content("previous")) == ("three", "two")
    assert device.ask("rollback") == 0
    assert (device.content(), device.content("previous")) == ("two", "three")
    assert device.deploy("three") == (0, 0)
    assert (device.content(), device.content("previous")) == ("three", "two")
    device.must_be_tidy()


def test_one_file_and_two_come_and_go(device: Device) -> None:
    for content in ("one", f"two{TWO_FILES}", f"three{TWO_FILES}"):
        assert device.deploy(content) == (0, 0)
    assert (device.content(), device.content("previous")) == (f"three{TWO_FILES}", f"two{TWO_FILES}")
    assert device.ask("rollback") == 0
    assert device.deploy("one") == (0, 0)
    assert (device.content(), device.content("previous")) == ("one", f"two{TWO_FILES}")
    assert device.ask("rollback") == 0
    assert (device.content(), device.content("previous")) == (f"two{TWO_FILES}", "one")
    device.must_be_tidy()


@pytest.mark.parametrize("name", ["model.tflite", "model.rest.tflite", "cascade.json"])
def test_of_two_files_each_must_be_what_the_version_means(name: str, device: Device) -> None:
    """Another file with a list that fits it is refused: the version names `cascade.json`, and that both files."""
    version = device.push(f"two{TWO_FILES}")
    work = device.home / "work"
    work.joinpath(name).write_text(work.joinpath(name).read_text() + " ")
    device.list_files()
    assert device.ask("install", version) == DAMAGED
    version = device.push(f"two{TWO_FILES}")
    work.joinpath(name).unlink()
    device.list_files()
    assert device.ask("install", version) == DAMAGED


NOTHING = "0" * 64
"""A version that is not there: discarding it does nothing but mend."""


def ending_at(step: int, half: str, commands: Path, device: Device) -> dict[str, str]:
    """The variables for commands that end all at a step."""
    count = device.home.with_name("count")
    count.write_text("0\n")
    real = f"{device.shell.commands}:{os.environ['PATH']}"
    return {"PATH": f"{commands}:{real}", "COMMANDS": real, "COUNT": str(count), "TURN": str(step), "HALF": half}


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
    new = f"two{TWO_FILES}"
    steps = 0
    seen = set()
    killed = True
    while killed:
        steps += 1
        shutil.rmtree(device.home)
        shutil.copytree(tmp_path / "before", device.home, symlinks=True)
        env = ending_at(steps, half, commands, device)
        codes = device.deploy(new, **env)
        if -9 not in codes:
            codes += (device.ask("rollback", env=env),)
        killed = -9 in codes
        assert device.content() in ("one", new)
        assert device.ask("discard", NOTHING) == NOT_INSTALLED
        seen.add((device.content(), device.content("previous")))
        assert device.deploy(new) == (0, 0)
        assert (device.content(), device.content("previous")) == (new, "one"), f"step {steps}"
        device.must_be_tidy()
    assert steps > 25, "the commands were not met"
    assert seen == {("one", "zero"), (new, "one"), ("one", new)}


def test_killed_while_it_mends_it_takes_no_switch_for_begun_that_was_not(dash: Device, tmp_path: Path) -> None:
    commands = ending(tmp_path / "ending")
    for content in ("zero", "one"):
        assert dash.deploy(content) == (0, 0)
    next_links = dash.kept / ".next"
    step, killed = 0, True
    while killed:
        step += 1
        next_links.mkdir(exist_ok=True)
        for link, target in (("current", "previous"), ("previous", "current")):
            next_links.joinpath(link).unlink(missing_ok=True)
            next_links.joinpath(link).symlink_to(dash.kept.joinpath(target).readlink())
        killed = dash.ask("discard", NOTHING, env=ending_at(step, "1", commands, dash)) == -9
        assert dash.ask("discard", NOTHING) == NOT_INSTALLED
        assert (dash.content(), dash.content("previous")) == ("one", "zero"), f"step {step}"
    assert step > 3


def test_a_version_that_was_half_swept_away_is_not_switched_to(dash: Device, tmp_path: Path) -> None:
    commands = ending(tmp_path / "ending")
    assert dash.deploy("one") == (0, 0)
    step, killed = 0, True
    while killed:
        step += 1
        waiting = dash.push(f"waiting {step}")
        assert dash.ask("install", waiting) == 0
        later = dash.push("later")
        killed = dash.ask("install", later, env=ending_at(step, "1", commands, dash)) == -9
        assert dash.ask("switch", waiting) in (0, NOT_INSTALLED)
        assert dash.content() in ("one", f"waiting {step}")
        assert dash.deploy("one") == (0, 0)
    assert step > 8


def owner_of(process: int) -> str:
    """As the script names who has its lock."""
    stat = Path(f"/proc/{process}/stat").read_text()
    return f"{process}.{stat.rpartition(') ')[2].split()[19]}"


def dead_owner() -> str:
    """The name of somebody who had the lock, and has ended."""
    process = subprocess.Popen(["sleep", "60"])
    owner = owner_of(process.pid)
    process.kill()
    process.wait()
    return owner


def test_while_somebody_alive_has_the_lock_nothing_changes(device: Device) -> None:
    assert device.deploy("one") == (0, 0)
    device.kept.joinpath(".lock").symlink_to(owner_of(os.getpid()))
    assert device.deploy("two") == (BUSY, BUSY)
    assert device.ask("rollback") == BUSY
    assert device.ask("status") == 0
    assert device.content() == "one"


def test_the_lock_of_the_dead_is_taken_over(device: Device) -> None:
    assert device.deploy("one") == (0, 0)
    # One died at work, a second while it took that lock over, and a third's number is somebody else's now.
    first, second = dead_owner(), dead_owner()
    device.kept.joinpath(".lock").symlink_to(first)
    device.kept.joinpath(f".lock.{first}").symlink_to(second)
    device.kept.joinpath(f".lock.{second}").symlink_to(f"{os.getpid()}.1")
    assert device.deploy("two") == (0, 0)
    assert (device.content(), device.content("previous")) == ("two", "one")
    device.must_be_tidy()


def test_a_lock_is_waited_for(device: Device) -> None:
    assert device.deploy("one") == (0, 0)
    holder = subprocess.Popen(["sleep", "1"])
    device.kept.joinpath(".lock").symlink_to(owner_of(holder.pid))
    version = device.push("two")
    process = device.start("install", version, wait_s=30)
    holder.wait()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_of_many_at_once_each_ends_or_is_refused_and_all_is_whole(dash: Device) -> None:
    for content in ("zero", "one"):
        assert dash.deploy(content) == (0, 0)
    dash.kept.joinpath(".lock").symlink_to(dead_owner())
    rivals = [Rival(dash.home / f"rival-{number}", dash.shell, dash.kept) for number in range(6)]
    versions = [rival.push(f"rival {number}") for number, rival in enumerate(rivals)]
    for verb in ("install", "switch"):
        processes = [rival.start(verb, version, wait_s=90) for rival, version in zip(rivals, versions, strict=True)]
        for process in processes:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode in (0, NOT_INSTALLED), stderr
    assert dash.content().startswith("rival"), "the last to install is not in anybody's way"
    assert dash.content("previous") == "one"
    dash.must_be_tidy()


def test_what_is_damaged_on_the_way_is_refused(device: Device) -> None:
    assert device.deploy("one") == (0, 0)
    version = device.push("two")
    device.home.joinpath("work", "model.tflite").write_text("model.tflite twi")
    assert device.ask("install", version) == DAMAGED
    assert device.ask("switch", version) == NOT_INSTALLED
    version = device.push("two")
    device.home.joinpath("work", "SHA256SUMS").write_text("")
    assert device.ask("install", version) == DAMAGED
    assert device.content() == "one"
    assert [path.name for path in device.kept.joinpath("versions").iterdir()] == [
        sha256(device.kept / "current/model.tflite")
    ]


def test_what_is_damaged_there_is_mended_in_place_and_never_rolled_back_to(device: Device) -> None:
    for content in ("one", "two"):
        assert device.deploy(content) == (0, 0)
    device.kept.joinpath("previous", "model.tflite").write_text("rotten")
    assert device.ask("rollback") == DAMAGED
    device.kept.joinpath("current", "golden-inputs.npy").unlink()
    assert device.deploy("two") == (0, 0)
    assert device.content() == "two"
    assert device.deploy("one") == (0, 0)
    assert (device.content(), device.content("previous")) == ("one", "two")
    device.must_be_tidy()


def test_a_rollback_needs_something_to_go_back_to(device: Device) -> None:
    device.home.joinpath("mo dels").mkdir(parents=True)
    assert device.ask("rollback") == NO_FOLDER
    assert not device.kept.exists()
    assert device.deploy("one") == (0, 0)
    assert device.ask("rollback") == NO_PREVIOUS
    assert device.content() == "one"


def test_an_installed_version_is_discarded_unless_it_is_in_use(device: Device) -> None:
    assert device.deploy("one") == (0, 0)
    assert device.ask("discard", device.push("one")) == 0
    version = device.push("two")
    assert device.ask("install", version) == 0
    assert device.ask("discard", version) == 0
    assert device.ask("discard", version) == NOT_INSTALLED
    assert device.content() == "one"
    assert len(list(device.kept.joinpath("versions").iterdir())) == 1


def test_a_missing_command_is_named(dash: Device, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for tool in set(TOOLS) - {"sha256sum"}:
        folder.joinpath(tool).symlink_to(shutil.which(tool) or tool)
    process = dash.start("status", env={"PATH": str(folder)})
    assert process.communicate(timeout=60)[1].strip() == "sha256sum"
    assert process.returncode == NO_TOOL
