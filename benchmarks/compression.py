"""All methods of compression on LeNet-5 and MNIST in one table: what each costs in accuracy, and what it saves.

    python -m benchmarks.compression [--quick] [--folder FOLDER]

Every row begins with the same trained model, goes through its stages, and is int8 in the end; all figures are read from
the final bytes, all latencies measured turn by turn in one run. Stages lie in a cache in FOLDER: what rows share is
trained once, and the script goes on where it was stopped. All of MNIST (shared/data/mnist.npz beside the project);
--quick takes the 8,000 images that come along, and an epoch or two.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._bench import DIGITS, MNIST, Bench, Made, Stages
from edge_targets._measurement import BenchmarkPlan, Measurement
from edge_targets.host import HostTarget
from pipeline import verify
from pipeline.artifact import Artifact

LENET = {"lenet5": {"variant": "caffe"}}
STUDENT = {"lenet5": {"variant": "caffe", "filters_1": 10, "filters_2": 20, "units": 32, "batch_norm": True}}
FLOAT = "float32"


@dataclass(frozen=True)
class Effort:
    """How long is trained, in epochs: the first model, a student, and what every other stage gets."""

    train: int
    distil: int
    others: int


def chains(effort: Effort) -> dict[str, Stages]:
    """The stages behind each row's training, by the row's name."""
    trained = {"epochs": effort.others, "batch_size": 128}

    def prune(**settings: Any) -> Stages:
        given = {} if settings.get("pattern") == "m_by_n" else {"sparsity": 0.9}
        return [{"prune": {**trained, "learning_rate": 0.002, "ramp_fraction": 0.5, **given, **settings}}]

    qat: Stages = [{"qat": {**trained, "learning_rate": 5e-4}}]
    cluster: Stages = [{"cluster": {**trained, "clusters": 16}}]
    distil: Stages = [
        {"distil": {**trained, "epochs": effort.distil, "learning_rate": 0.008, "student": STUDENT}},
    ]
    return {
        "after training only": [],
        "qat": qat,
        "prune |w|, by layer": prune(),
        "prune w2, blocks 4x1": prune(importance="magnitude_l2", pattern="block", sparsity=0.8),
        "prune |w|, global": prune(scope="global"),
        "prune |w|, sensitivity": prune(scope="sensitivity"),
        "prune |w g|, global": prune(importance="gradient", scope="global"),
        "prune random, by layer": prune(importance="random"),
        "prune 2:4": prune(pattern="m_by_n"),
        "prune_filters, 1/2 MACs": [{"prune_filters": {**trained, "keep_macs": 0.5}}],
        "distil": distil,
        "cluster 16": cluster,
        "prune, qat (PQAT)": [*prune(), *qat],
        "cluster, qat (CQAT)": [*cluster, *qat],
        "prune, cluster, qat (PCQAT)": [*prune(), *cluster, *qat],
        "distil, prune, cluster, qat": [*distil, *prune(scope="sensitivity", sparsity=0.7), *cluster, *qat],
    }


def main() -> None:
    """Train what is missing, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    effort = Effort(train=3, distil=4, others=1) if given.quick else Effort(train=6, distil=12, others=4)
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(DIGITS if given.quick else MNIST, given.folder or Path(temporary), 0.1 if given.quick else 0.05)
        train: Stages = [{"train": {"epochs": effort.train, "batch_size": 128, "learning_rate": 0.002}}]
        made: dict[str, Made] = {}
        for number, (name, stages) in enumerate(chains(effort).items()):
            made[name] = bench.run(f"row{number}", LENET, train + stages)
            print(f"… {name}: {made[name].seconds:.0f} s", flush=True)
        _print_table(made, _latencies(made))


def _latencies(made: Mapping[str, Made]) -> dict[str, Measurement]:
    """The latency of every row's file and of the float one, in turn."""
    first = next(iter(made.values()))
    paths = {FLOAT: first.baseline.path} | {name: one.artifact.path for name, one in made.items()}
    return HostTarget().benchmark(paths, BenchmarkPlan(num_runs=300, min_secs=1, max_secs=5))


def _print_table(made: Mapping[str, Made], latencies: Mapping[str, Measurement]) -> None:
    first, timed = next(iter(made.values())), latencies[FLOAT]
    count = len(first.proof.baseline.outputs)
    print(f"{count} test images; {timed.runtime} {timed.runtime_version}, 1 thread, {timed.device.cpu_model}")
    heads = f"{'bytes':>9} {'':>5} {'ota':>9} {'':>5}"
    print(f"{'':<28} {'accuracy':>8} {'drop':>6} {'zeros':>6} {heads} {'us':>7} {'s':>5}")
    value, seconds = first.proof.baseline.value, first.seconds
    sizes = _sizes(first.baseline, first.baseline)
    print(f"{FLOAT:<28} {value:8.2%} {'':6} {'':6} {sizes} {timed.median_us:7.1f} {seconds:5.0f}")
    for name, one in made.items():
        drop, zeros = 100 * (value - one.proof.artifact.value), verify.sparsity(one.proof.layers)
        shown = f"{name:<28} {one.proof.artifact.value:8.2%} {drop:+6.2f} {zeros:6.1%}"
        print(f"{shown} {_sizes(one.artifact, first.baseline)} {latencies[name].median_us:7.1f} {one.seconds:5.0f}")
        for check in one.broken:
            print(f"  broken: {check.name}: {check.value} against {check.limit}; {check.why}")


def _sizes(artifact: Artifact, baseline: Artifact) -> str:
    sizes = (artifact.size_bytes, artifact.ota_bytes)
    return " ".join(f"{size:9d} {baseline.size_bytes / size:4.0f}×" for size in sizes)


if __name__ == "__main__":
    main()
