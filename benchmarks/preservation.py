"""What is left in the int8 bytes of sparsity and clusters: prune 80 %, cluster 16, QAT, on LeNet-5 and MobileNetV2.

    python -m benchmarks.preservation [--images 45000] [--folder FOLDER]

On MNIST (shared/data/mnist.npz beside the project), of which so many training images are used. Stages that are done lie
in FOLDER, so that it can go on. Every choice was made on held-out training images; the test images are looked at here.
Exit 1 where the bytes have less than 80 % zeros, more than 16 different weights that share a scale, or more than 0.5
points less than the float model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._bench import MNIST, Bench, Made, Stages
from pipeline import verify

MIN_SPARSITY, MAX_DISTINCT, MAX_DROP = 0.8, 16, 0.005

_TAUGHT: dict[str, Any] = {"batch_size": 128, "guidance": {}}

CHAINS: dict[str, tuple[dict[str, Any], Stages]] = {
    "lenet5": (
        {"lenet5": {"variant": "caffe"}},
        [
            {"train": {"epochs": 6, "learning_rate": 0.002}},
            {"prune": {"epochs": 5, "learning_rate": 0.002, "sparsity": 0.8, "ramp_fraction": 0.5}},
            {"cluster": {"epochs": 2, "clusters": 16}},
            {"qat": {"epochs": 2}},
        ],
    ),
    "mobilenet_v2": (
        {"mobilenet_v2": {"alpha": 0.35}},
        [
            {"train": {"epochs": 8, "learning_rate": 0.003}},
            # Depthwise kernels stay dense, so the others give a little more than four fifths. On the validation images
            # pruning costs most; more epochs behind the ramp, and the float model as a teacher, win it back.
            {"prune": {**_TAUGHT, "epochs": 8, "learning_rate": 0.003, "ramp_fraction": 0.5, "sparsity": 0.852}},
            {"cluster": {**_TAUGHT, "epochs": 2, "learning_rate": 5e-4, "clusters": 16}},
            {"qat": {**_TAUGHT, "epochs": 3, "learning_rate": 5e-4}},
        ],
    ),
}


def main() -> int:
    """Run both chains, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=45_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(MNIST, given.folder or Path(temporary), 0.1, most=given.images)
        print(f"prune 80 %, cluster 16, QAT; MNIST, {bench.data.train.size} images to train on")
        print(f"{'':<14} {'float':>8} {'int8':>8} {'drop':>8} {'zeros':>8} {'distinct':>9} {'size':>9} {'seconds':>8}")
        kept = [_row(name, bench.run(name, *chain)) for name, chain in CHAINS.items()]
    return int(not all(kept))


def _row(name: str, made: Made) -> bool:
    """Print a row; returns whether all that was promised is there."""
    proof = made.proof
    drop = proof.baseline.value - proof.artifact.value
    zeros, checks = verify.sparsity(proof.layers), {check.name: check for check in proof.checks}
    distinct = checks["kept_clusters"].value or 0
    print(
        f"{name:<14} {proof.baseline.value:8.2%} {proof.artifact.value:8.2%} {100 * drop:+8.2f} {zeros:8.2%} "
        f"{distinct:9.0f} {made.artifact.size_bytes:9d} {made.seconds:8.0f}",
        flush=True,
    )
    for check in made.broken:
        print(f"  broken: {check.name}: {check.value} against {check.limit}; {check.why}")
    return not made.broken and zeros >= MIN_SPARSITY and distinct <= MAX_DISTINCT and drop <= MAX_DROP


if __name__ == "__main__":
    sys.exit(main())
