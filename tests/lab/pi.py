"""A Raspberry Pi: Debian's userland for ARM, and a real OpenSSH server on a loopback address of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.device import START_S, Board, Device, connect, write
from tests.lab.users import add_user

USER, UID = "pi", 1000
# What the emulated programs see in place of this machine's files (QEMU_LD_PREFIX): /proc cannot be written.
SEEN = "/opt/lab"

SSHD_CONFIG = """\
ListenAddress {host}
Port {port}
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
MaxStartups 100
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv {environment}
"""

SSH_CONFIG = """\
Host {name} {host}
    HostName {host}
    Port {port}
    User {user}
    IdentityFile {key_file}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""

# A governor, a temperature and throttling flags, as a board has them.
FACTS = {
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/devices/system/cpu/possible": "0-3\n",
    "sys/devices/system/cpu/present": "0-3\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "1500000\n",
}
VCGENCMD = """\
#!/bin/sh
# The lab's stand-in for the Raspberry Pi's firmware tool.
case "${1:-}" in
  get_throttled) echo "throttled=0x0" ;;
  measure_temp) echo "temp=48.3'C" ;;
  *) echo 'error=1 error_msg="Command not registered"' ;;
esac
"""


class Pi(Device):
    """A board that answers ssh.

    Args:
        name: its host name.
        board: what it is.
        state: an empty folder for its files on this machine.
        address: where its sshd listens.
        keys: makes keys.

    Attributes:
        host, port, user: where to connect, and as whom.
        key_file: a private key that opens it.
        wrong_key_file: one that does not.
        known_hosts: its host key, as it was when it was set up.
        ssh_config: a configuration for OpenSSH's clients that holds all of this.
    """

    def __init__(self, name: str, board: Board, state: Path, address: tuple[str, int], keys: Keys) -> None:
        super().__init__(name, board, state)
        self.host, self.port = address
        self.user = USER
        self.key_file, self.wrong_key_file = keys.right, keys.wrong
        self.known_hosts = state / "known_hosts"
        self.ssh_config = state / "ssh_config"
        self._keys = keys
        self._install()
        self.start()

    def describe(self) -> dict[str, Any]:
        """How to reach it."""
        files = {name: str(getattr(self, name)) for name in ("key_file", "known_hosts", "ssh_config", "root", "log")}
        return {"model": self.board.model, "host": self.host, "port": self.port, "user": self.user, **files}

    def wait(self) -> None:
        """Wait until it answers."""
        with connect(self.host, self.port) as connection:
            assert connection.recv(4) == b"SSH-"

    @contextmanager
    def change_host_key(self) -> Iterator[None]:
        """It shows another host key, as after a new installation, or as an impostor would."""
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        old = key.read_text()
        self._keys.make(self._state / "another_host_key")
        key.write_text((self._state / "another_host_key").read_text())
        self.restart()
        try:
            yield
        finally:
            key.write_text(old)
            self.restart()

    def _install(self) -> None:
        """Make the root that of this board: its keys, its user, its hardware as files."""
        host_key = self._state / "host_key"
        self._keys.make(host_key)
        at_port = self.host if self.port == 22 else f"[{self.host}]:{self.port}"
        self.known_hosts.write_text(f"{at_port} {host_key.with_suffix('.pub').read_text()}")
        self.ssh_config.write_text(SSH_CONFIG.format_map(vars(self)))
        root = self.root
        write(root / "etc/ssh/ssh_host_ed25519_key", host_key.read_text(), mode=0o600)
        write(root / "etc/hostname", f"{self.name}\n")
        add_user(root, USER, UID, f"/home/{USER}", "/bin/bash")
        add_user(root, "sshd", 100, "/run/sshd", "/usr/sbin/nologin")
        authorized = self._keys.right.with_suffix(".pub").read_text()
        write(root / f"home/{USER}/.ssh/authorized_keys", authorized, owner=UID, mode=0o600)
        (root / f"home/{USER}/.ssh").chmod(0o700)
        write(root / "usr/bin/vcgencmd", VCGENCMD, mode=0o755)
        write(root / f"{SEEN[1:]}/proc/device-tree/model", f"{self.board.model}\0")
        for path, content in FACTS.items():
            write(root / path, content)

    def _start_on(self, cpu: str | None) -> None:
        environment = {"QEMU_LD_PREFIX": SEEN} | ({"QEMU_CPU": cpu} if cpu else {})
        words = " ".join(f"{key}={value}" for key, value in environment.items())
        config = SSHD_CONFIG.format(host=self.host, port=self.port, environment=words)
        (self.root / "etc/ssh/sshd_config").write_text(config)
        # sshd itself always has the right processor: only what it starts is to be wrong.
        self._start_daemon(["/usr/sbin/sshd", "-D", "-e"], {"QEMU_CPU": self.board.cpu, "PATH": "/usr/sbin:/usr/bin"})


class Keys:
    """Key pairs of OpenSSH.

    Args:
        folder: where the two that every lab has are kept.
        ssh_keygen: the program.
    """

    def __init__(self, folder: Path, ssh_keygen: Path) -> None:
        self._ssh_keygen = ssh_keygen
        self.right = self.make(folder / "right_key")
        self.wrong = self.make(folder / "wrong_key")

    def make(self, path: Path) -> Path:
        """A new pair: the private key at `path`, the public one beside it."""
        command: list[str | Path] = [
            self._ssh_keygen,
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "edgesmith-lab",
            "-f",
            path,
        ]
        subprocess.run(command, check=True, timeout=START_S, stdin=subprocess.DEVNULL)
        return path
