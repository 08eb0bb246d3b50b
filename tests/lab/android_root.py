"""What makes a device's root Android's: its shell, its small programs, its properties."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.lab.apt import Apt, unpack
from tests.lab.packages import ANDROID

BOARDS = Path(__file__).parent / "boards"
# Of what Android 11 links to toybox, that which Debian's toybox was built with …
TOYBOX = (
    "[ base64 basename cal cat chgrp chmod chown cksum clear cmp comm cp cpio cut date df dirname dmesg du echo egrep "
    "env expand false fgrep file find flock fmt free fsync getconf grep groups gunzip head hostname iconv id ifconfig "
    "inotifyd ionice kill killall ln logname ls lsattr lsmod lsof lspci md5sum mkdir mkfifo mknod mktemp mount "
    "mountpoint mv nc netcat netstat nice nl nohup nproc nsenter od paste patch pgrep pidof ping pkill pmap printenv "
    "printf ps pwd pwdx readelf readlink realpath renice rm rmdir sed seq setsid sha1sum sha224sum sha256sum sha384sum "
    "sha512sum sleep sort split stat strings su sync sysctl tac tail tar taskset tee test time timeout top touch true "
    "truncate tty ulimit umount uname uniq unlink uptime usleep uudecode uuencode uuidgen vmstat wc which whoami xargs "
    "xxd yes zcat"
)
# … and the rest, from the userland below.
DEBIAN = "dd diff expr gzip tr"


def ingredients() -> list[str]:
    """What the root is made of, besides this file."""
    return [*ANDROID, *((BOARDS / name).read_text() for name in ("getprop", "build.prop"))]


def make(apt: Apt, root: Path) -> None:
    """Fill a layer that lies over a userland of arm64."""
    # The C library is the userland's: two builds of it in one root would not fit together.
    unpack([package for package in apt.packages("arm64", ANDROID) if not package.name.startswith("libc6_")], root)
    programs = root / "system/bin"
    programs.mkdir(parents=True)
    (programs / "sh").symlink_to("/usr/bin/mksh")
    for name in TOYBOX.split():
        (programs / name).symlink_to("/usr/bin/toybox")
    for name in [*DEBIAN.split(), "python3"]:
        (programs / name).symlink_to(f"/usr/bin/{name}")
    shutil.copy(BOARDS / "getprop", programs)
    (programs / "getprop").chmod(0o755)
    shutil.copy(BOARDS / "build.prop", root / "system")
    for folder in ("data/local/tmp", "sdcard"):
        (root / folder).mkdir(parents=True)
