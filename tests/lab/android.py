"""An Android device, as far as it can be had: AOSP's adbd for arm64, Android's shell and small programs.

It is not Android: there is glibc instead of bionic, and neither a framework nor packages. Python is there too, which
phones do not have.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.lab.device import START_S, Board, Device, LabError, connect, write
from tests.lab.users import add_user

SHELL_UID = 2000
# What a kernel tells. XNNPACK reads how many cores there are, and without that falls back without a word.
KERNEL = {
    "sys/devices/system/cpu/possible": "0-3\n",
    "sys/devices/system/cpu/present": "0-3\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/class/thermal/thermal_zone0/temp": "38500\n",
}
PATH = "/product/bin:/system/bin:/system/xbin:/vendor/bin"


class Android(Device):
    """A device that answers adb.

    Args:
        name: its host name.
        board: what it is.
        state: an empty folder for its files on this machine.
        port: where its adbd listens, on 127.0.0.1.
        adb: the client.
        server_port: where the lab's adb server listens, on 127.0.0.1.

    Attributes:
        serial: what `adb -s` calls it.
        adb, server_port: the client and its server: `adb -P SERVER_PORT -s SERIAL shell`.
    """

    def __init__(self, name: str, board: Board, state: Path, port: int, adb: Path, server_port: int) -> None:
        super().__init__(name, board, state)
        self.port = port
        self.serial = f"127.0.0.1:{port}"
        self.adb = adb
        self.server_port = server_port
        add_user(self.root, "shell", SHELL_UID, "/", "/system/bin/sh")
        write(self.root / "data/local/tmp/.lab", "", owner=SHELL_UID)
        os.chown(self.root / "data/local/tmp", SHELL_UID, SHELL_UID)
        for path, text in KERNEL.items():
            write(self.root / path, text)
        self.start()

    def describe(self) -> dict[str, Any]:
        """How to reach it."""
        files = {name: str(getattr(self, name)) for name in ("adb", "root", "log")}
        return {"model": self.board.model, "serial": self.serial, "server_port": self.server_port, **files}

    def client(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run adb, with the lab's server, on this device."""
        command = [self.adb, "-P", str(self.server_port), "-s", self.serial, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=4 * START_S, check=False)

    def wait(self) -> None:
        """Wait until the lab's adb server has it as a device."""
        connect("127.0.0.1", self.port).close()
        deadline = time.monotonic() + START_S
        while self.client("get-state").stdout.strip() != "device":
            if time.monotonic() > deadline:
                raise LabError(f"adb does not see {self.serial}: {self.client('devices').stdout}")
            # A server forgets a device that hung up, and may hold on to one that it has not noticed to be gone.
            self.client("disconnect", self.serial)
            self.client("connect", self.serial)

    def _start_on(self, cpu: str | None) -> None:
        environment = {
            "ADBD_PORT": str(self.port),
            "PATH": PATH,
            "ANDROID_DATA": "/data",
            "ANDROID_ROOT": "/system",
            "EXTERNAL_STORAGE": "/sdcard",
        } | ({"QEMU_CPU": cpu} if cpu else {})
        self._start_daemon(["/usr/sbin/adbd"], environment, user=f"{SHELL_UID}:{SHELL_UID}")
