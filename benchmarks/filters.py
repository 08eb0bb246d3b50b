"""What half the MACs are worth: ResNet-8 and MobileNetV2 before and after `prune_filters`, as int8 on this machine.

    python -m benchmarks.filters [--round-to 8] [--accuracy [--folder FOLDER]]

Latency does not depend on the weights, so they are random, and nothing is trained: the cut is the stage's own, by l1.
Once with whole branches, and once without removing them. Exit 1 where the latency stays above 0.65.

With --accuracy instead what they cost: ResNet-8 is trained on the 8,000 digits that come along, cut by l1 and by
taylor and fine-tuned, and all are int8 in the end. Stages lie in a cache in FOLDER.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._bench import DIGITS, Bench, Made, Stages
from edge_targets._measurement import BenchmarkPlan, Measurement
from edge_targets.host import HostTarget
from pipeline.convert import to_int8
from pipeline.draft import Draft
from pipeline.stages._filter_cut import Ranked, Rules
from pipeline.stages._filter_plan import Limits

KEEP_MACS = 0.5
LIMIT = 0.65
PLAN = BenchmarkPlan(num_runs=2000, warmup_runs=50, min_secs=3, max_secs=20)
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
        return HostTarget().benchmark(paths, PLAN)


def accuracies(folder: Path) -> int:
    """Print the test accuracy of ResNet-8 before the cut and after each, and what the cut saved."""
    bench = Bench(DIGITS, folder, 0.1)
    train: Stages = [{"train": {"epochs": 4, "learning_rate": 0.003}}]
    cut = {"keep_macs": KEEP_MACS, "epochs": 2, "learning_rate": 0.001}
    chains = {"unpruned": train}
    chains |= {by: [*train, {"prune_filters": {**cut, "importance": by}}] for by in ("l1", "taylor")}
    made = {name: bench.run(name, {"resnet8": {}}, stages) for name, stages in chains.items()}
    latency = HostTarget().benchmark({name: one.artifact.path for name, one in made.items()}, PLAN)
    print(f"ResNet-8, {bench.data.train.size} digits to train on, {bench.data.test.size} to test; int8, 1 thread")
    for name, one in made.items():
        ratio, low, high = _ratio(latency[name], latency["unpruned"])
        print(
            f"  {name:<10} {one.proof.artifact.value:.2%} (unpruned float {one.proof.baseline.value:.2%})"
            f" {_macs(one) / 1e6:6.2f} M MACs ({_macs(one) / _macs(made['unpruned']):.3f})"
            f" {one.artifact.size_bytes:>7} bytes  latency ratio {ratio:.3f} [{low:.3f}, {high:.3f}]"
        )
    return 0


def latencies(round_to: int) -> int:
    """Print a row a version; returns 1 where a ratio is missed."""
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


def main() -> int:
    """One table or the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-to", type=int, default=8)
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if not given.accuracy:
        return latencies(given.round_to)
    with tempfile.TemporaryDirectory() as temporary:
        return accuracies(given.folder or Path(temporary))


def _macs(made: Made) -> int:
    return sum(layer.macs for layer in made.proof.layers)


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
    sys.exit(main())
