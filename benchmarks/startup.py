"""How long people wait for nothing: medians of `edgesmith --help` and `edgesmith list stages`, in seconds.

.venv/bin/python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 15
LIMITS_S = {"--help": 0.3, "list stages": 0.6}


def main() -> int:
    """Measure the commands in turn, so that what disturbs one disturbs both; exit 1 where a limit is missed."""
    seconds: dict[str, list[float]] = {line: [] for line in LIMITS_S}
    for _ in range(RUNS + 1):
        for line, taken in seconds.items():
            taken.append(seconds_of(line))
    # The first run of each fills the file cache.
    medians = {line: statistics.median(taken[1:]) for line, taken in seconds.items()}
    for line, median in medians.items():
        print(f"edgesmith {line:<12} {median:.3f} s  (limit {LIMITS_S[line]} s, median of {RUNS})")
    return int(any(medians[line] > limit for line, limit in LIMITS_S.items()))


def seconds_of(line: str) -> float:
    """Wall time of one call of the installed command."""
    command = [str(Path(sys.executable).with_name("edgesmith")), *line.split()]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
