"""How long one command takes to deploy and measure everywhere: host, two arm64 boards, a 32-bit one, a phone.

    make lab && python -m benchmarks.lab [MODEL]

The devices are emulated (tests/lab), so their latencies mean nothing; that all of them answer, each held against golden
vectors first, within 90 s on two cores, does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lab import build
from tests.lab.lab import running
from tests.lab.test_benchmark import DIGITS, written_profiles

MOST_S = 90


def deployed_and_measured(model: Path, profiles: Path, names: list[str]) -> tuple[int, dict[str, Any], str]:
    """The installed command: exit code, document, stderr."""
    targets = [word for name in names for word in ("--target", name)]
    program = str(Path(sys.executable).with_name("edgesmith"))
    command = [program, "deploy", str(model), "--benchmark", "--json", "--targets", str(profiles), *targets]
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home}
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=env)
    return done.returncode, json.loads(done.stdout), done.stderr


def main(model: Path) -> int:
    """Measure once; gives the exit code."""
    with running(build.build()) as lab, tempfile.TemporaryDirectory() as folder:
        profiles = written_profiles(lab, Path(folder, "targets.yaml"))
        names = ["host", *(pi.name for pi in (*lab.pis[:2], lab.armhf)), "phone"]
        begin = time.monotonic()
        code, document, told = deployed_and_measured(model, profiles, names)
        took_s = time.monotonic() - begin
    measured = document["benchmark"]["devices"] if document.get("benchmark") else []
    for there, row in zip(document["devices"], measured, strict=True):
        parity, found = row["parity"] or {}, row["measurement"] or {}
        said = "exact" if parity.get("exact") else f"within {parity.get('allowed_steps')} steps"
        facts = (there["status"], row["status"], found.get("provenance", ""), found.get("runtime", ""), said)
        print(f"{row['label']:10}", *(f"{fact:16}" for fact in facts))
    print(f"exit code {code}, {took_s:.0f} s (goal: at most {MOST_S} s){told if code else ''}")
    return 0 if code == 0 and took_s <= MOST_S else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIGITS))
