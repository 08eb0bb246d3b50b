"""A stand-in for LiteRT's benchmark_model: its flags and its words, over the interpreter of the Python that runs it.

The real program is made for phones, and is on no package registry. This one is pushed and started as that is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

FLAGS = [
    *("graph", "num_threads", "warmup_runs", "warmup_min_secs", "num_runs", "min_secs", "max_secs", "use_xnnpack"),
    *("use_gpu", "use_nnapi", "enable_op_profiling", "input_layer", "input_layer_shape", "input_layer_value_files"),
    "output_filepath",
]


def program(python: str, *, without: tuple[str, ...] = ()) -> str:
    """The stand-in as an executable script for a Python; `without` are flags that it shall not know."""
    source = Path(__file__).read_text("utf-8")
    return f"#!{python}\n" + source.replace("WITHOUT = ()", f"WITHOUT = {without!r}")


def printing(text: str, code: int = 0) -> str:
    """A stand-in that prints a text, whatever it is asked."""
    return f"#!/bin/sh\ncat <<'THE END OF THE TEXT'\n{text}\nTHE END OF THE TEXT\nexit {code}\n"


WITHOUT = ()


def main() -> int:
    known = [name for name in FLAGS if name not in WITHOUT]
    if "--help" in sys.argv:
        say("usage: benchmark_model <flags>\nFlags:", *(f"\t--{name}=\t\toptional\twhat it is" for name in known))
        return 1
    asked = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    strangers = [f"--{name}={value}" for name, value in asked.items() if name not in known]
    if strangers:
        say("WARN: Unconsumed cmdline flags: " + " ".join(strangers))
    say("INFO: STARTING!")
    try:
        measure(asked)
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"ERROR: {error}\nERROR: Failed to allocate tensors!\nERROR: Benchmarking failed.\n")
        return 1
    return 0


def measure(asked: dict[str, str]) -> None:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    started = time.perf_counter_ns()
    xnnpack = asked.get("use_xnnpack") == "true"
    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(asked["graph"], experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    init_us = (time.perf_counter_ns() - started) // 1000
    told = "Explicitly applied {} delegate, and the model graph will be completely executed by the delegate."
    applied = [name for name in ("xnnpack", "gpu", "nnapi") if asked.get(f"use_{name}") == "true"]
    sys.stderr.write("".join(f"INFO: {told.format(name.upper())}\n" for name in applied))
    [details] = interpreter.get_input_details()
    value = np.zeros(details["shape"], details["dtype"])
    if "input_layer_value_files" in asked:
        content = Path(asked["input_layer_value_files"].split(":")[1]).read_bytes()
        value = np.frombuffer(content, details["dtype"]).reshape(details["shape"])
    interpreter.set_tensor(details["index"], value)
    warm, timed = ([one_run(interpreter) for _ in range(int(asked[name]))] for name in ("warmup_runs", "num_runs"))
    for runs in (warm, timed):
        say(f"INFO: {statistics(runs)}\n")
    means = f"Warmup (avg): {mean(warm)}, Inference (avg): {mean(timed)}"
    say(f"INFO: Inference timings in us: Init: {init_us}, First inference: {(warm or [0])[0]}, {means}")
    say("INFO: Memory footprint delta from the start of the tool (MB): init=1.5 overall=2.25")
    if asked.get("enable_op_profiling") == "true":
        tell_profile()
    if "output_filepath" in asked:
        outputs = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
        Path(asked["output_filepath"]).write_bytes(b"".join(each.tobytes() for each in outputs))


def one_run(interpreter: object) -> int:
    started = time.perf_counter_ns()
    interpreter.invoke()  # type: ignore[attr-defined]  # LiteRT has no types
    return (time.perf_counter_ns() - started) // 1000


def mean(runs: list[int]) -> str:
    return f"{sum(runs) / len(runs):.6g}" if runs else "-nan"


def statistics(runs: list[int]) -> str:
    if not runs:
        return "count=0"
    ranked = sorted(runs)
    rank = [ranked[min(len(runs) - 1, len(runs) * share // 100)] for share in (5, 50, 95)]
    percentiles = "p5={} median={} p95={}".format(*rank)
    if ranked[0] == ranked[-1]:
        return f"count={len(runs)} curr={runs[-1]}{'(all same)' if len(runs) > 1 else ''} {percentiles}"
    sides = f"first={runs[0]} curr={runs[-1]} min={ranked[0]} max={ranked[-1]}"
    return f"count={len(runs)} {sides} avg={mean(runs)} std=1 {percentiles}"


def tell_profile() -> None:
    columns = "\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]"
    kind = "Convolution (NHWC, QC8) GEMM"
    row = f"\t{kind}\t0.010\t0.012\t100.000%\t100.000%\t0.000\t1\tDelegate/{kind}:0"
    say("INFO: Operator-wise Profiling Info for Regular Benchmark Runs:")
    for title in ("Run Order", "Top by Computation Time"):
        say(f"============================== {title} ==============================", columns, row, "")


def say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    sys.exit(main())
