"""This side of the conversation with `_on_device.py`: pushes it and the files it needs, asks, reads the answers."""

from __future__ import annotations

import json
import statistics
import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_targets import _answer, _energy, _on_device, _on_device_noise, _statistics, _unpack
from edge_targets._base import Target
from edge_targets._bundle import Bundle
from edge_targets._cascade import NEVER, Exits, both_stages, kernels_of_both, pushed, run_cascade
from edge_targets._cascade_file import FIRST, REST
from edge_targets._deploy import Installer
from edge_targets._errors import DeviceError, WrongInput
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Kernels, Measurement, Provenance, Runtime, weaker
from edge_targets._noise import Noise, TensorPair
from edge_targets._parity import Deployment, Outputs
from edge_targets._profile import profiled
from edge_targets._stability import unstable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_targets._transport import Transport

RUNNER = "edgesmith_runner.py"
ENERGY = "edgesmith_energy.py"
# Importing an interpreter takes seconds on a small board, minutes on an emulated one.
START_TIMEOUT_S = 120.0
EVALUATE_TIMEOUT_S = 3600.0
# A few examples, of a model that may never end.
FEW_TIMEOUT_S = START_TIMEOUT_S + 180.0
# `mix` takes some 10 µs a bit on a PC; a small board is ten times slower, an emulated one a hundred times.
UNPACK_TIMEOUT_S = 600.0
# A model of a microsecond would otherwise give a million samples, and an answer of megabytes.
MOST_RUNS = 50_000
# What waits on the device at a time: it may have little disk.
CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class _Cold:
    """What fresh processes saw of one model: medians."""

    load_us: float | None
    first_us: float | None
    gained_bytes: int | None


class Runner:
    """The runner on one device, for as long as its transport is open.

    Args:
        transport: the way to the device, entered.
        python: how a Python is started there; the runner's path and nothing else follows.
        kernels: which kernels of the interpreter run; "auto" leaves it to the interpreter.
        runtime: which interpreter runs where a job leaves it open ("auto").
        delegate: a shared library on the device that takes operators over, or None.
    """

    def __init__(
        self,
        transport: Transport,
        python: Sequence[str],
        kernels: Kernels = "auto",
        runtime: Runtime = "auto",
        delegate: str | None = None,
    ) -> None:
        self._transport = transport
        self._delegate = delegate
        self._kernels = kernels
        self._runtime = runtime
        self._python = tuple(python)
        self._argv = (*python, transport.push(Path(_on_device.__file__), RUNNER))

    def probe(self) -> DeviceInfo:
        """What the device is."""
        return _answer.device(self.ask("probe", {}))

    def benchmark(
        self, models: Mapping[str, Path], plan: BenchmarkPlan, *, target: str, provenance: Provenance
    ) -> dict[str, Measurement]:
        """Cold starts of each model in processes of their own, then all of them turn by turn in one.

        The cold starts come first: they name the model that crashes.
        """
        paths = [self._transport.push(model, f"model-{place}.tflite") for place, model in enumerate(models.values())]
        names = list(models)
        cold = [self._cold(path, name, plan) for path, name in zip(paths, names, strict=True)]
        script = self.push(Path(_energy.__file__), ENERGY) if plan.energy else None
        answer = self.ask(
            "benchmark",
            {**asdict(plan), "models": paths, "most_runs": max(MOST_RUNS, plan.num_runs), "energy": script},
            subject=f"one of the models {', '.join(names)}",
            timeout_s=self.timeout_s((plan.max_secs + _energy.IDLE_S + _energy.BUSY_S) * len(models)),
        )
        parts = _answer.groups(answer, "models", exactly=len(models))
        device = _answer.device(answer)
        common = {
            "target": target,
            "provenance": weaker(provenance, "emulated") if device.emulator else provenance,
            "runtime": _answer.text(answer, "runtime"),
            "runtime_version": _answer.text(answer, "runtime_version"),
            "threads": plan.num_threads,
            "delegate": self._delegate,
            "warmup_runs": _answer.count(answer, "warmup_runs"),
            "device": device,
            "before": _answer.conditions(answer, "before"),
            "after": _answer.conditions(answer, "after"),
        }
        steady = _answer.yes(answer, "steady")
        found = {
            name: _measurement(name, part, start, common, plan, steady)
            for name, part, start in zip(names, parts, cold, strict=True)
        }
        if not plan.profile:
            return found
        return {
            name: profiled(self, path, models[name], found[name], plan) for name, path in zip(names, paths, strict=True)
        }

    def timed(
        self, paths: Sequence[str], measurement: Measurement, *, most_runs: int, max_secs: float
    ) -> list[list[float]]:
        """Latencies in µs of each of some models, turn by turn, run as another was.

        Args:
            paths: the models, on the device.
            measurement: of the other: its interpreter and threads are taken.
            most_runs: of each.
            max_secs: for all of them together.
        """
        request = {
            "models": paths,
            "runtime": measurement.runtime,
            # Not all of them need have an operator for XNNPACK, though the other had.
            "kernels": "auto" if self._kernels == "xnnpack" else self._kernels,
            "num_threads": measurement.threads,
            "warmup_runs": 3,
            "num_runs": 5,
            "most_runs": most_runs,
            "min_secs": max_secs / len(paths),
            "max_secs": max_secs / len(paths),
        }
        answer = self.ask("benchmark", request, subject="a part of the model", timeout_s=self.timeout_s(max_secs))
        parts = _answer.groups(answer, "models", exactly=len(paths))
        return [[ns / 1000 for ns in _answer.counts(part, "latencies_ns", most=MOST_RUNS)] for part in parts]

    def push(self, path: Path, name: str) -> str:
        """A file in the device's work folder, and its path there."""
        return self._transport.push(path, name)

    @staticmethod
    def timeout_s(max_secs: float) -> float:
        """How long a job may take that measures for so many seconds."""
        return START_TIMEOUT_S + 3 * max_secs

    def evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        """The first output for each example, (n, ...). One chunk of inputs is held at a time; outputs wait in files."""
        path = self._transport.push(model, "model.tflite")
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            numbered = enumerate(chunks(batches))
            outputs = [
                self._evaluate_chunk(path, chunk, Path(folder), place, runtime, EVALUATE_TIMEOUT_S)[1]
                for place, chunk in numbered
            ]
            if not outputs:
                raise WrongInput("There are no examples to evaluate.", expected="at least one batch of at least one")
            return np.concatenate(outputs, dtype=outputs[0].dtype)

    def outputs(self, model: Path | str, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        """The first output for each of a few inputs (n, ...), and which kernels ran.

        Args:
            model: a file of ours; or the path of one on the device, as text.
        """
        path = model if isinstance(model, str) else self._transport.push(model, "model.tflite")
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            answer, values = self._evaluate_chunk(path, inputs, Path(folder), 0, runtime, FEW_TIMEOUT_S)
            kernels, name, version = (_answer.text(answer, key) for key in ("kernels", "runtime", "runtime_version"))
            return Outputs(kernels, name, version, _answer.device(answer).machine, np.array(values))

    def tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
        """The bytes of all outputs for one example (1, ...), one after another, (bytes,)."""
        request = self._request(self._transport.push(model, "model.tflite"), example, runtime)
        self.ask("tensors", request, subject="the model", timeout_s=FEW_TIMEOUT_S)
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            self._transport.pull("outputs.npy", Path(folder, "outputs.npy"))
            return np.array(_outputs(Path(folder, "outputs.npy")), np.uint8)

    def stages(self, request: dict[str, Any], examples: NDArray[Any]) -> tuple[Outputs, NDArray[Any]]:
        """The scores of both stages of a cascade for examples (n, ...), (n, 2, classes), and who left early, (n,).

        Neither is checked: the shapes are the device's word.

        Args:
            request: its models, script and threshold, and what else the job needs.
            examples: as the first stage takes them.
        """
        files = {"outputs": self._transport.path("outputs.npy"), "left": self._transport.path("left.npy")}
        envelope = {**request, **files, "inputs": self._push_array(examples, "inputs.npy")}
        answer = self.ask("cascade", envelope, subject="one of the stages", timeout_s=EVALUATE_TIMEOUT_S)
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            for name in ("outputs.npy", "left.npy"):
                self._transport.pull(name, Path(folder, name))
            scores, left = (np.array(_outputs(Path(folder, name))) for name in ("outputs.npy", "left.npy"))
        kernels = kernels_of_both(*(_answer.text(answer, key) for key in ("kernels", "rest_kernels")))
        name, version = (_answer.text(answer, key) for key in ("runtime", "runtime_version"))
        return Outputs(kernels, name, version, _answer.device(answer).machine, scores), left

    def unpack(self, parcel: str, name: str) -> None:
        """Unpack a parcel of the work folder (`pipeline/ota.py`) into another file of it."""
        script = self._transport.push(Path(_unpack.__file__), "unpack.py")
        argv = (*self._python, script, self._transport.path(parcel), self._transport.path(name))
        done = self._transport.run(argv, timeout_s=UNPACK_TIMEOUT_S)
        if done.returncode:
            raise DeviceError(f"{parcel} could not be unpacked on the device.{_answer.last_words(done.stderr)}")

    def installer(self, label: str, root: str) -> Installer:
        """What keeps models on the device.

        Args:
            label: what the user calls the device.
            root: the folder for all models there.
        """
        return Installer(
            self._transport,
            label,
            root,
            outputs=lambda path, inputs: self.outputs(path, inputs, "auto"),
            tensors=lambda opened, example: self.tensors(opened, example, "auto"),
            unpack=self.unpack,
            stages=lambda folder, inputs, threshold: both_stages(
                self, [f"{folder}/{name}" for name in (FIRST, REST)], inputs, threshold, "auto"
            ),
        )

    def noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        runtime: Runtime,
    ) -> list[Noise]:
        """How far tensors inside the second model are from those in the first; sums come back, no tensors."""
        request = {
            "models": [self._transport.push(path, f"model-{place}.tflite") for place, path in enumerate(models)],
            "runtime": runtime,
            "num_threads": 1,
            "script": self._transport.push(Path(_on_device_noise.__file__), "noise.py"),
            "inputs": [self._push_array(array, f"inputs-{place}.npy") for place, array in enumerate(inputs)],
            "pairs": [list(astuple(pair)) for pair in pairs],
        }
        answer = self.ask("noise", request, subject="one of the models", timeout_s=EVALUATE_TIMEOUT_S)
        if _answer.count(answer, "examples") != len(inputs[0]):
            raise _answer.strange(f"it ran another number of examples than {len(inputs[0])}")
        return [_answer.noise(found) for found in _answer.groups(answer, "pairs", exactly=len(pairs))]

    def _push_array(self, array: NDArray[Any], name: str) -> str:
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            np.save(Path(folder, name), array, allow_pickle=False)
            return self._transport.push(Path(folder, name), name)

    def _evaluate_chunk(
        self, model: str, chunk: NDArray[Any], folder: Path, place: int, runtime: Runtime, timeout_s: float
    ) -> tuple[_answer.Json, NDArray[Any]]:
        request = self._request(model, chunk, runtime)
        answer = self.ask("evaluate", request, subject="the model", timeout_s=timeout_s)
        if _answer.count(answer, "examples") != len(chunk):
            raise _answer.strange(f"it ran another number of examples than {len(chunk)}")
        local = folder / f"outputs-{place}.npy"
        self._transport.pull("outputs.npy", local)
        outputs = _outputs(local)
        if len(outputs) != len(chunk):
            raise _answer.strange(f"its outputs are not those of {len(chunk)} examples")
        return answer, outputs

    def _request(self, model: str, inputs: NDArray[Any], runtime: Runtime) -> dict[str, Any]:
        """What every job needs that runs a model over inputs."""
        return {
            "model": model,
            "runtime": runtime,
            "num_threads": 1,
            "inputs": self._push_array(inputs, "inputs.npy"),
            "outputs": self._transport.path("outputs.npy"),
        }

    def _cold(self, path: str, name: str, plan: BenchmarkPlan) -> _Cold:
        request = {"model": path, "runtime": plan.runtime, "num_threads": plan.num_threads}
        answers = [self.ask("load", request, subject=f"the model '{name}'") for _ in range(plan.cold_starts)]
        if not answers:
            return _Cold(None, None, None)
        gains = [gain for answer in answers if (gain := _answer.optional_count(answer, "gained_bytes")) is not None]
        return _Cold(
            load_us=statistics.median(_answer.count(answer, "load_ns") / 1000 for answer in answers),
            first_us=statistics.median(_answer.count(answer, "first_ns") / 1000 for answer in answers),
            gained_bytes=int(statistics.median(gains)) if gains else None,
        )

    def ask(
        self, job: str, request: dict[str, Any], *, subject: str = "", timeout_s: float = START_TIMEOUT_S
    ) -> _answer.Json:
        """The runner's answer to one job.

        Args:
            job: one of `_on_device.py`.
            request: its own keys.
            subject: the model or models it is about, for the message.
            timeout_s: how long it may take.
        """
        envelope = {"protocol": _on_device.PROTOCOL, "job": job, "kernels": self._kernels, **request}
        if request.get("runtime") == "auto":
            envelope["runtime"] = self._runtime
        if self._delegate is not None:
            envelope["delegate"] = self._delegate
        completed = self._transport.run(self._argv, stdin=json.dumps(envelope).encode(), timeout_s=timeout_s)
        return _answer.read(completed, job, subject)


class RunnerTarget(Target):
    """A target whose device has a Python: the runner does all the work, and the target says how it is reached.

    Attributes:
        models_root: the folder on the device for deployed models; `~/` in front is the home folder there.
    """

    models_root: str = "~/.local/share/edgesmith/models"

    @abstractmethod
    def _runner(self) -> AbstractContextManager[Runner]:
        """The runner, for as long as the device is connected."""

    @abstractmethod
    def _transport(self) -> AbstractContextManager[Transport]:
        """The way to the device: going back to an older model must need nothing that runs models."""

    def _info(self) -> DeviceInfo:
        with self._runner() as runner:
            return runner.probe()

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        with self._runner() as runner:
            return runner.benchmark(models, plan, target=self.label, provenance=self.provenance)

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        with self._runner() as runner:
            return runner.evaluate(model, batches, runtime)

    def _cascade(
        self, stages: tuple[Path, Path], batches: Iterable[NDArray[Any]], threshold: float, runtime: Runtime
    ) -> Exits:
        with self._runner() as runner:
            return run_cascade(runner, stages, chunks(batches), threshold, runtime)

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        with self._runner() as runner:
            return runner.outputs(model, inputs, runtime)

    def _both_outputs(self, stages: tuple[Path, Path], inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        """The scores of both stages for each of a few inputs, (n, 2, classes), whoever is sure."""
        with self._runner() as runner:
            return both_stages(runner, pushed(runner, stages), inputs, NEVER, runtime)[0]

    def _deploy(self, bundle: Path) -> Deployment:
        whole = Bundle.read(bundle)
        with self._runner() as runner:
            return runner.installer(self.label, self.models_root).deploy(whole)

    def _rollback(self, name: str) -> Deployment:
        with self._transport() as transport:
            return Installer(transport, self.label, self.models_root).rollback(name)

    def _deployed(self, name: str) -> Deployment | None:
        with self._transport() as transport:
            return Installer(transport, self.label, self.models_root).deployed(name)

    def _tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
        with self._runner() as runner:
            return runner.tensors(model, example, runtime)

    def _noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        runtime: Runtime,
    ) -> list[Noise]:
        with self._runner() as runner:
            return runner.noise(models, inputs, pairs, runtime)


def _measurement(
    name: str, part: _answer.Json, cold: _Cold, common: dict[str, Any], plan: BenchmarkPlan, steady: bool
) -> Measurement:
    latencies_ns = _answer.counts(part, "latencies_ns", most=max(MOST_RUNS, plan.num_runs))
    latencies_us = tuple(latency_ns / 1000 for latency_ns in latencies_ns)
    summary = _statistics.summarize(latencies_us)
    cores = common["device"].cores
    # Under an emulator, the source is that of the machine it runs on.
    energy = None if common["device"].emulator else _answer.optional_group(part, "energy")
    return Measurement(
        model=name,
        kernels=_answer.text(part, "kernels"),
        runs=len(latencies_us),
        latencies_us=latencies_us,
        peak_rss_bytes=cold.gained_bytes,
        load_us=cold.load_us,
        first_us=cold.first_us,
        unstable=unstable(latencies_us, common["before"], common["after"], steady=steady, cores=cores),
        energy_uj=None if energy is None else _answer.optional_number(energy, "energy_uj"),
        energy_source="" if energy is None else _answer.text(energy, "source"),
        idle_mw=None if energy is None else _answer.optional_number(energy, "idle_mw"),
        **common,
        **asdict(summary),
    )


def chunks(batches: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The same examples in order, in arrays of up to `CHUNK_BYTES` (or one example, if that is larger)."""
    waiting: list[NDArray[Any]] = []
    for piece in _pieces(batches):
        if waiting and sum(part.nbytes for part in waiting) + piece.nbytes > CHUNK_BYTES:
            yield _joined(waiting)
        waiting.append(piece)
    if waiting:
        yield _joined(waiting)


def _pieces(batches: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Views of the batches, none larger than a chunk, none empty, all alike."""
    first = None
    for batch in batches:
        first = batch[:0] if first is None else first
        _must_match(batch, first)
        step = max(1, CHUNK_BYTES // max(1, batch[:1].nbytes))
        for start in range(0, len(batch), step):
            yield batch[start : start + step]


def _joined(waiting: list[NDArray[Any]]) -> NDArray[Any]:
    """The arrays as one; the list is emptied, so that their memory is not held beside it."""
    whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
    waiting.clear()
    return whole


def _must_match(batch: NDArray[Any], first: NDArray[Any]) -> None:
    if batch.shape[1:] != first.shape[1:] or batch.dtype != first.dtype:
        raise WrongInput(
            f"A batch of {batch.dtype} {batch.shape} follows one of {first.dtype} {first.shape}.",
            expected="batches that differ only in their first size",
        )


def _outputs(path: Path) -> NDArray[Any]:
    """The pulled outputs, mapped: (n, ...)."""
    npy: Any = np.lib.format
    try:
        outputs: NDArray[Any] = npy.open_memmap(path, mode="r")
    # The header is Python source to numpy, whose parser ends in a dozen kinds of errors.
    except Exception as error:
        raise _answer.strange("its outputs are not a .npy file") from error
    if outputs.ndim == 0 or outputs.dtype.kind not in "biufc":
        raise _answer.strange("its outputs are not a list of numbers")
    return outputs
