"""How long one command takes over every kind of device: host, two arm64 boards, a 32-bit one, and Android over adb.

    make lab && python -m benchmarks.lab [MODEL]

The devices are emulated (tests/lab), so their latencies mean nothing; that all of them answer, each held against golden
vectors first, within 90 s on two cores, does.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.lab import build
from tests.lab.lab import running
from tests.lab.test_benchmark import DIGITS, benchmark, written_profiles

MOST_S = 90


def main(model: Path) -> int:
    """Measure once; gives the exit code."""
    with running(build.build()) as lab, tempfile.TemporaryDirectory() as folder:
        profiles = written_profiles(lab, Path(folder, "targets.yaml"))
        names = ["host", *(pi.name for pi in (*lab.pis[:2], lab.armhf)), "phone"]
        begin = time.monotonic()
        code, document, told = benchmark(profiles, *names, model=model)
        took_s = time.monotonic() - begin
    for row in document["devices"]:
        parity, measured = row["parity"] or {}, row["measurement"] or {}
        said = "exact" if parity.get("exact") else f"within {parity.get('allowed_steps')} steps"
        provenance, runtime = measured.get("provenance", ""), measured.get("runtime", "")
        print(f"{row['label']:10} {row['status']:10} {provenance:10} {runtime:16} {said}")
    print(f"exit code {code}, {took_s:.0f} s (goal: at most {MOST_S} s){told if code else ''}")
    return 0 if code == 0 and took_s <= MOST_S else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIGITS))
