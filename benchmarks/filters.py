"""What half the MACs are worth: ResNet-8 and MobileNetV2 before and after `prune_filters`, as int8 on this machine.

    .venv/bin/python benchmarks/filters.py [ROUND_TO]

Latency does not depend on the weights, so they are random, and nothing is trained: the cut is the stage's own, by l1.
Once with whole branches, and once without removing them. Exit 1 where the latency stays above 0.65.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_targets._base import BenchmarkPlan, Measurement
from edge_targets.host import HostTarget
from pipeline.convert import to_int8
from pipeline.draft import Draft
from pipeline.stages._filter_cut import Ranked, Rules
from pipeline.stages._filter_plan import Limits

KEEP_MACS = 0.5
LIMIT = 0.65
MODELS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "resnet8": ((32, 32, 3), {}),
    "mobilenet_v2": ((96, 96, 3), {"alpha": 0.35}),
}


@dataclass(frozen=True)
class Version:
    """One version of a model."""

    draft: Draft
    macs: float
    parameters: int
    tflite: bytes


def versions(name: str, round_to: int) -> dict[str, Version]:
    """A model as it is, cut with whole branches allowed to go, and cut without."""
    from pipeline._tf import fix_seed, tf

    shape, options = MODELS[name]
    fix_seed(1)
    draft = Draft.of(importlib.import_module(f"models.{name}").build(shape, 10, **options))
    x = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    found = {"unpruned": _version(draft, x)}
    for label, branches in (("channels", False), ("branches too", True)):
        rules = Rules("l1", (), branches, Limits(min_filters=4, round_to=round_to))
        ranked = Ranked(draft, rules, [(tf.constant(x), None)], lambda model: None)
        found[label] = _version(ranked.cut(ranked.plan("macs", KEEP_MACS * ranked.cost("macs"))), x)
    return found


def measured(versions: dict[str, Version]) -> dict[str, Measurement]:
    """The latency of all versions, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{number}.tflite" for number, name in enumerate(versions)}
        for name, path in paths.items():
            path.write_bytes(versions[name].tflite)
        return HostTarget().benchmark(paths, BenchmarkPlan(num_runs=2000, warmup_runs=50, min_secs=3, max_secs=20))


def main(round_to: int) -> int:
    """Print a row a version; exit 1 where a ratio is missed."""
    missed = False
    print(f"half the MACs, filters in multiples of {round_to}; int8, 1 thread, 95 % intervals")
    for name in MODELS:
        made = versions(name, round_to)
        latency = measured(made)
        whole, base = made["unpruned"], latency["unpruned"]
        print(f"{name}, {base.runtime} {base.runtime_version}, {base.kernels}, {base.device.cpu_model}")
        for label, version in made.items():
            found = latency[label]
            ratio, low, high = _ratio(found, base)
            missed |= label != "unpruned" and ratio > LIMIT
            print(
                f"  {label:<13} {version.macs / 1e6:7.2f} M MACs ({version.macs / whole.macs:.3f})"
                f" {version.parameters:>8} parameters {len(version.tflite):>8} bytes"
                f" {found.median_us:8.1f} us  ratio {ratio:.3f} [{low:.3f}, {high:.3f}]"
            )
    return int(missed)


def _version(draft: Draft, x: Any) -> Version:
    from pipeline.cost import total_macs

    model = draft.restore()
    return Version(draft, total_macs(model), model.count_params(), to_int8(draft, x))


def _ratio(found: Measurement, base: Measurement) -> tuple[float, float, float]:
    """The ratio of the medians, and the widest that both intervals allow."""
    ours, theirs = found.median_ci_us, base.median_ci_us
    assert ours is not None
    assert theirs is not None
    return found.must_have_median() / base.must_have_median(), ours[0] / theirs[1], ours[1] / theirs[0]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
