"""Damaged models through the real commands: whatever the file, a command ends in time, in a sentence and a known code.

    python -m tests.edge_targets.fuzz_commands --count 2000 --jobs 2

Each file goes through `inspect` and `benchmark`, in a fork of this process that has imported everything already.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

DATA = Path(__file__).parent / "data"
SEEDS = ("tiny_int8", "tiny_float32", "tiny_lstm")
COMMANDS = {
    "inspect": ("--json",),
    "benchmark": (
        "--json",
        "--num-runs",
        "1",
        "--warmup-runs",
        "0",
        "--min-secs",
        "0",
        "--max-secs",
        "1",
        "--cold-starts",
        "1",
    ),
}
# Done; a wrong check; a model that cannot be used. A usage error is not the file's fault, so it would be ours.
ALLOWED = (0, 3)
TIMEOUT_S = 600
# A damaged shape may ask for any memory: it must not be the machine's.
MOST_MEMORY_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative for a signal, None where it hung), words and seconds."""

    code: int | None
    stdout: str
    stderr: str
    seconds: float

    @property
    def fine(self) -> bool:
        """A known code, and a document or a sentence."""
        said = self.stdout + self.stderr
        ugly = any(word in said for word in ("Internal error", "Traceback", "failed to check: "))
        # What fails on the device stands in the document, as an error of its row.
        told = self.stdout.startswith("{") if self.stdout else "error: " in self.stderr
        return self.code in ALLOWED and not ugly and told


def damaged(number: int) -> bytes:
    """The file of this number: a seed with some of its numbers or bytes replaced, a piece cut out, or its end gone."""
    rng = random.Random(number)
    content = bytearray((DATA / f"{SEEDS[number % len(SEEDS)]}.tflite").read_bytes())
    kind = rng.random()
    if kind < 0.1:
        return bytes(content[: rng.randrange(len(content))])
    if kind < 0.2:
        start = rng.randrange(len(content))
        return bytes(content[:start] + content[start + rng.randrange(1, 64) :])
    nasty = [0, 1, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1, len(content), rng.randrange(2**32)]
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(0, len(content) - 4, 4 if kind < 0.8 else 1)
        value = rng.choice(nasty)
        # Whole numbers break structure; single bytes slip through into values.
        content[place : place + 4] = value.to_bytes(4, "little") if kind < 0.6 else content[place : place + 4]
        content[place] = value & 255
    return bytes(content)


def run(command: Sequence[str]) -> Outcome:
    """Run `edgesmith COMMAND` in a fork of this process."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if not child:
            _become(command, stdout.fileno(), stderr.fileno())
        code = _wait(child)
        return Outcome(code, _content(stdout), _content(stderr), time.monotonic() - begin)


def try_file(number: int, commands: Sequence[str], folder: Path) -> dict[str, Outcome]:
    """The commands on one damaged file."""
    path = folder / f"damaged-{number}.tflite"
    path.write_bytes(damaged(number))
    try:
        return {name: run([name, str(path), *COMMANDS[name]]) for name in commands}
    finally:
        path.unlink()


def _content(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _become(command: Sequence[str], stdout: int, stderr: int) -> None:
    """In the child: be the command, and never come back."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["edgesmith", *command]
        from pipeline.cli import main

        main()
    except SystemExit as done:
        os._exit(done.code if isinstance(done.code, int) else 99)
    finally:
        os._exit(98)


def _wait(child: int) -> int | None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _work(numbers: range, commands: Sequence[str], folder: Path, most_s: float) -> list[tuple[int, str, Outcome]]:
    begin, found = time.monotonic(), []
    for number in numbers:
        if time.monotonic() - begin > most_s:
            break
        found += [(number, name, outcome) for name, outcome in try_file(number, commands, folder).items()]
    return found


def main() -> int:
    """Try many files, and tell what came of them; 1 where a command did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--most-secs", type=float, default=float("inf"))
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    given = parser.parse_args()
    _import_all()
    end = given.first + given.count
    with tempfile.TemporaryDirectory() as folder:
        parts = [range(given.first + job, end, given.jobs) for job in range(given.jobs)]
        # Forks of a process with threads are safe here: these threads only wait, and hold no lock.
        with ThreadPoolExecutor(given.jobs) as pool:
            done = [
                one
                for part in pool.map(lambda part: _work(part, given.commands, Path(folder), given.most_secs), parts)
                for one in part
            ]
    for name in given.commands:
        _tell(_summary(name, [outcome for _, which, outcome in done if which == name]))
    bad = [one for one in done if not one[2].fine]
    for number, name, outcome in bad[:20]:
        said = outcome.stdout[-900:] + outcome.stderr[-600:]
        _tell(f"file {number}, {name}: {outcome.code} after {outcome.seconds:.1f} s\n{said}")
    return 1 if bad else 0


def _summary(name: str, outcomes: Sequence[Outcome]) -> str:
    codes = dict(sorted(Counter(outcome.code for outcome in outcomes).items(), key=str))
    slowest_s = max((outcome.seconds for outcome in outcomes), default=0.0)
    return f"{name}: {len(outcomes)} files, exit codes {codes}, slowest {slowest_s:.1f} s"


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _import_all() -> None:
    import pipeline.benchmark
    import pipeline.cli
    import pipeline.commands.benchmark
    import pipeline.commands.inspect
    import pipeline.console
    import pipeline.devices
    import pipeline.inspection  # noqa: F401 - what a fork then need not import


if __name__ == "__main__":
    sys.exit(main())
