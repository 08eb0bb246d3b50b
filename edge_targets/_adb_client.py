"""The `adb` program of this machine: starts its server, lists devices, connects to them. Always in child processes.

What it prints is written for people and changes between versions; only the words that have stayed are read.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from pathlib import Path

from edge_targets._answer import printable
from edge_targets._errors import DeviceError, Timeout, ToolMissing
from edge_targets._transport import MOST_OUTPUT_BYTES, Completed, Local

# A client that starts the server first waits for it; on a busy machine that takes seconds.
START_TIMEOUT_S = 30.0
ASK_TIMEOUT_S = 20.0
CONNECT_TIMEOUT_S = 15.0
# A device that was just connected is `offline` or `authorizing` for a moment.
SETTLE_S = 5.0
PASSING = ("offline", "authorizing", "connecting")
MOST_DEVICES = 256
# Two clients that start a server at once end in one of them giving up.
_STARTING = threading.Lock()

_MENDS = {
    "unauthorized": "unlock the device and allow USB debugging from this computer",
    "offline": "unplug it and plug it in again, or: adb reconnect",
    "no permissions": "add a udev rule for the device, see https://developer.android.com/tools/device",
    "recovery": "start the device into Android",
    "sideload": "start the device into Android",
    "bootloader": "start the device into Android",
}


class AdbClient:
    """The client program, and the server it speaks to.

    Args:
        program: its name or path.
        server_port: port of the server; None leaves it to adb (5037, or `ANDROID_ADB_SERVER_PORT`).

    Raises:
        ToolMissing: there is no such program.
    """

    def __init__(self, program: str = "adb", server_port: int | None = None) -> None:
        found = shutil.which(str(Path(program).expanduser()))
        if found is None:
            raise ToolMissing(
                f"There is no program '{printable(program)}' on this machine.",
                expected="the client of Android's platform tools",
                mend="install it (Debian: apt-get install adb), or set 'adb' to its path",
            )
        # Absolute, because children run in a folder of their own.
        self._program = str(Path(found).absolute())
        self._env = {} if server_port is None else {"ANDROID_ADB_SERVER_PORT": str(server_port)}

    def run(self, *words: str, timeout_s: float, most_output_bytes: int = MOST_OUTPUT_BYTES) -> Completed:
        """Run the client.

        Raises:
            Timeout: it did not end; it was ended, the server was not.
        """
        with Local(most_output_bytes) as here:
            try:
                return here.run([self._program, *words], timeout_s=timeout_s, env=self._env)
            except Timeout as error:
                raise Timeout(f"adb had not finished after {timeout_s:g} s.", mend="adb kill-server") from error

    def start_server(self) -> None:
        """Have a server run; one that runs already is kept.

        Raises:
            ToolMissing: none can be started.
        """
        with _STARTING:
            try:
                done = self.run("start-server", timeout_s=START_TIMEOUT_S)
            except Timeout:
                done = Completed(1)
        if done.returncode != 0:
            raise ToolMissing(
                f"The adb server could not be started.{last_words(done)}",
                mend="see whether another program holds its port, or set 'server_port' to a free one",
            )

    def devices(self) -> dict[str, str]:
        """The devices that the server knows, serial to state (`device` is the state of one that is ready)."""
        done = self.run("devices", timeout_s=ASK_TIMEOUT_S)
        if done.returncode != 0:
            raise DeviceError(f"adb could not list its devices.{last_words(done)}", mend="adb kill-server")
        lines = [line.split("\t", 1) for line in done.stdout.decode("utf-8", "replace").splitlines()[:MOST_DEVICES]]
        return {printable(line[0], 200): printable(line[1], 200) for line in lines if len(line) == 2}

    def connect(self, address: str) -> str:
        """Connect to a device over the network.

        Args:
            address: `host:port`; without a port adb takes 5555.

        Returns:
            its serial, once it is ready.
        """
        serial = self._connect(address)
        # The server keeps a connection whose device has gone, and says that it is connected already.
        if self._settled(serial) in (*PASSING, None):
            self.run("disconnect", serial, timeout_s=ASK_TIMEOUT_S)
            serial = self._connect(address)
        self.require(serial)
        return serial

    def choose(self) -> str:
        """The serial of the only device there is.

        Raises:
            DeviceError: there is none, or several.
        """
        known = self.devices()
        if not known:
            raise DeviceError(
                "adb sees no device.",
                expected="one Android device",
                mend="plug one in and allow USB debugging, or set 'connect' to its host:port",
            )
        if len(known) > 1:
            raise DeviceError(
                f"adb sees {len(known)} devices: {_listed(known)}.",
                expected="the serial of one of them",
                mend=f"name it: android:{next(iter(known))}",
            )
        return next(iter(known))

    def require(self, serial: str) -> None:
        """Make sure that a device is ready.

        Raises:
            DeviceError: it is not there, or in another state than `device`.
        """
        state = self._settled(serial)
        if state == "device":
            return
        if state is None:
            known = self.devices()
            there = f"it sees {_listed(known)}" if known else "it sees none"
            raise DeviceError(
                f"adb sees no device '{printable(serial)}'; {there}.", mend="plug it in, or see what: adb devices"
            )
        mends = [mend for word, mend in _MENDS.items() if state.startswith(word)]
        raise DeviceError(f"The device '{serial}' is not ready: {state}.", mend="".join(mends[:1]))

    def _connect(self, address: str) -> str:
        try:
            done = self.run("connect", address, timeout_s=CONNECT_TIMEOUT_S)
        except Timeout as error:
            raise Timeout(
                f"'{printable(address)}' did not answer within {CONNECT_TIMEOUT_S:g} s.", mend="see whether it is on"
            ) from error
        said = done.stdout.decode("utf-8", "replace")
        # The exit code is 0 even for a refusal.
        connected = re.search(r"^(?:already )?connected to (\S+)\s*$", said, re.MULTILINE)
        if connected is None:
            raise DeviceError(
                f"adb could not connect to '{printable(address)}': {printable(said, 300) or last_words(done).strip()}",
                mend=_MENDS["unauthorized"] if "authenticate" in said else "see whether it listens: adb tcpip 5555",
            )
        return connected.group(1)

    def _settled(self, serial: str) -> str | None:
        """The state of a device, waited for while it is a passing one; None if it is not known."""
        deadline = time.monotonic() + SETTLE_S
        while (state := self.devices().get(serial)) in PASSING and time.monotonic() < deadline:
            time.sleep(0.1)
        return state


def last_words(done: Completed) -> str:
    """What the client complained of last, as a sentence to follow another; "" if it said nothing."""
    lines = [line for line in (done.stderr or done.stdout).decode("utf-8", "replace").splitlines() if line.strip()]
    return f" It said: {printable(' | '.join(lines[-2:]), 400)}" if lines else ""


def _listed(known: dict[str, str]) -> str:
    return ", ".join(f"{serial} ({state})" for serial, state in known.items())
