"""Runs on the device: loads models, measures them, runs them over examples. A JSON request in, a JSON answer out.

This one file is pushed to the device and started there, in a process of its own for each job, so that a model that
crashes the interpreter takes nothing else with it. It needs Python 3.7, numpy and one interpreter, and nothing
else; the other side of the conversation is `_runner.py`.

    python _on_device.py < request.json > answer.json
    python _on_device.py request.json > answer.json

    request  {"protocol": 1, "job": "probe" | "load" | "benchmark" | "profile" | "evaluate" | "cascade" | "tensors" |
              "noise", ...its own keys}
             a job that loads models may also have "delegate": a shared library to hand operators to
    answer   {"protocol": 1, "job": ..., "device": {...}, ...its own keys}
         or  {"protocol": 1, "error": {"kind": "tool" | "model" | "input" | "device" | "request", "what": "..."}}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import math
import os
import platform
import runpy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO, NoReturn

    Json = dict[str, Any]

PROTOCOL = 1

# A warm-up is over when the latest runs are no more than this share faster than those before; or so many times the
# runs that were asked for have gone by.
STEADY = 0.05
MOST_WARMUP = 10

# Where each interpreter lives, in the order in which "auto" tries them.
RUNTIMES = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "tensorflow": "tensorflow.lite.python.interpreter",
}

# Which kernels run, as an op resolver of the interpreter. "auto" and "xnnpack" both leave the default delegates in.
RESOLVERS = {"builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}

# numpy's linear algebra is not used here: without its threads, start is faster and the memory figures are the model's.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class Trouble(Exception):
    """What the host is told instead of an answer."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what


# ---- the jobs ----


def probe(request: Json) -> Json:
    """The device alone, which is in every answer."""
    return {}


def load(request: Json) -> Json:
    """Load one model and run it once. In a fresh process, this is a cold start.

    Request: "model", "runtime", "kernels", "num_threads".
    Answer: "kernels", "load_ns", "first_ns", "gained_bytes" (or null).
    """
    runtime = Runtime(request)
    before_bytes = memory_before()
    start = time.perf_counter_ns()
    interpreter = runtime.load(request["model"], request["num_threads"])
    load_ns = time.perf_counter_ns() - start
    with model_trouble(request["model"]):
        fill_inputs(interpreter)
        start = time.perf_counter_ns()
        interpreter.invoke()
        first_ns = time.perf_counter_ns() - start
    gained_bytes = memory_gained(before_bytes)
    facts = {"load_ns": load_ns, "first_ns": first_ns, "gained_bytes": gained_bytes}
    return dict(runtime.facts(), kernels=runtime.kernels_of(interpreter), **facts)


def benchmark(request: Json) -> Json:
    """Time several models turn by turn.

    Request: "models", "runtime", "kernels", "num_threads", "warmup_runs", "num_runs", "most_runs", "min_secs",
    "max_secs", "goal"; where energy shall be measured too, "energy" (the script `_energy.py`).
    Answer: "warmup_runs", "steady", "before" and "after" (conditions), and "models": "kernels", "latencies_ns" and
    "energy" (or null) of each, in the request's order.
    """
    runtime = Runtime(request)
    interpreters = [runtime.load(path, request["num_threads"]) for path in request["models"]]
    turns = fair_turns(len(interpreters))
    most_s = request["max_secs"] * len(interpreters)
    least_s = request["min_secs"] * len(interpreters)
    with model_trouble("one of the models"), undisturbed():
        invokes = [ready_to_run(interpreter) for interpreter in interpreters]
        before = conditions()
        warmed = warm_up(invokes, turns, request["warmup_runs"], most_s)
        timed = rounds(invokes, turns, request["num_runs"], request["most_runs"], least_s, most_s, request.get("goal"))
        after = conditions()
        energies = energies_of(invokes, request.get("energy"), request.get("root", "/"))
    models = [
        {"kernels": runtime.kernels_of(interpreter), "latencies_ns": timed[place], "energy": energies[place]}
        for place, interpreter in enumerate(interpreters)
    ]
    facts = {"warmup_runs": len(warmed[0]), "steady": all(map(settled, warmed)), "before": before, "after": after}
    return dict(runtime.facts(), models=models, **facts)


def profile(request: Json) -> Json:
    """What LiteRT's own profiler tells of each operator; `_on_device_profile.py`, pushed beside this file, asks it.

    Request: "script" (that file), and its own keys.
    """
    try:
        return dict(runpy.run_path(request["script"])["profile"](request, noise_of))
    except (OSError, AttributeError, RuntimeError, ValueError) as error:
        raise Trouble("tool", f"LiteRT's profiler cannot be used: {error}") from error


def evaluate(request: Json) -> Json:
    """Run a model over examples, one at a time.

    Request: "model", "runtime", "kernels", "num_threads", "inputs" (a .npy, (n, ...)), "outputs" (where to write
    (n, ...)).
    Answer: "kernels", "examples".
    """
    import numpy as np

    runtime = Runtime(request)
    interpreter = runtime.load(request["model"], request["num_threads"])
    examples = np.load(request["inputs"], mmap_mode="r", allow_pickle=False)
    with model_trouble(request["model"]), Path(request["outputs"]).open("wb") as outputs:
        take_one(interpreter, examples)
        write_header(outputs, output_of_one(interpreter), len(examples))
        run_each(interpreter, examples, outputs)
    return dict(runtime.facts(), kernels=runtime.kernels_of(interpreter), examples=len(examples))


def cascade(request: Json) -> Json:
    """Run two stages of one model over examples, one at a time; the second only where the first is not sure.

    Request: "models" (both stages), "script" (`_on_device_cascade.py`, pushed too), "threshold", "runtime",
    "kernels", "num_threads", "inputs" (a .npy, (n, ...)), "outputs" (where to write the scores of both, (n, 2,
    classes)), "left" (where to write who left early, (n,) bool).
    Answer: "kernels" and "rest_kernels" (of either stage), "examples".
    """
    import numpy as np

    runtime = Runtime(request)
    first, rest = (runtime.load(path, request["num_threads"]) for path in request["models"])
    examples = np.load(request["inputs"], mmap_mode="r", allow_pickle=False)
    with model_trouble("one of the stages"):
        take_one(first, examples)
        stages = runpy.run_path(request["script"])["Cascade"](first, rest, request["threshold"])
        scores, left = stages.run_all(examples)
    np.save(request["outputs"], scores, allow_pickle=False)
    np.save(request["left"], left, allow_pickle=False)
    kernels = {"kernels": runtime.kernels_of(first), "rest_kernels": runtime.kernels_of(rest)}
    return dict(runtime.facts(), examples=len(examples), **kernels)


def tensors(request: Json) -> Json:
    """Run a model over one example, and give all of its outputs.

    Request: as for "evaluate"; "inputs" is (1, ...), and what is written is the bytes of all outputs in the model's
    order, (bytes,) uint8.
    Answer: "kernels".
    """
    import numpy as np

    runtime = Runtime(request)
    interpreter = runtime.load(request["model"], request["num_threads"])
    example = np.load(request["inputs"], allow_pickle=False)
    with model_trouble(request["model"]):
        take_one(interpreter, example)
        run_one(interpreter, example)
        values = [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
    stored = b"".join(value.tobytes() for value in values)
    np.save(request["outputs"], np.frombuffer(stored, np.uint8), allow_pickle=False)
    return dict(runtime.facts(), kernels=runtime.kernels_of(interpreter))


def noise(request: Json) -> Json:
    """Run two models over the same examples, and tell how far tensors inside one are from those in the other.

    Request: "models" (the reference and the other), "runtime", "num_threads", "inputs" (a .npy (n, ...) for each),
    "script" (`_on_device_noise.py`, which keeps the sums), "pairs" (the tensor's index in the reference and in the
    other, the other's scale and zero point; for each).
    Answer: "examples", and "pairs": what the script's `Tally` answers of each, "signal" and "noise" among it: the sums
    of reference² and of (reference - scale * (other - zero point))², or null where that is no finite number.
    """
    import numpy as np

    runtime = Runtime(request)
    interpreters = [runtime.load(path, request["num_threads"], inside=True) for path in request["models"]]
    examples = [np.load(path, mmap_mode="r", allow_pickle=False) for path in request["inputs"]]
    tally_of = runpy.run_path(request["script"])["Tally"]
    tallies = [tally_of(pair) for pair in request["pairs"]]
    with model_trouble("one of the models"), np.errstate(all="ignore"):
        for place, interpreter in enumerate(interpreters):
            take_one(interpreter, examples[place])
        for example in range(len(examples[0])):
            for place, interpreter in enumerate(interpreters):
                run_one(interpreter, examples[place][example : example + 1])
            for tally in tallies:
                first, second = tally.places
                tally.add(interpreters[0].get_tensor(first), interpreters[1].get_tensor(second))
        pairs = [tally.answer() for tally in tallies]
    return dict(runtime.facts(), examples=len(examples[0]), pairs=pairs)


JOBS = {
    "probe": probe,
    "load": load,
    "benchmark": benchmark,
    "profile": profile,
    "evaluate": evaluate,
    "cascade": cascade,
    "tensors": tensors,
    "noise": noise,
}


# ---- interpreters ----


class Runtime:
    """An interpreter's package, found by name or as the first that can be imported, and the kernels to run in it."""

    def __init__(self, request: Json) -> None:
        name, self.asked = request["runtime"], request.get("kernels", "auto")
        self.delegate = request.get("delegate")
        failures = []
        for candidate in list(RUNTIMES) if name == "auto" else [name]:
            try:
                self.module = importlib.import_module(RUNTIMES[candidate])
            # A package that does not fit its numpy fails in ways of its own while it is imported.
            except Exception as error:  # noqa: BLE001
                failures.append(f"{candidate} ({type(error).__name__}: {error})")
                continue
            self.name = candidate
            self.version = str(getattr(sys.modules[candidate], "__version__", "unknown"))
            return
        raise Trouble("tool", "No interpreter could be imported: " + "; ".join(failures))

    def facts(self) -> Json:
        return {"runtime": self.name, "runtime_version": self.version}

    def load(self, path: str, num_threads: int, inside: bool = False) -> Any:
        """A model, ready to run; with `inside`, its tensors within can be read after it ran."""
        # Delegates keep what is within to themselves, and without them memory is used again for later tensors.
        resolver = RESOLVERS.get("builtin" if inside else self.asked, "AUTO")
        delegates = None if inside or self.delegate is None else [self.load_delegate(self.delegate)]
        with model_trouble(path):
            interpreter = self.module.Interpreter(
                model_path=path,
                num_threads=num_threads,
                experimental_op_resolver_type=getattr(self.module.OpResolverType, resolver),
                experimental_preserve_all_tensors=inside,
                experimental_delegates=delegates,
            )
            interpreter.allocate_tensors()
        if self.asked == "xnnpack" and not self.kernels_of(interpreter).startswith("xnnpack"):
            raise Trouble("tool", f"XNNPACK was asked for, and {self.name} {self.version} does not use it here.")
        return interpreter

    def load_delegate(self, library: str) -> Any:
        """A delegate, from its shared library. What is wrong with it is never the model's fault."""
        try:
            return self.module.load_delegate(library)
        except (OSError, AttributeError) as error:
            raise Trouble("tool", f"The delegate {library} could not be loaded: {error}") from error
        except (ValueError, RuntimeError) as error:
            what = f"The delegate {library} finds no device that is plugged in and that it may open: {error}"
            raise Trouble("device", what) from error

    def kernels_of(self, interpreter: Any) -> str:
        """Which kernels run the graph: "reference", "builtin", "xnnpack" (all of it), "xnnpack+builtin" or "unknown".

        Half of a latency depends on it, and the default delegate, which is XNNPACK on processors, falls back without
        a word.
        """
        if self.asked == "reference":
            return "reference"
        try:
            operators = interpreter._get_ops_details()
        except (AttributeError, ValueError, RuntimeError, TypeError):
            return "unknown"
        delegated = [operator for operator in operators if operator["op_name"] == "DELEGATE"]
        if not delegated:
            return "builtin"
        return "xnnpack" if takes_all(delegated, interpreter) else "xnnpack+builtin"


@contextlib.contextmanager
def model_trouble(path: str) -> Iterator[None]:
    """What interpreters raise about a model, told as such."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, OverflowError, SystemError) as error:
        raise Trouble("model", f"{Path(path).name}: {error}") from error


def takes_all(delegated: Sequence[Json], interpreter: Any) -> bool:
    """Whether one delegated piece reaches from the model's inputs to its outputs, and nothing else feeds it."""
    computed = {int(index) for piece in delegated for index in piece["outputs"]}
    inputs = {tensor["index"] for tensor in interpreter.get_input_details()}
    outputs = {tensor["index"] for tensor in interpreter.get_output_details()}
    return len(delegated) == 1 and outputs <= computed | inputs and fed_by(delegated[0], interpreter) <= inputs


def fed_by(piece: Json, interpreter: Any) -> set[int]:
    """The tensors that are computed elsewhere and go into a delegated piece: those without stored content."""
    made = {int(index) for operator in interpreter._get_ops_details() for index in operator["outputs"]}
    made |= {tensor["index"] for tensor in interpreter.get_input_details()}
    return made & {int(index) for index in piece["inputs"]}


def ready_to_run(interpreter: Any) -> Callable[[], Any]:
    """What to call to run it, on inputs that are already there."""
    fill_inputs(interpreter)
    invoke: Callable[[], Any] = interpreter.invoke
    return invoke


def fill_inputs(interpreter: Any) -> None:
    """Give every input the same noise each time."""
    import numpy as np

    rng = np.random.RandomState(0)
    for tensor in interpreter.get_input_details():
        values = noise_of(tuple(tensor["shape"]), np.dtype(tensor["dtype"]), rng)
        interpreter.set_tensor(tensor["index"], values)


def noise_of(shape: Sequence[int], dtype: Any, rng: Any) -> Any:
    """Noise of this shape: the full range for 8 and 16 bits, 0 to 1 for floats.

    Other types (token numbers, lengths) get zeros: the one value that is always a valid index.
    """
    import numpy as np

    if dtype.kind == "f":
        return rng.random_sample(shape).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.randint(limits.min, limits.max + 1, shape).astype(dtype)
    return np.zeros(shape, dtype)


# ---- timing ----


def fair_turns(models: int) -> Iterator[Sequence[int]]:
    """Orders of the models, for ever: each comes equally often at each place, and the order of orders is shuffled,
    so neither a place in the round nor a beat of the system favours one."""
    import numpy as np

    forward = [[(first + step) % models for step in range(models)] for first in range(models)]
    orders = (forward + [order[::-1] for order in forward]) * 16
    shuffled = np.random.RandomState(0).permutation(len(orders))
    return itertools.cycle([orders[place] for place in shuffled])


def rounds(
    invokes: Sequence[Callable[[], Any]],
    turns: Iterator[Sequence[int]],
    least: int,
    most: int,
    least_s: float,
    most_s: float,
    goal: float | None = None,
) -> list[list[int]]:
    """Latencies in ns of rounds in which each model runs once.

    Goes on until there are `least` rounds, `least_s` have passed, and every median is known to within the share
    `goal`; ends at `most` rounds or after `most_s`.
    """
    clock = time.perf_counter_ns
    latencies_ns: list[list[int]] = [[] for _ in invokes]
    begin = clock()
    look = max(least, 1)
    for done in range(most):
        elapsed_s = (clock() - begin) / 1e9
        if done and elapsed_s >= most_s:
            break
        if done >= look and elapsed_s >= least_s:
            if goal is None or all(known(each, goal) for each in latencies_ns):
                break
            # Sorting what was measured takes time as well: the next look is a quarter further on.
            look = done + done // 4 + 1
        for model in next(turns):
            invoke = invokes[model]
            start = clock()
            invoke()
            end = clock()
            latencies_ns[model].append(end - start)
    return latencies_ns


def known(latencies_ns: Sequence[int], goal: float) -> bool:
    """Whether the 95 % interval of the median reaches no further from it than this share.

    The ranks of the interval are those of the normal approximation; the host reckons with the exact ones.
    """
    ranked = sorted(latencies_ns)
    middle, reach = len(ranked) // 2, math.ceil(0.98 * math.sqrt(len(ranked)))
    if reach >= middle:
        return False
    return ranked[middle + reach] - ranked[middle - reach] <= 2 * goal * ranked[middle]


def warm_up(
    invokes: Sequence[Callable[[], Any]], turns: Iterator[Sequence[int]], least: int, most_s: float
) -> list[list[int]]:
    """Latencies in ns of rounds that are not counted: `least` of them, then more until all models have settled.

    Ends after `MOST_WARMUP` times as many, or after `most_s`.
    """
    begin = time.perf_counter()
    warmed = rounds(invokes, turns, least, least, most_s, most_s)
    while not all(map(settled, warmed)) and len(warmed[0]) < MOST_WARMUP * least:
        left_s = most_s - (time.perf_counter() - begin)
        if left_s <= 0:
            break
        more = rounds(invokes, turns, least, least, left_s, left_s)
        for place, later in enumerate(more):
            warmed[place].extend(later)
    return warmed


def settled(latencies_ns: Sequence[int]) -> bool:
    """Whether the last quarter is no faster than the quarter before it, but for `STEADY`; a few runs always are."""
    quarter = len(latencies_ns) // 4
    if quarter < 2:
        return True
    before, last = sorted(latencies_ns[-2 * quarter : -quarter]), sorted(latencies_ns[-quarter:])
    return last[quarter // 2] >= before[quarter // 2] * (1 - STEADY)


def energies_of(invokes: Sequence[Callable[[], Any]], script: str | None, root: str) -> list[Json | None]:
    """The energy of an inference of each, by the script that is pushed beside this one; None where it is not asked."""
    if script is None:
        return [None for _ in invokes]
    energy = runpy.run_path(script)["energy"]
    return [energy(invoke, root) for invoke in invokes]


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection while the clock runs."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ---- examples ----


def take_one(interpreter: Any, examples: Any) -> None:
    """Make the model's one input take one example at a time, or say why these examples (n, ...) do not fit."""
    import numpy as np

    details = interpreter.get_input_details()
    if len(details) != 1:
        raise Trouble("input", f"The model has {len(details)} inputs; only models of one input can be evaluated.")
    shape = [int(size) for size in details[0]["shape"]]
    dtype = np.dtype(details[0]["dtype"])
    if examples.dtype != dtype:
        raise Trouble("input", f"The examples are {examples.dtype}, the model takes {dtype}.")
    one = [1, *examples.shape[1:]]
    if not fits(one, shape, details[0].get("shape_signature", shape)):
        raise Trouble("input", f"Each example is {told(one)}, the model takes {told(shape)}.")
    if one != shape:
        interpreter.resize_tensor_input(details[0]["index"], one)
        interpreter.allocate_tensors()


def fits(one: Sequence[int], shape: Sequence[int], signature: Sequence[int]) -> bool:
    """Whether one example can be an input of this shape; sizes that the signature leaves open are -1 there."""
    free = [place == 0 or (place < len(signature) and signature[place] < 0) for place in range(len(shape))]
    return len(one) == len(shape) and all(free[place] or one[place] == shape[place] for place in range(len(shape)))


def told(shape: Sequence[int]) -> str:
    """A shape without its batch, for people."""
    return "x".join(str(size) for size in shape[1:]) or "one number"


def output_of_one(interpreter: Any) -> Any:
    """The first output for one example of zeros. Some shapes are only known once the model has run."""
    import numpy as np

    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def write_header(outputs: BinaryIO, one: Any, examples: int) -> None:
    """Begin a .npy of (examples, ...), for that many outputs like `one`, which has a batch of 1 or none."""
    import numpy as np

    shape = one.shape[1:] if one.ndim and one.shape[0] == 1 else one.shape
    header = {"descr": one.dtype.str, "fortran_order": False, "shape": (examples, *shape)}
    npy: Any = np.lib.format
    npy.write_array_header_1_0(outputs, header)


def run_each(interpreter: Any, examples: Any, outputs: BinaryIO) -> None:
    """Append the first output for each of the examples (n, ...). A mapped file would crash on a full disk."""
    sink = interpreter.get_output_details()[0]["index"]
    size = interpreter.get_tensor(sink).nbytes
    for place in range(len(examples)):
        run_one(interpreter, examples[place : place + 1])
        output = interpreter.get_tensor(sink)
        if output.nbytes != size:
            raise Trouble("model", "The output changes its shape from example to example.")
        outputs.write(output.tobytes())


def run_one(interpreter: Any, example: Any) -> None:
    """Run a model of one input on an example (1, ...)."""
    # A recurrent model would carry its state from one example to the next.
    interpreter.reset_all_variables()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], example)
    interpreter.invoke()


# ---- memory ----


def memory_before() -> int | None:
    """Forget the process's highest resident memory so far; what it holds now, in bytes, or None."""
    try:
        # 5 sets the high-water mark back to the present (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        # Then only what rises above the old mark can be seen.
        return status_bytes("VmHWM")
    return status_bytes("VmRSS")


def memory_gained(before_bytes: int | None) -> int | None:
    """How far resident memory rose above `before_bytes`, in bytes, or None."""
    highest_bytes = status_bytes("VmHWM")
    return None if before_bytes is None or highest_bytes is None else max(0, highest_bytes - before_bytes)


def status_bytes(field: str) -> int | None:
    """A memory figure of this process, where the system has /proc."""
    for line in lines_of("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


# ---- what slows a processor ----


def conditions() -> Json:
    """What a latency depends on and changes from minute to minute; null or "" where the system does not tell."""
    return {
        "clock_mhz": clock_mhz(),
        "temperature_c": temperature_c(),
        "governor": " ".join(sorted(set(files("/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")))),
        "load": load_average(),
        "throttled": "".join(files("/sys/devices/platform/soc/soc:firmware/get_throttled")),
    }


def clock_mhz() -> float | None:
    """The mean over the processors that tell."""
    clocks = [
        int(text) / 1000 for text in files("/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq") if text.isdigit()
    ]
    if not clocks:
        named = [line.partition(":") for line in lines_of("/proc/cpuinfo")]
        clocks = [float(value) for key, _, value in named if key.strip() == "cpu MHz" and number(value)]
    return sum(clocks) / len(clocks) if clocks else None


def temperature_c() -> float | None:
    """Of the warmest zone."""
    zones = [int(text) / 1000 for text in files("/sys/class/thermal/thermal_zone*/temp") if text.isdigit()]
    return max(zones) if zones else None


def load_average() -> float | None:
    """Processes that wanted to run over the last minute, on average."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def files(pattern: str) -> list[str]:
    """The first line of each file that there is."""
    found = sorted(map(str, Path("/").glob(pattern.lstrip("/"))))
    return [lines[0].strip() for lines in map(lines_of, found) if lines]


def number(text: str) -> bool:
    """Whether it is a plain decimal number."""
    return text.strip().replace(".", "", 1).isdigit()


# ---- the device ----


def device() -> Json:
    """What this machine is. Its name is not asked for."""
    return {
        "machine": platform.machine(),
        "cpu_model": cpu_model(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "os": system(),
        "python": platform.python_version(),
        "emulator": emulator(),
    }


def emulator() -> str:
    """The program that stands in for this processor, or "". QEMU disguises itself in /proc/self, and only there."""
    try:
        program = Path(os.readlink("/proc/thread-self/exe")).name  # noqa: PTH115 - Path.readlink is not in Python 3.7
    except OSError:
        return ""
    return program if program.startswith("qemu-") else ""


def cpu_model() -> str:
    """The processor's own name; a board's name (a Raspberry Pi's) where the processor has none."""
    for line in lines_of("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    board = "".join(lines_of("/proc/device-tree/model"))
    return board.strip("\0 \n") or platform.processor()


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def system() -> str:
    for line in lines_of("/etc/os-release"):
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip("\"'")
    return (platform.system() + " " + platform.release()).strip()


def lines_of(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


# ---- the conversation ----


def answer_to(request: Json) -> Json:
    """The answer to a request, be it a refusal."""
    try:
        check(request)
        return dict(JOBS[request["job"]](request), protocol=PROTOCOL, job=request["job"], device=device())
    except Trouble as trouble:
        return refusal(trouble.kind, trouble.what)
    except ImportError as error:
        return refusal("tool", str(error))
    except KeyError as error:
        return refusal("request", f"The request has no {error}.")
    except (OSError, MemoryError) as error:
        return refusal("device", f"{type(error).__name__}: {error}")


def check(request: Json) -> None:
    """Refuse a request of another protocol or for another job."""
    if not isinstance(request, dict) or request.get("protocol") != PROTOCOL:
        raise Trouble("request", f"This runner speaks protocol {PROTOCOL}.")
    if request.get("job") not in JOBS:
        raise Trouble("request", f"There is no job {request.get('job')!r}.")


def refusal(kind: str, what: str) -> Json:
    return {"protocol": PROTOCOL, "error": {"kind": kind, "what": what[:2000]}}


def main(argv: Sequence[str]) -> NoReturn:
    # Interpreters print to file descriptor 1: keep the real one for the answer, and let them print to stderr.
    real_stdout = os.dup(1)
    os.dup2(2, 1)
    content = Path(argv[1]).read_bytes() if len(argv) > 1 else sys.stdin.buffer.read()
    try:
        answer = answer_to(json.loads(content.decode("utf-8")))
    except ValueError as error:
        answer = refusal("request", f"The request is not JSON: {error}")
    with os.fdopen(real_stdout, "wb") as stdout:
        stdout.write(json.dumps(answer, allow_nan=False).encode("utf-8"))
    sys.stderr.flush()
    # Some delegates crash while they are torn down; the answer is out, so nothing is left to tear down.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv)
