"""`benchmark_model` on a device: pushed there, run there, its figures made a `Measurement`, its outputs arrays."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets import _benchmark_flags as flags_of
from edge_targets import _benchmark_model as tool
from edge_targets._cascade import kernels_of_both
from edge_targets._energy_android import SOURCE, BatteryEnergy, battery_energy, energy_plan
from edge_targets._errors import Unsupported, WrongInput
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Provenance
from edge_targets._parity import Outputs
from edge_targets._profile import joined
from edge_targets.tflite_graph import Tensor, read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._benchmark_flags import Delegate
    from edge_targets._benchmark_model import Told
    from edge_targets._transport import Completed, Transport

NAME = "benchmark_model"
RUNTIME = "benchmark_model"
# To load a large model, and to compile it for a GPU, on a slow device.
START_TIMEOUT_S = 300.0
FOR_OUTPUTS = frozenset({"input_layer_value_files", "output_filepath"})


class BenchmarkTool:
    """The tool on one device, for as long as its transport is open.

    Args:
        transport: the way to the device, entered.
        program: the tool on this machine, made for the device's processor.
        delegate: what runs the graph.
        profile: also time each operator, in a start of its own, so that the figures are those of undisturbed runs.
    """

    def __init__(self, transport: Transport, program: Path, delegate: Delegate, *, profile: bool = False) -> None:
        self._transport = transport
        self._delegate = delegate
        self._profile = profile
        self._argv = transport.push(program, NAME)
        transport.run(["chmod", "755", self._argv], timeout_s=START_TIMEOUT_S)
        with program.open("rb") as file:
            self._digest = hashlib.file_digest(file, "sha256").hexdigest()

    def measure(
        self, model: Path, name: str, plan: BenchmarkPlan, *, target: str, provenance: Provenance, device: DeviceInfo
    ) -> Measurement:
        """One model's figures. The tool measures one model at a start: several do not take turns."""
        graph = self._transport.push(model, "model.tflite")
        told = self._told(graph, plan, name, profile=False)
        rows = self._told(graph, plan, name, profile=True).profile if self._profile or plan.profile else None
        timed = told.timed
        # An emulator's battery is that of the machine it runs on, or made up.
        energy = self._energy(graph, plan, name) if plan.energy and not device.emulator else None
        return Measurement(
            target=target,
            model=name,
            provenance=provenance,
            runtime=RUNTIME,
            runtime_version=self._version(told.version),
            kernels=told.kernels,
            threads=plan.num_threads,
            delegate=None if self._delegate == "cpu" else self._delegate,
            warmup_runs=told.warmup.runs,
            runs=timed.runs,
            median_us=timed.median_us,
            mean_us=timed.mean_us,
            min_us=timed.min_us,
            peak_rss_bytes=told.overall_bytes,
            load_us=told.init_us,
            first_us=told.first_us,
            device=device,
            max_us=timed.max_us,
            std_us=timed.std_us,
            p5_us=timed.p5_us,
            p95_us=timed.p95_us,
            energy_uj=energy.energy_uj if energy else None,
            energy_source=SOURCE if energy else "",
            idle_mw=energy.idle_mw if energy else None,
            profile=None if rows is None else joined(rows, model),
            profile_method="" if rows is None else NAME,
            profile_covered=sum(row.us for row in rows) / timed.median_us if rows and timed.median_us else None,
        )

    @cached_property
    def gives_outputs(self) -> bool:
        """Whether this version writes a model's outputs to a file."""
        return not self._missing

    def outputs(self, model: Path, inputs: NDArray[Any], machine: str, path: str | None = None) -> Outputs:
        """The first output for each of the inputs (n, ...), which are few: each is a start of the tool.

        Args:
            model: the model on this machine.
            inputs: as it takes them.
            machine: the device's architecture.
            path: where the model lies on the device; None pushes it.
        """
        graph = read_graph(model)
        wanted, output = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
        if len(graph.inputs) != 1:
            raise WrongInput(f"The model has {len(graph.inputs)} inputs.", expected="a model of one input")
        _must_fit(inputs, wanted)
        sizes = [_nbytes(graph.tensors[index]) for index in graph.outputs]
        starts = list(self._starts(path or self._transport.push(model, "model.tflite"), inputs))
        rows = [_first_output(content, sizes, output) for _, _, content in starts]
        kernels, version = starts[0][:2]
        return Outputs(kernels, RUNTIME, version, machine, np.stack(rows))

    def both_outputs(self, stages: tuple[Path, Path], inputs: NDArray[Any], machine: str, paths: list[str]) -> Outputs:
        """The scores of both stages of a model for each of a few inputs, (n, 2, classes), whoever is sure.

        Args:
            stages: their files on this machine.
            inputs: as the first takes them, (n, ...).
            machine: the device's architecture.
            paths: where both lie on the device.
        """
        graph = read_graph(stages[0])
        scores, features = (graph.tensors[index] for index in graph.outputs)
        sizes = [_nbytes(scores), _nbytes(features)]
        starts = list(self._starts(paths[0], inputs))
        early = [_first_output(content, sizes, scores) for _, _, content in starts]
        taken = [
            np.frombuffer(content[sizes[0] :], features.dtype).reshape(features.shape[1:]) for *_, content in starts
        ]
        final = self.outputs(stages[1], np.stack(taken), machine, paths[1])
        kernels = kernels_of_both(starts[0][0], final.kernels)
        return replace(final, kernels=kernels, values=np.stack([np.stack(early), final.values], axis=1))

    def tensors(self, model: Path, example: NDArray[Any]) -> NDArray[np.uint8]:
        """The bytes of all outputs for one example (1, ...), one after another, (bytes,)."""
        [(_, _, content)] = self._starts(self._transport.push(model, "model.tflite"), example)
        return np.frombuffer(content, np.uint8)

    def _told(self, graph: str, plan: BenchmarkPlan, name: str, *, profile: bool) -> Told:
        done = self._run(
            flags_of.flags(graph, plan, self._delegate, profile=profile), START_TIMEOUT_S + 3 * plan.max_secs
        )
        return tool.read(done, self._delegate, f"the model '{name}'")

    def _energy(self, graph: str, plan: BenchmarkPlan, name: str) -> BatteryEnergy | None:
        """In a start of its own, beside which the battery is read: the figures are those of undisturbed runs."""
        longer = energy_plan(plan)

        def runs(done: Completed) -> tuple[int, float]:
            timed = tool.read(done, self._delegate, f"the model '{name}'").timed
            return timed.runs, timed.mean_us

        argv = [self._argv, *flags_of.flags(graph, longer, self._delegate)]
        return battery_energy(self._transport, argv, runs, timeout_s=START_TIMEOUT_S + 3 * longer.max_secs)

    def _starts(self, path: str, inputs: NDArray[Any]) -> Iterator[tuple[str, str, bytes]]:
        """Of each input: the kernels that ran, the tool's version, and the bytes of all outputs."""
        if self._missing:
            raise Unsupported(
                f"This benchmark_model cannot give a model's outputs: it knows no --{min(self._missing)}.",
                expected="a version of 2022 or later",
                mend=tool.WHERE_TO_GET_IT,
            )
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            source, sink = Path(folder, "input.bin"), Path(folder, "output.bin")
            for example in inputs:
                # By plain names in the work folder: a path could hold the signs that the flag is taken apart by.
                source.write_bytes(np.ascontiguousarray(example).tobytes())
                self._transport.push(source, source.name)
                flags = flags_of.output_flags(path, (1, *example.shape), source.name, sink.name, self._delegate)
                text = tool.must_have_run(self._run(flags, START_TIMEOUT_S), self._delegate, "the model")
                self._transport.pull(sink.name, sink)
                yield tool.kernels(text, self._delegate), self._version(tool.version(text)), sink.read_bytes()

    @cached_property
    def _missing(self) -> frozenset[str]:
        """What it would have to know to give outputs."""
        done = self._run(["--help"], START_TIMEOUT_S)
        return FOR_OUTPUTS - flags_of.known_flags((done.stdout + b"\n" + done.stderr).decode("utf-8", "replace"))

    def _version(self, told: str) -> str:
        return told or f"sha256:{self._digest[:12]}"

    def _run(self, flags: list[str], timeout_s: float) -> Completed:
        return self._transport.run([self._argv, *flags], timeout_s=timeout_s)


def _must_fit(inputs: NDArray[Any], wanted: Tensor) -> None:
    if not len(inputs):
        raise WrongInput("There are no examples.", expected="at least one")
    if inputs.shape[1:] != wanted.shape[1:] or inputs.dtype.name != wanted.dtype:
        raise WrongInput(
            f"The examples are {inputs.dtype} {inputs.shape[1:]}.",
            expected=f"{wanted.dtype} {wanted.shape[1:]}, as the model takes them",
        )


def _first_output(content: bytes, sizes: list[int], output: Tensor) -> NDArray[Any]:
    """The first of the outputs that lie one after another in a file."""
    if len(content) != sum(sizes):
        raise tool.strange(f"its outputs have {len(content)} bytes, and the model's {sum(sizes)}")
    values = np.frombuffer(content[: sizes[0]], output.dtype).reshape(output.shape)
    return values[0] if output.shape and output.shape[0] == 1 else values


def _nbytes(tensor: Tensor) -> int:
    return tensor.size * tensor.bits // 8
