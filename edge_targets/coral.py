"""coral: a Coral Edge TPU, on USB; without one, a calculation of what it would do."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edge_targets._base import Capabilities, DeviceInfo, Target
from edge_targets._edgetpu_places import placements
from edge_targets._placement import Placements
from edge_targets._runner import Runner
from edge_targets._transport import Local
from edge_targets.tflite_graph import read_graph


class CoralTarget(Target):
    """An Edge TPU at this machine.

    Args:
        link: how it is connected; estimates depend on it.
    """

    provenance = "device"
    capabilities = Capabilities()

    def __init__(self, *, link: Literal["usb3", "usb2"] = "usb3") -> None:
        self._link = link

    def places(self, model: Path) -> Placements:
        """Where each operator of a `.tflite` would run; nothing is compiled or run for it."""
        with self._one_error_tree("inspect"):
            return placements(read_graph(model), self._link)

    def _info(self) -> DeviceInfo:
        import sys

        with Local() as transport:
            return Runner(transport, python=(sys.executable, "-I")).probe()
