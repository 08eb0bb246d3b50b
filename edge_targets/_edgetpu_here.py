"""An Edge TPU that is plugged into this machine, as a device with a Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from edge_targets._base import Capabilities
from edge_targets._runner import Runner, RunnerTarget
from edge_targets._transport import Transport

PYTHON = (sys.executable, "-I")


class EdgeTpuHere(RunnerTarget):
    """The runner of this machine, with a delegate.

    Args:
        transport: entered already, and left by whoever entered it.
        library: the delegate.
    """

    provenance = "device"
    capabilities = Capabilities(benchmark=True, evaluate=True)

    def __init__(self, transport: Transport, library: str) -> None:
        self._entered = transport
        self._library = library

    def _transport(self) -> AbstractContextManager[Transport]:
        return nullcontext(self._entered)

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        yield Runner(self._entered, PYTHON, delegate=self._library)
