"""What edgesmith costs over doing it by hand: the demo's recipe against `by_hand.py`, in turn, as whole processes.

    python benchmarks/overhead.py [PAIRS]

`edgesmith run` also verifies, benchmarks and reports, and keeps every random choice repeatable; that is in its time.
Prints each pair, the median ratio of the wall times, and both sides' int8 accuracy on the same 2,000 images.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def ours(seed: int) -> float:
    """The int8 accuracy of `edgesmith run`, without its cache."""
    with tempfile.TemporaryDirectory() as out:
        command = [str(Path(sys.executable).with_name("edgesmith")), "run", "examples/mnist_demo.yaml", "--no-cache"]
        argv = [*command, "--json", "--out", out, "--set", f"seed={seed}"]
        done = subprocess.run(argv, cwd=ROOT, stdout=-1, stderr=-1, text=True, check=False)
    return float(json.loads(done.stdout)["artifact"]["value"])


def by_hand(seed: int) -> float:
    """The int8 accuracy of the script."""
    argv = [sys.executable, "benchmarks/by_hand.py", str(seed)]
    done = subprocess.run(argv, cwd=ROOT, stdout=-1, stderr=-1, text=True, check=True)
    return float(done.stdout.split()[-1])


def main(pairs: int) -> None:
    """Run the pairs, the first of each in turn."""
    seconds: dict[str, list[float]] = {"edgesmith": [], "by hand": []}
    accuracy: dict[str, list[float]] = {"edgesmith": [], "by hand": []}
    for seed in range(1, pairs + 1):
        sides = [("edgesmith", ours), ("by hand", by_hand)]
        for name, side in sides if seed % 2 else sides[::-1]:
            started = time.perf_counter()
            accuracy[name].append(side(seed))
            seconds[name].append(time.perf_counter() - started)
        pair = {name: f"{values[-1]:.1f} s, {accuracy[name][-1]:.2%}" for name, values in seconds.items()}
        print(f"pair {seed}: {pair}  ratio {seconds['edgesmith'][-1] / seconds['by hand'][-1]:.3f}", flush=True)
    ratios = [a / b for a, b in zip(seconds["edgesmith"], seconds["by hand"], strict=True)]
    print(f"wall time, edgesmith / by hand: median ratio {statistics.median(ratios):.3f} (goal: at most 1.10)")
    for name, values in accuracy.items():
        print(f"int8 accuracy, {name}: {statistics.mean(values):.2%} ({min(values):.2%} to {max(values):.2%})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
