"""Packages from the machine's own apt sources, for any architecture, beside the machine's own packages.

Everything apt writes goes into a folder of ours: dpkg's state and apt's lists of the machine stay as they are, and
no maintainer script runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from tests.lab.needs import CODENAME

ARCHITECTURES = ("amd64", "arm64", "armhf")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = (CODENAME, f"{CODENAME}-updates", f"{CODENAME}-security")
# Nobody reads these on a lab device.
UNREAD = ("./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./usr/share/lintian")

CONFIGURATION = """\
Dir::State "{folder}/state";
Dir::State::status "{folder}/state/status";
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
APT::Architecture "amd64";
APT::Architectures {{ {architectures} }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "1";
"""


class PackageError(Exception):
    """What apt could not do."""


class Apt:
    """apt with lists of its own.

    Args:
        folder: where lists and packages are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "state/lists/partial").mkdir(parents=True)
        # An empty status: a new device has nothing installed, whatever this machine has.
        (folder / "state/status").touch()
        (folder / "sources.list").write_text("\n".join(_sources()) + "\n")
        architectures = " ".join(f'"{name}";' for name in ARCHITECTURES)
        (folder / "apt.conf").write_text(CONFIGURATION.format(folder=folder, architectures=architectures))
        # While a mirror is being written, single lists can be missing that nothing here needs: the downloads will tell.
        self._run(["-qq", "update"], architecture="amd64", cwd=folder, check=False)

    def packages(self, architecture: str, names: Iterable[str]) -> list[Path]:
        """Download packages with all that they depend on."""
        names = list(names)
        archives = self._cwd(f"{architecture}-{names[0]}") / "archives"
        (archives / "partial").mkdir(parents=True)
        self._run(["-qq", "-y", "-d", "install", *names], architecture=architecture, cwd=archives.parent)
        return sorted(archives.glob("*.deb"))

    def source(self, name: str) -> Path:
        """Download a source package; gives the folder with its archives."""
        folder = self._cwd(f"source-{name}")
        self._run(["-qq", "-d", "source", name], architecture="amd64", cwd=folder)
        return folder

    def _cwd(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def _run(self, arguments: list[str], *, architecture: str, cwd: Path, check: bool = True) -> None:
        # A cache folder a call: calls for several architectures may run side by side.
        options = {"APT::Architecture": architecture, "Dir::Cache": str(cwd), "Dir::Cache::archives": f"{cwd}/archives"}
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        environment = {**os.environ, "APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(
            ["apt-get", *words, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise PackageError(f"apt-get {' '.join(arguments)} ({architecture}) failed:\n{done.stderr[-2000:]}")


def unpack(
    packages: Iterable[Path], root: Path, *, only: Collection[str] = (), without: Collection[str] = UNREAD
) -> None:
    """Lay the files of packages into a root.

    Args:
        packages: .deb files.
        root: a folder, made when it is missing.
        only: these files alone, as `./usr/bin/name`.
        without: files and folders that are left out.
    """
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    exclusions = [f"--exclude={path}" for path in without]
    for package in packages:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as source:
            subprocess.run(
                ["tar", "-x", "-C", root, "--keep-directory-symlink", *exclusions, *only],
                stdin=source.stdout,
                check=True,
            )
        if source.returncode != 0:
            raise PackageError(f"{package.name} could not be unpacked.")


def _sources() -> list[str]:
    """The machine's own sources of this Debian, each for packages and for sources."""
    pattern = "$(SITE) $(RELEASE) $(COMPONENT)"
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", pattern, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    places = sorted({line for line in told.stdout.splitlines() if line.split()[1] in SUITES})
    if not places:
        raise PackageError(f"apt has no source of {CODENAME}: see /etc/apt/sources.list.d.")
    if not Path(KEYRING).exists() or shutil.which("dpkg-deb") is None:
        raise PackageError("The lab needs the package debian-archive-keyring.")
    return [f"{kind} [signed-by={KEYRING}] {place}" for kind in ("deb", "deb-src") for place in places]
