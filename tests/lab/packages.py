"""What the lab is built from: names of packages, and versions of wheels from the project's own constraints."""

from __future__ import annotations

from pathlib import Path

# The userland of a device: a shell and the small programs of a board, Python, and the real OpenSSH server.
USERLAND = [
    *["base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "findutils", "grep", "gzip", "hostname"],
    *["mawk", "procps", "sed", "tar", "util-linux", "python3.11-minimal", "libpython3.11-stdlib"],
    *["openssh-server", "openssh-sftp-server", "libstdc++6", "libgcc-s1", "zlib1g"],
]
# There is no wheel of numpy for 32-bit ARM on PyPI: boards take it from their distribution.
USERLAND_ARMHF = [*USERLAND, "python3-numpy"]
# What runs on this machine: the emulators, and the real clients.
TOOLS = ["adb", "openssh-client", "qemu-user-static"]
# What adbd is linked with.
ADBD_LIBRARIES = ["android-libbase", "android-libcutils", "android-liblog", "android-libboringssl", "libcap2"]
# Android's own shell and small programs.
ANDROID = ["mksh", "toybox", *ADBD_LIBRARIES]
# A root in which adbd is compiled: for this machine, with the libraries of arm64.
COMPILER = ["g++-aarch64-linux-gnu", "bash", "coreutils", "findutils", "patch", "sed", "tar", "gzip", "xz-utils"]
COMPILER_LIBRARIES = [f"{name.removesuffix('2')}-dev" for name in ADBD_LIBRARIES]
ADBD_SOURCE = "android-platform-tools"

WHEELS = {
    "aarch64": ["ai-edge-litert", "numpy", "tflite-runtime"],
    "armv7l": ["tflite-runtime"],
}
PLATFORMS = {
    "aarch64": [f"manylinux_2_{version}_aarch64" for version in (17, 27, 28, 34)],
    "armv7l": ["manylinux_2_34_armv7l"],
}

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def pinned(names: list[str]) -> list[str]:
    """The lines of constraints.txt for these distributions."""
    lines = CONSTRAINTS.read_text().splitlines()
    return [line for line in lines if line.split("==")[0] in names]
