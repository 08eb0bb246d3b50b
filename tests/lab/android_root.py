"""What makes a device's root Android's: its shell, its small programs, its properties, and adbd's libraries."""

from __future__ import annotations

from pathlib import Path

from tests.lab.apt import Apt, unpack
from tests.lab.packages import ANDROID


def make(apt: Apt, root: Path) -> None:
    unpack(apt.packages("arm64", ANDROID), root)
