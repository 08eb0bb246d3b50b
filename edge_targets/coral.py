"""coral: a Coral Edge TPU, here or on a board over ssh; where there is none, a calculation, marked simulated."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_targets._address import key_values, ssh_address
from edge_targets._base import Capabilities, Target
from edge_targets._edgetpu_compiler import PROGRAM, compile_model
from edge_targets._edgetpu_estimate import ON_CHIP_BYTES, Estimate, estimate
from edge_targets._edgetpu_here import PYTHON, EdgeTpuHere
from edge_targets._edgetpu_map import COMPILED, CPU, Mapped, is_compiled, predict
from edge_targets._edgetpu_places import placements
from edge_targets._edgetpu_verdict import refused
from edge_targets._errors import TargetError, ToolMissing, Unsupported, UnusableModel
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Runtime
from edge_targets._parity import Outputs
from edge_targets._placement import Placements
from edge_targets._runner import Runner, RunnerTarget
from edge_targets._transport import Local, Transport
from edge_targets.raspberry_pi import RaspberryPiTarget
from edge_targets.tflite_graph import Graph, read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIBRARY = "libedgetpu.so.1"
INSTALL = (
    "add Coral's package archive (coral.ai/docs/accelerator/get-started), then: sudo apt-get install libedgetpu1-std"
)
LOAD_TIMEOUT_S = 30.0
# In a process of its own: a library that crashes while it is loaded takes nothing else with it.
_LOADS = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


@dataclass(frozen=True)
class _Prepared:
    """A model as it goes to the device, and where its operators run."""

    path: Path
    kernels: str


class CoralTarget(Target):
    """An Edge TPU at this machine, or at a board over ssh: a Dev Board, or a Pi with a USB accelerator.

    Args:
        connect: makes the transport; `Recording` stands in for it in tests.
        link: how the Edge TPU is connected; estimates depend on it.
        simulate: True calculates, False measures or fails; None measures where compiler and libedgetpu are here, and
            calculates elsewhere.
        compiler: the program that compiles for it.
        library: its delegate; on a board, the one there.
        host, user, port, key_file, known_hosts, python: the board, as `raspberry_pi` takes them; without a host it is
            this machine. A board is measured or fails: nothing is calculated in its place.
    """

    provenance = "device"
    capabilities = Capabilities(benchmark=True, evaluate=True, delegates=("libedgetpu",))

    def __init__(
        self,
        connect: Callable[[], Transport] = Local,
        *,
        link: Literal["usb3", "usb2"] = "usb3",
        simulate: bool | None = None,
        compiler: str = PROGRAM,
        library: str = LIBRARY,
        host: str = "",
        user: str | None = None,
        port: int | None = None,
        key_file: Path | None = None,
        known_hosts: Path | None = None,
        python: str = "python3",
    ) -> None:
        self._connect = connect
        self._link = link
        self._simulate = False if host and simulate is None else simulate
        self._compiler = compiler
        self._library = library
        self._board: RaspberryPiTarget | None = None
        if host:
            self._board = RaspberryPiTarget(
                host=host, user=user, port=port, key_file=key_file, known_hosts=known_hosts, python=python
            )
            self._board.delegate = library

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """`coral:link=usb2,simulate=on` is the settings themselves; `coral:mendel@board` is a board."""
        return key_values(address) if "=" in address else ssh_address(address)

    def places(self, model: Path) -> Placements:
        """Where each operator of a `.tflite` would run. It takes no compiler; where there is one, it is asked too."""
        with self._one_error_tree("inspect"):
            graph = read_graph(model)
            if shutil.which(self._compiler) is None or is_compiled(graph) or _all_on_cpu(graph):
                return placements(graph, self._link)
            return self._places_by_compiler(model, graph)

    def _places_by_compiler(self, model: Path, graph: Graph) -> Placements:
        with self._connect() as transport, tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            try:
                compiled = compile_model(model, Path(folder, "model.tflite"), transport, program=self._compiler)
            except UnusableModel as error:
                return refused(placements(graph, self._link), error)
            except TargetError as error:
                # Of the model this says nothing: the prediction stands, but must not hide it.
                foretold = placements(graph, self._link)
                return replace(foretold, notes=(*foretold.notes, error.what))
            return placements(graph, self._link, compiled)

    def _info(self) -> DeviceInfo:
        if self._board is not None:
            return self._board.info()
        with self._connect() as transport:
            return Runner(transport, PYTHON).probe()

    def _prepare(self, model: Path) -> Path:
        with self._connect() as transport:
            return self._prepared(model, model.with_name(f"{model.stem}_edgetpu.tflite"), transport).path

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        if self._simulate:
            return self._calculated(models)
        try:
            return self._measured(models, plan)
        except ToolMissing:
            if self._simulate is False:
                raise
            return self._calculated(models)

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        with self._ready({"model": model}) as (device, prepared):
            return device.evaluate(prepared["model"].path, batches, runtime=runtime)

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        if self._simulate:
            raise Unsupported(f"'{self.label}' only calculates, and gives no outputs back.")
        try:
            return self._run_outputs(model, inputs, runtime)
        except ToolMissing as error:
            if self._simulate is False:
                raise
            raise Unsupported(f"'{self.label}' only calculates: {error.what}", mend=error.mend) from error

    def _run_outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        with self._ready({"model": model}) as (device, prepared):
            return replace(device._outputs(prepared["model"].path, inputs, runtime), kernels=prepared["model"].kernels)

    # ---- with an Edge TPU ----

    def _measured(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        with self._ready(models) as (device, prepared):
            found = device.benchmark({name: one.path for name, one in prepared.items()}, plan)
            return {name: replace(one, kernels=prepared[name].kernels) for name, one in found.items()}

    @contextmanager
    def _ready(self, models: Mapping[str, Path]) -> Iterator[tuple[RunnerTarget, dict[str, _Prepared]]]:
        """What has the delegate, and the models as they go to it; for as long as their folder is there."""
        with self._connect() as transport, tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            if self._board is None:
                self._require_library(transport)
            prepared = {
                name: self._prepared(model, Path(folder, f"model-{place}.tflite"), transport)
                for place, (name, model) in enumerate(models.items())
            }
            yield self._board or EdgeTpuHere(transport, self._library), prepared

    def _require_library(self, transport: Transport) -> None:
        done = transport.run([*PYTHON, "-c", _LOADS, self._library], timeout_s=LOAD_TIMEOUT_S)
        if done.returncode != 0:
            raise ToolMissing(
                f"The Edge TPU's delegate {self._library} is not here, or cannot be loaded.",
                expected="libedgetpu, and an Edge TPU that is plugged in",
                mend=INSTALL,
            )

    def _prepared(self, model: Path, out: Path, transport: Transport) -> _Prepared:
        graph = read_graph(model)
        if is_compiled(graph):
            return _Prepared(model, _kernels(all(one.custom_code == COMPILED for one in graph.operators)))
        if _all_on_cpu(graph):
            # A float baseline: the compiler would refuse it, and the processor beside the chip runs it.
            return _Prepared(model, "cpu")
        compiled = compile_model(model, out, transport, program=self._compiler)
        return _Prepared(compiled.path, _kernels(compiled.compilation.on_cpu == 0))

    # ---- without one ----

    def _calculated(self, models: Mapping[str, Path]) -> dict[str, Measurement]:
        return {name: self._calculation(name, read_graph(model)) for name, model in models.items()}

    def _calculation(self, name: str, graph: Graph) -> Measurement:
        if is_compiled(graph):
            raise UnusableModel(
                f"The model '{name}' is compiled: what it does on the chip can no longer be told.",
                mend="give the model from before the compiler",
            )
        mapped = predict(graph)
        return _simulated(self.label, name, estimate(graph, mapped, self._link), _mapped_kernels(mapped), self._link)


def _all_on_cpu(graph: Graph) -> bool:
    return all(one.runs_on == CPU for one in predict(graph).placements)


def _kernels(all_on_chip: bool) -> str:
    return "edgetpu" if all_on_chip else "edgetpu+cpu"


def _mapped_kernels(mapped: Mapped) -> str:
    places = {one.runs_on for one in mapped.placements}
    return "cpu" if places <= {CPU} else _kernels(CPU not in places)


def _simulated(target: str, model: str, found: Estimate, kernels: str, link: str) -> Measurement:
    """A calculation in the place of a measurement: no runs, no percentiles, and it says what it is."""
    chip = DeviceInfo(
        machine="edgetpu",
        cpu_model=f"Coral Edge TPU over {link} (simulated)",
        cores=1,
        memory_bytes=ON_CHIP_BYTES,
        os="",
        python="",
    )
    return Measurement(
        target=target,
        model=model,
        provenance="simulated",
        runtime="edgetpu estimate",
        runtime_version="1",
        kernels=kernels,
        threads=1,
        median_us=found.total_us,
        mean_us=found.total_us,
        min_us=found.total_us,
        first_us=found.first_us,
        device=chip,
    )
