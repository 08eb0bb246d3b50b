"""A device: a root and processes of another architecture, in namespaces of their own on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab import memory

HERE = Path(__file__).parent
START_S = 30.0
# The processor that the board really has; restarted with another, or with None for QEMU's default, outputs may differ.
RIGHT_CPU = "right"
# Roomy enough for an interpreter and its wheels, small enough to be filled in an instant.
DISK_BYTES = 256 * 2**20
BALLAST = "ballast"


class LabError(Exception):
    """What the lab could not do."""


@dataclass(frozen=True)
class Board:
    """What kind of machine a device is.

    Attributes:
        model: as the device tree tells it.
        cpuinfo: its /proc/cpuinfo. XNNPACK reads it, and without it falls back without a word.
        cpu: the processor that QEMU emulates.
        layers: folders of the cache that make up its root, the uppermost first.
        small: top-level directories that lie on the small disk.
    """

    model: str
    cpuinfo: Path
    cpu: str
    layers: Sequence[Path]
    small: Sequence[str]


class Device:
    """One device, from the outside.

    Args:
        name: its host name.
        board: what it is.
        state: an empty folder for its files on this machine.
    """

    def __init__(self, name: str, board: Board, state: Path) -> None:
        self.name = name
        self.board = board
        self.log = state / "log"
        self._state = state
        self._daemon: subprocess.Popen[bytes] | None = None
        (state / "mount").mkdir(parents=True)
        layers = ":".join(map(str, board.layers))
        self._holder = hold(
            ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "sh", HERE / "device.sh"],
            [state / "mount", layers, name, board.cpuinfo, str(DISK_BYTES), " ".join(board.small)],
        )
        self._init = _child_of(self._holder.pid)
        self._namespace = Path(f"/proc/{self._init}/ns/pid").readlink()

    @property
    def root(self) -> Path:
        """The device's root directory, as this machine sees it; it can be read and written."""
        return Path(f"/proc/{self._init}/root{self._state}/mount/root")

    # ---- its daemon ----

    def _start_daemon(self, argv: Sequence[str], environment: Mapping[str, str], *, user: str = "0:0") -> None:
        """Start the one program that others reach the device by. It logs into `log`."""
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [*self._inside(user), *argv],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # not a session of its own: see `frozen`
            )

    def wait(self) -> None:
        """Wait until it answers."""
        raise NotImplementedError

    def start(self, cpu: str | None = RIGHT_CPU) -> None:
        """Start its daemon, on this processor; None is the one that QEMU takes when nobody names one."""
        self.cpu = self.board.cpu if cpu == RIGHT_CPU else cpu
        self._start_on(self.cpu)

    def restart(self, cpu: str | None = RIGHT_CPU) -> None:
        """End the daemon, start it anew, and wait until it answers."""
        self.kill_daemon()
        self.start(cpu)
        self.wait()

    def heal(self) -> None:
        """Make it answer again as it did, if a test left it otherwise."""
        self.free_disk()
        if not self.is_running() or self.cpu != self.board.cpu:
            self.restart()

    def _start_on(self, cpu: str | None) -> None:
        raise NotImplementedError

    def kill_daemon(self) -> None:
        """End the daemon and all that it started, at once, as when the plug is pulled; files stay."""
        while pids := self.processes():
            for pid in pids:
                _send(pid, signal.SIGKILL)
            time.sleep(0.01)
        if self._daemon:
            self._daemon.wait(START_S)
            self._daemon = None

    def is_running(self) -> bool:
        """Whether the daemon lives."""
        return self._daemon is not None and self._daemon.poll() is None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing on the device moves, though connections stay open: a hang.

        nsenter, which waits for the daemon, stops when the daemon does, and must be woken too: a daemon that it does
        not see end keeps the namespace. If we die meanwhile, the kernel wakes it, as the leader of an orphaned group.
        """
        pids = self.processes()
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                _send(pid, signal.SIGCONT)
            if self._daemon:
                _send(self._daemon.pid, signal.SIGCONT)

    def processes(self) -> list[int]:
        """The processes on the device besides its first, by this machine's numbers."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                inside = (entry / "ns/pid").readlink() == self._namespace
                zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue  # it has ended meanwhile
            if inside and not zombie and int(entry.name) != self._init:
                found.append(int(entry.name))
        return found

    def run(self, argv: Sequence[str]) -> str:
        """Run a program on the device as root, past its daemon; gives what it said."""
        environment = {"PATH": "/usr/sbin:/usr/bin", "QEMU_CPU": self.board.cpu}
        return subprocess.run(
            [*self._inside("0:0"), *argv], env=environment, capture_output=True, check=True, text=True
        ).stdout

    def _inside(self, user: str) -> list[str]:
        """How this machine runs a program of the device, which is found by its full path."""
        # The environment is the device's, and so is its PATH: these two are looked up before.
        nsenter, chroot = str(shutil.which("nsenter")), str(shutil.which("chroot"))
        enter = [nsenter, f"--target={self._init}", "--mount", "--uts", "--ipc", "--pid"]
        return [*enter, chroot, f"--userspec={user}", f"{self._state}/mount/root"]

    # ---- what tests do to it ----

    def fill_disk(self) -> None:
        """Leave no byte free on the small disk."""
        ballast = self.root / self.board.small[0] / BALLAST
        with ballast.open("wb") as file:
            free = os.statvfs(ballast)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)

    def free_disk(self) -> None:
        """Undo `fill_disk`."""
        (self.root / self.board.small[0] / BALLAST).unlink(missing_ok=True)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No byte is free on the small disk."""
        self.fill_disk()
        try:
            yield
        finally:
            self.free_disk()

    @contextmanager
    def without_python(self) -> Iterator[None]:
        """There is no Python on the device."""
        programs = [path for path in (self.root / "usr/bin").glob("python3*") if not path.name.startswith(".")]
        for path in programs:
            path.rename(path.with_name(f".{path.name}"))
        try:
            yield
        finally:
            for path in programs:
                path.with_name(f".{path.name}").rename(path)

    @contextmanager
    def limit_memory(self, most_bytes: int) -> Iterator[None]:
        """Whatever runs on the device has this much memory; beyond it, the kernel kills."""
        with memory.limited(f"edgesmith-lab-{self._init}", [self._init, *self.processes()], most_bytes):
            yield

    def close(self) -> None:
        """Switch it off, and forget what it wrote."""
        release(self._holder)
        if self._daemon:
            self._daemon.wait(START_S)
        shutil.rmtree(self._state)


def hold(
    command: Sequence[str | Path], arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program that lives until `release`, or until this process dies, and wait until it says "ready"."""
    process = subprocess.Popen(
        [*command, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # an interrupt from the keyboard is not for it
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        said = process.communicate(timeout=START_S)[1].decode(errors="replace")
        raise LabError(f"{Path(command[-1]).name} could not start: {said}")
    return process


def release(process: subprocess.Popen[bytes]) -> None:
    """End what `hold` started."""
    process.communicate(timeout=START_S)


def connect(host: str, port: int, seconds: float = START_S) -> socket.socket:
    """A connection, as soon as somebody listens there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((host, port), timeout=seconds)
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(f"Nobody listens on {host}:{port} after {seconds:g} s.") from error
            time.sleep(0.02)


def write(path: Path, content: str, *, owner: int = 0, mode: int = 0o644) -> None:
    """Write a file of a device, with the folders above it, which then belong to the same user."""
    absent = [folder for folder in reversed(path.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    for made in [*absent, path]:
        os.chown(made, owner, owner)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _child_of(parent: int) -> int:
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if int(lines["PPid"]) == parent:
            return int(status.parent.name)
    raise LabError("A device ended while it was started.")
