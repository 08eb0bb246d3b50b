"""What the lab needs of a machine, told in one sentence where something is missing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

CODENAME = "bookworm"  # its packages hold Python 3.11, for which the wheels are, and the sources of adbd 29
PROGRAMS = ("apt-get", "dpkg-deb", "tar", "mount", "umount", "unshare", "nsenter", "chroot", "flock", "patch")


def missing() -> str | None:
    """Why there can be no lab here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the lab emulates its devices on x86-64 Linux, and this is another system"
    if os.geteuid() != 0:
        return "the lab needs root, for the namespaces that its devices live in"
    if platform.freedesktop_os_release().get("VERSION_CODENAME") != CODENAME:
        return f"the lab is built from the packages of Debian 12 ({CODENAME}), and this is another system"
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"the lab needs the programs {', '.join(absent)}, which are not installed"
    return _missing_of_kernel()


def _missing_of_kernel() -> str | None:
    # A container may be root and yet not be allowed to mount.
    attempt = "mount -t tmpfs none /mnt && mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
    tried = subprocess.run(
        ["unshare", "--mount", "--uts", "--pid", "--fork", "sh", "-c", attempt], capture_output=True, check=False
    )
    if tried.returncode != 0:
        return "the lab needs namespaces, mounts and binfmt_misc, which this system does not allow"
    return None
