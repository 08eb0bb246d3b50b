"""What the cache saves: the demo from nothing, again with nothing changed, and after a change to its last stage.

    python benchmarks/cached_run.py

Prints the wall time of each and which stages ran; and whether two runs without the cache give the same bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(title: str, *args: str) -> dict[str, Any]:
    """One run of the demo; prints how long it took and which stages ran."""
    command = [str(Path(sys.executable).with_name("edgesmith")), "run", "examples/mnist_demo.yaml", "--json", *args]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=-1, stderr=-1, text=True, check=False)
    seconds = time.perf_counter() - started
    report: dict[str, Any] = json.loads(done.stdout)
    ran = [step["stage"] for step in report["steps"] if not step["cached"]]
    print(f"{title:<34} {seconds:6.1f} s   stages that ran: {', '.join(ran) or 'none'}", flush=True)
    return report


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as folder:
        cached = ("--cache", f"{folder}/cache", "--out", f"{folder}/out")
        first = run("from nothing", *cached)
        run("again (goal: at most 6 s)", *cached)
        run("after a change to the last stage", *cached, "--set", "stages.qat.epochs=2")
        second = run("without a cache", "--no-cache", "--out", f"{folder}/out")
    same = first["artifact"]["sha256"] == second["artifact"]["sha256"]
    print(f"two runs of one recipe and seed: {'the same bytes' if same else 'DIFFERENT BYTES'}")


if __name__ == "__main__":
    main()
