"""android: a phone, a tablet or an emulator, over the adb client; by LiteRT's benchmark_model, or a Python there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_targets import _android_facts
from edge_targets._adb import ROOT, Adb
from edge_targets._base import Capabilities
from edge_targets._benchmark_flags import Delegate
from edge_targets._benchmark_model import WHERE_TO_GET_IT
from edge_targets._benchmark_tool import BenchmarkTool
from edge_targets._bundle import Bundle
from edge_targets._cascade_file import FIRST, REST
from edge_targets._deploy import Installer
from edge_targets._errors import ToolMissing, Unsupported, WrongAddress
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Provenance, Runtime, weaker
from edge_targets._runner import Runner, RunnerTarget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_targets._parity import Deployment, Outputs

_NETWORK = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[\w.-]+):\d{1,5}")
_SERIAL = re.compile(r"[\w.:()\[\]-]{1,100}", re.ASCII)


class AndroidTarget(RunnerTarget):
    """An Android device. It needs USB or wireless debugging, and one of `benchmark_model` and `python`.

    Where both are there, `benchmark_model` measures and Python evaluates.

    Args:
        serial: adb's name of the device, `emulator-5554`; None takes the only one.
        connect: `host:port` to connect to first.
        adb: the adb client program.
        server_port: port of the adb server; None leaves it to adb.
        benchmark_model: LiteRT's tool, on this machine, made for the device's processor.
        delegate: what runs the graph: `cpu` is the interpreter's own kernels, `xnnpack` what apps get by default.
            For `benchmark_model`; Python has XNNPACK.
        profile: also time each operator, with `benchmark_model`.
        python: a Python on the device that has numpy and an interpreter.
        folder: where work folders are made on the device.
        provenance: `emulated` for a device that cannot be seen to be. What a probe finds is never lifted by it.
    """

    provenance = "device"
    capabilities = Capabilities(benchmark=True, evaluate=True, deploy=True, delegates=("xnnpack", "gpu", "nnapi"))

    def __init__(
        self,
        *,
        serial: str | None = None,
        connect: str | None = None,
        adb: str = "adb",
        server_port: int | None = None,
        benchmark_model: Path | None = None,
        delegate: Delegate = "xnnpack",
        profile: bool = False,
        python: str | None = None,
        folder: str = ROOT,
        provenance: Provenance = "device",
    ) -> None:
        self.models_root = f"{folder}/models"
        self._reach = partial(Adb, serial, connect, adb=adb, server_port=server_port, root=folder)
        self._tool_path = benchmark_model
        self._delegate: Delegate = delegate
        self._profile = profile
        self._python = python
        self._claimed: Provenance = provenance

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """`emulator-5554` is a serial, `192.168.1.7:5555` a device to connect to."""
        if _NETWORK.fullmatch(address):
            return {"connect": address}
        if not _SERIAL.fullmatch(address) or address.startswith("-"):
            raise WrongAddress(
                f"'{address}' names no Android device.", expected="a serial of adb devices, or HOST:PORT"
            )
        return {"serial": address}

    def _info(self) -> DeviceInfo:
        with self._reach() as adb:
            return self._facts(adb)

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        with self._reach() as adb:
            facts = self._facts(adb)
            provenance = self._provenance(facts)
            if self._tool_path is None:
                runner = self._python_runner(adb)
                found = runner.benchmark(models, plan, target=self.label, provenance=provenance)
                return {name: _with_facts(one, facts) for name, one in found.items()}
            tool = self._tool(adb, self._tool_path)
            about: dict[str, Any] = {"target": self.label, "provenance": provenance, "device": facts}
            return {name: tool.measure(model, name, plan, **about) for name, model in models.items()}

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        # What is measured is what is checked: another runtime on the same device would prove nothing.
        if self._tool_path is None:
            return super()._outputs(model, inputs, runtime)
        with self._reach() as adb:
            return self._tool(adb, self._tool_path).outputs(model, inputs, self._facts(adb).machine)

    def _tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
        if self._tool_path is None:
            return super()._tensors(model, example, runtime)
        with self._reach() as adb:
            return self._tool(adb, self._tool_path).tensors(model, example)

    def _deploy(self, bundle: Path) -> Deployment:
        whole = Bundle.read(bundle)
        with self._reach() as adb:
            return self._installer(adb, whole.folder).deploy(whole)

    def _transport(self) -> Adb:
        return self._reach()

    def _installer(self, adb: Adb, bundle: Path) -> Installer:
        """What keeps models on the device, and tests them there by whatever can.

        benchmark_model runs both stages of a model in two, and knows of no threshold.
        """
        plain = Installer(adb, self.label, self.models_root)
        if self._tool_path is None:
            return self._python_runner(adb).installer(self.label, self.models_root) if self._python else plain
        tool, machine = self._tool(adb, self._tool_path), self._facts(adb).machine
        if not tool.gives_outputs:
            return plain
        return replace(
            plain,
            outputs=lambda path, inputs: tool.outputs(bundle / FIRST, inputs, machine, path),
            tensors=tool.tensors,
            stages=lambda folder, inputs, _: (
                tool.both_outputs(
                    (bundle / FIRST, bundle / REST), inputs, machine, [f"{folder}/{FIRST}", f"{folder}/{REST}"]
                ),
                None,
            ),
        )

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        with self._reach() as adb:
            yield self._python_runner(adb)

    def _python_runner(self, adb: Adb) -> Runner:
        if self._python is not None:
            return Runner(adb, (self._python, "-I"))
        if self._tool_path is not None:
            raise Unsupported(
                f"benchmark_model does not evaluate on '{self.label}'.", mend="set 'python' to a Python on the device"
            )
        raise ToolMissing(
            f"Nothing is set that runs models on '{self.label}'.",
            expected="'benchmark_model', a program on this machine, or 'python', one on the device",
            mend=WHERE_TO_GET_IT,
        )

    def _tool(self, adb: Adb, path: Path) -> BenchmarkTool:
        if not path.is_file():
            raise ToolMissing(f"There is no program {path}.", mend=WHERE_TO_GET_IT)
        return BenchmarkTool(adb, path, self._delegate, profile=self._profile)

    def _facts(self, adb: Adb) -> DeviceInfo:
        return _android_facts.device(adb.shell(_android_facts.PROBE), adb.serial)

    def _provenance(self, facts: DeviceInfo) -> Provenance:
        return weaker(self._claimed, "emulated" if facts.emulator else "device")


def _with_facts(found: Measurement, facts: DeviceInfo) -> Measurement:
    """A measurement of the Python runner, with what only Android's own programs tell of the device."""
    device = replace(facts, python=found.device.python, emulator=facts.emulator or found.device.emulator)
    return replace(found, device=device)
