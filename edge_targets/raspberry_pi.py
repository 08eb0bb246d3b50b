"""raspberry_pi: a Raspberry Pi, or any Linux board with Python, over ssh; 64 and 32 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_targets import _pi_facts
from edge_targets._address import ssh_address
from edge_targets._base import Capabilities
from edge_targets._errors import ToolMissing, WrongAddress
from edge_targets._install import Install
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Provenance, Runtime
from edge_targets._runner import Runner, RunnerTarget
from edge_targets._ssh import Ssh
from edge_targets._ssh_connect import Login
from edge_targets._wheels import INTERPRETERS, choose

RUNTIMES_ROOT = "~/.local/share/edgesmith/runtimes"


class RaspberryPiTarget(RunnerTarget):
    """A board that is reached over ssh, by a key, where its host key is known. Nothing needs root there.

    It needs a Python with numpy and an interpreter; both can be put there, in a folder of their own.

    Args:
        host: a name, an address or an alias of `~/.ssh/config`.
        user, port: who to be there, and where it listens; None leaves it to the ssh settings.
        key_file: the private key; None takes those of the ssh settings, and the agent's.
        known_hosts: the file of known host keys, in the place of the usual ones.
        ssh_config: the ssh settings, in the place of `~/.ssh/config`.
        python: the Python there.
        runtime: which interpreter; "auto" takes the first that is there.
        install_runtime: where no interpreter is there, let the device's pip fetch one.
        wheels: a folder of wheels on this machine; those that fit are carried there and used, without any network.
        folder: where on the device work folders and interpreters lie; None takes its own temporary folder for the
            work, and `~/.local/share/edgesmith` for what stays.
        connect_timeout_s: how long connecting may take.
        provenance: `emulated` for a device that cannot be seen to be. What a probe finds is never lifted by it.

    Attributes:
        delegate: a library there that takes operators over; `coral` sets it.
    """

    delegate: str | None = None
    provenance = "device"
    capabilities = Capabilities(benchmark=True, evaluate=True, deploy=True)

    def __init__(
        self,
        *,
        host: str = "",
        user: str | None = None,
        port: int | None = None,
        key_file: Path | None = None,
        known_hosts: Path | None = None,
        ssh_config: Path | None = None,
        python: str = "python3",
        runtime: Runtime = "auto",
        install_runtime: bool = False,
        wheels: Path | None = None,
        folder: str | None = None,
        connect_timeout_s: float = 15,
        provenance: Provenance = "device",
    ) -> None:
        if not host:
            raise WrongAddress("Which Raspberry Pi is not said.", expected="raspberry_pi:USER@HOST, or its 'host'")
        if ":" in (folder or ""):
            raise WrongAddress(
                f"The folder '{folder}' has a colon in its name.", expected="a path that Python can search"
            )
        if "=" in python:
            raise WrongAddress(f"The Python '{python}' has an equals sign in its name.", expected="a program's path")
        if folder and not folder.startswith(("/", "~")):
            folder = f"~/{folder}"
        self._login = Login(host, user, port, key_file, known_hosts, ssh_config, connect_timeout_s)
        self._reach = partial(Ssh, self._login, folder=folder)
        self._root = f"{folder}/runtimes" if folder else RUNTIMES_ROOT
        self._python = python
        self._runtime: Runtime = runtime
        self._fetches = install_runtime
        self._wheels = wheels
        self._claimed: Provenance = provenance

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """`pi@kitchen:2222`."""
        return ssh_address(address)

    def _info(self) -> DeviceInfo:
        with self._reach() as ssh:
            return _pi_facts.probe(ssh).completing(Runner(ssh, (self._python,)).probe())

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        with self._reach() as ssh:
            found = self._runner_on(ssh).benchmark(models, plan, target=self.label, provenance=self._claimed)
            # Asked afterwards: what slowed it meanwhile is told.
            board = _pi_facts.probe(ssh)
        return {name: replace(one, device=board.completing(one.device)) for name, one in found.items()}

    def _transport(self) -> Ssh:
        return self._reach()

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        with self._reach() as ssh:
            yield self._runner_on(ssh)

    def _runner_on(self, ssh: Ssh) -> Runner:
        folder = self._interpreter(Install(ssh, self._python, self._root))
        # What is ours comes first; what the user installed for himself (pip --user) is found after it.
        python = ("env", f"PYTHONPATH={folder}", self._python) if folder else (self._python,)
        return Runner(ssh, python, runtime=self._runtime, delegate=self.delegate)

    def _interpreter(self, install: Install) -> str | None:
        """The folder with the interpreter that we put there; None where the device has one of its own."""
        if self._wheels is not None:
            return install.unpack(choose(self._wheels, install.python, self._runtime))
        wanted = {*INTERPRETERS, "tensorflow"} if self._runtime == "auto" else {self._runtime}
        if wanted & install.python.packages and "numpy" in install.python.packages:
            return None
        if self._fetches:
            return install.fetch(self._runtime)
        missing = "numpy" if wanted & install.python.packages else " or ".join(sorted(wanted))
        raise ToolMissing(
            f"The Python of {self._login} ({install.python}) has no {missing}.",
            expected="an interpreter for .tflite files, and numpy",
            mend="install them there; or let Edgesmith do it in a folder of its own: install_runtime: true, "
            "or wheels: FOLDER with wheels for it",
        )
