"""microcontroller: TensorFlow Lite Micro's outputs and memory, and Vela's cycles on Ethos-U, marked simulated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_targets import _tflm, _vela
from edge_targets._address import key_values
from edge_targets._base import Capabilities, Target
from edge_targets._errors import TargetError, ToolMissing, Unsupported, UnusableModel
from edge_targets._mcu_places import NOWHERE, NPU, Memory, by_vela, placements, predicted, too_large, works_in_floats
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Runtime
from edge_targets._placement import Placement, Placements
from edge_targets._transport import Local, Transport
from edge_targets._vela import ACCELERATORS, COMPILED, Compiled, EthosU
from edge_targets.tflite_graph import Graph, read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._npu import NpuEstimate
    from edge_targets._parity import Outputs

NONE = "none"
Accelerator = Literal["none", EthosU]


class MicrocontrollerTarget(Target):
    """A microcontroller that is not here: its interpreter runs on this machine, its accelerator is calculated.

    Args:
        connect: makes the transport; `Recording` stands in for it in tests.
        accelerator: the neural processor that latency is told of; `none` for a processor alone.
        all_accelerators: also tell what the model takes on every other Ethos-U55 and U65.
        sram_kib: memory that the arena has to fit into.
        flash_kib: memory that the model has to fit into.
        vela: the compiler for Ethos-U.
    """

    provenance = "simulated"
    capabilities = Capabilities(benchmark=True, evaluate=True)

    def __init__(
        self,
        connect: Callable[[], Transport] = Local,
        *,
        accelerator: Accelerator = "ethos-u55-128",
        all_accelerators: bool = True,
        sram_kib: int = 512,
        flash_kib: int = 2048,
        vela: str = _vela.PROGRAM,
    ) -> None:
        self._connect = connect
        self._accelerator = accelerator
        others = [one for one in ACCELERATORS if one != accelerator] if all_accelerators else []
        self._accelerators = () if accelerator == NONE else (accelerator, *others)
        self._memory = Memory(1024 * sram_kib, 1024 * flash_kib)
        self._vela = vela

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """`microcontroller:accelerator=ethos-u65-256,sram_kib=1024` is the settings themselves."""
        return key_values(address)

    def places(self, model: Path) -> Placements:
        """Where each operator of a `.tflite` would run. It takes no tools; those that are here are asked too."""
        with self._one_error_tree("inspect"):
            graph = read_graph(model)
            _must_not_be_compiled(graph)
            return self._with_tflm(model, self._with_vela(model, graph))

    def _with_vela(self, model: Path, graph: Graph) -> Placements:
        foretold = self._foretold(graph)
        if self._is_on_processor(graph) or _vela.found_program(self._vela) is None:
            return foretold
        with self._connect() as transport, tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            try:
                compiled = self._compiled(model, Path(folder, "model.tflite"), self._accelerator, transport)
            except TargetError as error:
                return replace(foretold, notes=(*foretold.notes, error.what))
        found = placements(graph, self._memory, by_vela(graph, compiled))
        return replace(found, facts={**found.facts, **_figures(compiled.estimate)})

    def _with_tflm(self, model: Path, found: Placements) -> Placements:
        """What the interpreter itself says, where it is here."""
        try:
            with self._connect() as transport:
                arena_bytes = _tflm.load(model, transport).arena_bytes
        except ToolMissing:
            return found
        except TargetError as error:
            return replace(found, notes=(*found.notes, f"on the processor alone: {error.what}"))
        notes = dict.fromkeys([*found.notes, *too_large(arena_bytes, 0, self._memory)])
        return replace(found, notes=tuple(notes), facts={**found.facts, "arena_bytes": arena_bytes})

    def _is_on_processor(self, graph: Graph) -> bool:
        """Whether nothing can be the Ethos-U's, as of a float model: Vela need not be asked, and may not take it."""
        return all(one.runs_on != NPU for one in self._foretold(graph).operators)

    def _foretold(self, graph: Graph) -> Placements:
        return placements(graph, self._memory, None if self._accelerator == NONE else predicted(graph))

    def _info(self) -> DeviceInfo:
        return _chip(self._accelerator, None, self._memory)

    def _prepare(self, model: Path) -> Path:
        if self._accelerator == NONE:
            return model
        with self._connect() as transport:
            out = model.with_name(f"{model.stem}_vela.tflite")
            return self._compiled(model, out, self._accelerator, transport).path

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        for model in models.values():
            self._must_run(read_graph(model))
        with self._connect() as transport:
            return {name: self._calculation(name, model, transport) for name, model in models.items()}

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        self._must_run(read_graph(model))
        with self._connect() as transport:
            return _tflm.evaluate(model, batches, transport)

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        self._must_run(read_graph(model))
        with self._connect() as transport:
            try:
                return _tflm.outputs(model, inputs, transport)
            except UnusableModel as error:
                if self._accelerator == NONE:
                    raise
                # With the Ethos-U it may well work, and of that no outputs can be had here.
                raise Unsupported(f"On the processor alone: {error.what}", mend=error.mend) from error

    def _must_run(self, graph: Graph) -> None:
        """Refuse a model with operators that nothing there runs, by their names, before anything is tried."""
        _must_not_be_compiled(graph)
        nowhere = [one for one in self._foretold(graph).operators if one.runs_on == NOWHERE]
        if nowhere:
            kinds = sorted({_kind(graph, one) for one in nowhere})
            raise UnusableModel(
                f"A microcontroller cannot run {', '.join(kinds)}: {nowhere[0].why}.",
                expected="operators that TensorFlow Lite Micro or Ethos-U has",
                mend=nowhere[0].remedy,
            )

    def _calculation(self, name: str, model: Path, transport: Transport) -> Measurement:
        arena_bytes, version = self._arena(model, transport)
        npu = self._estimates(model, transport)
        self._must_fit(read_graph(model), npu[0].sram_bytes if npu and npu[0].on_cpu == 0 else arena_bytes or 0)
        told = ("vela", _vela.version(transport, self._vela)) if npu else ("tflite_micro", version)
        found = _simulated(npu, told, _chip(self._accelerator, npu[0] if npu else None, self._memory), arena_bytes)
        return replace(found, target=self.label, model=name)

    def _must_fit(self, graph: Graph, sram_bytes: int) -> None:
        """A float model is there to be compared with, and need not."""
        problems = [] if works_in_floats(graph) else too_large(sram_bytes, graph.size_bytes, self._memory)
        if problems:
            raise UnusableModel(f"The model does not fit: {problems[0]}.")

    def _arena(self, model: Path, transport: Transport) -> tuple[int | None, str]:
        try:
            loaded = _tflm.load(model, transport)
        except UnusableModel:
            if self._accelerator == NONE:
                raise
            return None, ""
        return loaded.arena_bytes, loaded.version

    def _estimates(self, model: Path, transport: Transport) -> tuple[NpuEstimate, ...]:
        if self._is_on_processor(read_graph(model)):
            return ()
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            out = Path(folder, "model.tflite")
            return tuple(self._compiled(model, out, one, transport).estimate for one in self._accelerators)

    def _compiled(self, model: Path, out: Path, accelerator: str, transport: Transport) -> Compiled:
        return _vela.compile_model(model, out, transport, accelerator, program=self._vela)


def _must_not_be_compiled(graph: Graph) -> None:
    if any(one.custom_code == COMPILED for one in graph.operators):
        raise UnusableModel(
            "The model is compiled for Ethos-U: what runs in it can no longer be told.",
            mend="give the model from before Vela",
        )


def _kind(graph: Graph, placed: Placement) -> str:
    operator = graph.subgraphs()[placed.subgraph].operators[placed.index]
    return operator.custom_code or operator.kind


def _figures(found: NpuEstimate) -> dict[str, Any]:
    """Vela's figures of one accelerator, as `inspect` shows them."""
    return {
        "accelerator": found.accelerator,
        "cycles": found.cycles,
        "inference_us": found.inference_us,
        "npu_sram_bytes": found.sram_bytes,
        "npu_flash_bytes": found.flash_bytes,
    }


def _chip(accelerator: str, found: NpuEstimate | None, memory: Memory) -> DeviceInfo:
    system = f", {found.system}, {found.memory_mode}, {found.clock_hz / 1e6:g} MHz" if found else ""
    return DeviceInfo(
        machine="cortex-m" if accelerator == NONE else accelerator,
        cpu_model=f"microcontroller{system} (simulated)",
        cores=1,
        memory_bytes=memory.sram_bytes,
        os="",
        python="",
    )


def _simulated(
    npu: tuple[NpuEstimate, ...], told: tuple[str, str], chip: DeviceInfo, arena_bytes: int | None
) -> Measurement:
    """A calculation in the place of a measurement: no runs, no percentiles, and it says what it is."""
    # A part's time is not the model's: what stays on the processor is in no figure of Vela's.
    whole_us = npu[0].inference_us if npu and npu[0].on_cpu == 0 else None
    return Measurement(
        target="",
        model="",
        provenance="simulated",
        runtime=told[0],
        runtime_version=told[1],
        kernels=_kernels(npu),
        threads=1,
        median_us=whole_us,
        mean_us=whole_us,
        min_us=whole_us,
        device=chip,
        arena_bytes=arena_bytes,
        npu=npu,
    )


def _kernels(npu: tuple[NpuEstimate, ...]) -> str:
    """Where the model runs: `ethos-u` only if no operator stays on the processor."""
    if not npu or npu[0].on_npu == 0:
        return "tflm"
    return "ethos-u" if npu[0].on_cpu == 0 else "ethos-u+tflm"
