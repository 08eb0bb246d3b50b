"""The arguments of `benchmark_model`. Every version prints those that it knows with --help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from edge_targets._measurement import BenchmarkPlan

Delegate = Literal["cpu", "xnnpack", "gpu", "nnapi"]

_DELEGATES: dict[Delegate, dict[str, str]] = {
    "cpu": {"use_xnnpack": "false"},
    "xnnpack": {"use_xnnpack": "true"},
    "gpu": {"use_gpu": "true"},
    "nnapi": {"use_nnapi": "true"},
}


def flags(graph: str, plan: BenchmarkPlan, delegate: Delegate, *, profile: bool = False) -> list[str]:
    """The tool's arguments.

    Args:
        graph: the model's path there.
        plan: how long and how often. The tool cannot do without one warm-up run: the first run is told from it.
        delegate: `cpu` for the interpreter's own kernels, without XNNPACK, which is else its default.
        profile: time each operator, too; that makes the runs a little slower.
    """
    chosen = {
        "graph": graph,
        "num_threads": f"{plan.num_threads}",
        "warmup_runs": f"{max(1, plan.warmup_runs)}",
        "warmup_min_secs": "0",
        "num_runs": f"{plan.num_runs}",
        "min_secs": f"{plan.min_secs:g}",
        "max_secs": f"{plan.max_secs:g}",
        **_DELEGATES[delegate],
        **({"enable_op_profiling": "true"} if profile else {}),
    }
    return [f"--{name}={value}" for name, value in chosen.items()]


def output_flags(graph: str, shape: tuple[int, ...], inputs: str, outputs: str, delegate: Delegate) -> list[str]:
    """The arguments for one run over given inputs, whose outputs are written to a file, raw, one after another.

    The input goes by a name of ours: the tool takes that, and a model's own name might need quoting.
    """
    chosen = {
        "graph": graph,
        "warmup_runs": "0",
        "warmup_min_secs": "0",
        "num_runs": "1",
        "min_secs": "0",
        "input_layer": "input",
        "input_layer_shape": ",".join(map(str, shape)),
        "input_layer_value_files": f"input:{inputs}",
        "output_filepath": outputs,
        **_DELEGATES[delegate],
    }
    return [f"--{name}={value}" for name, value in chosen.items()]


def known_flags(usage: str) -> frozenset[str]:
    """The names of the flags that `--help` lists."""
    return frozenset(re.findall(r"^\s+--([a-z0-9_]{1,60})=", usage, re.MULTILINE))
