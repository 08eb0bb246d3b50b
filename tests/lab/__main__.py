"""python -m tests.lab build | up | down | status | run COMMAND… | shell | clean: the lab from the command line."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.lab import build, cache, needs
from tests.lab.apt import PackageError
from tests.lab.device import LabError
from tests.lab.lab import RUN, is_free, running

DOWN_S = 60.0


def main(argv: Sequence[str]) -> int:
    """Do what is asked; gives the exit code."""
    asked = _parser().parse_args(argv)
    why = needs.missing()
    if why:
        print(f"There is no lab here: {why}.", file=sys.stderr)
        return 3
    try:
        code: int = asked.do(asked)
    except (LabError, PackageError, subprocess.CalledProcessError) as error:
        print(f"The lab could not be had: {error}", file=sys.stderr)
        return 3
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="Emulated devices to test against.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, do, what in (
        ("build", _build, "build what is missing in the cache"),
        ("up", _up, "start a lab that stays until `down`"),
        ("status", _status, "how to reach the labs that are up"),
        ("shell", _shell, "a shell with a lab that lives as long as it does; see $LAB_JSON there"),
        ("clean", _clean, "remove the cache"),
        ("keep", _keep, "what `up` leaves running"),
    ):
        verbs.add_parser(name, help=what).set_defaults(do=do)
    down = verbs.add_parser("down", help="end the labs that `up` started")
    down.add_argument("slot", type=int, nargs="?", help="only this one")
    down.set_defaults(do=_down)
    run = verbs.add_parser("run", help="run a command with a lab that lives as long as it does; see $LAB_JSON there")
    run.add_argument("command", nargs=argparse.REMAINDER)
    run.set_defaults(do=_run)
    return parser


def _build(_asked: argparse.Namespace) -> int:
    started = time.monotonic()
    for name, path in build.build().items():
        print(f"{name:15} {path}")
    print(f"The lab is built ({time.monotonic() - started:.0f} s).")
    return 0


def _up(_asked: argparse.Namespace) -> int:
    build.build()
    log_file = cache.folder() / "keep.log"
    # A process of its own: it holds the devices, which end when it does.
    with log_file.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.lab", "keep"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert keeper.stdout is not None
    described = keeper.stdout.readline().decode().strip()
    print(Path(described or log_file).read_text())
    return 0 if described else 3


def _keep(_asked: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _end)
    with running(build.build(), stays=True) as lab:
        print(lab.folder / "lab.json", flush=True)
        while True:
            signal.pause()


def _end(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a second one must not interrupt the clearing up
    raise SystemExit(0)


def _down(asked: argparse.Namespace) -> int:
    for described in _labs_that_are_up():
        if described["stays"] and asked.slot in (None, described["slot"]):
            os.kill(described["process"], signal.SIGTERM)
            deadline = time.monotonic() + DOWN_S
            while not is_free(described["slot"]):
                if time.monotonic() > deadline:
                    print(f"The lab of process {described['process']} does not end.", file=sys.stderr)
                    return 3
                time.sleep(0.05)
    return 0


def _status(_asked: argparse.Namespace) -> int:
    print(json.dumps(list(_labs_that_are_up()), indent=2))
    return 0


def _labs_that_are_up() -> Iterator[dict[str, Any]]:
    for path in sorted(RUN.glob("slot-*/lab.json")):
        described: dict[str, Any] = json.loads(path.read_text())
        if not is_free(described["slot"]):
            yield described


def _shell(_asked: argparse.Namespace) -> int:
    return _with_lab([os.environ.get("SHELL", "sh")])


def _run(asked: argparse.Namespace) -> int:
    return _with_lab(asked.command)


def _with_lab(command: Sequence[str]) -> int:
    with running(build.build()) as lab:
        environment = {**os.environ, "LAB_JSON": str(lab.folder / "lab.json")}
        return subprocess.run(command, env=environment, check=False).returncode


def _clean(_asked: argparse.Namespace) -> int:
    shutil.rmtree(cache.folder(), ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
