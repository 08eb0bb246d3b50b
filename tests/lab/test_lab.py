"""The lab is what it says: devices that answer, of another architecture, on loopback only, and nothing left behind."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.lab import Lab
from tests.lab.pi import Pi


def ssh(lab: Lab, pi: Pi, command: str) -> str:
    """What a command says on a device, through OpenSSH's own client."""
    done = subprocess.run(
        [lab.tools / "ssh", "-F", pi.ssh_config, pi.name, command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("place", [0, 1])
def test_pi_answers(lab: Lab, place: int) -> None:
    pi = lab.pis[place]
    assert ssh(lab, pi, "uname -m; hostname; id -un").split() == ["aarch64", pi.name, "pi"]
