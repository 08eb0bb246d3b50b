"""The command `edgesmith`: its commands are the files of `commands/`, and every error becomes an exit code here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import click

from pipeline import __version__
from pipeline.commands import Commands
from pipeline.errors import EdgesmithError, StorageError, UsageError

INTERRUPTED = 130

_HERE = Path(__file__).resolve().parent.parent


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgesmith")
def cli() -> None:
    """Take a Keras model and real data to a fully-int8 .tflite that is proven on its devices.

    Start with `edgesmith run examples/mnist_demo.yaml`.
    """


def main() -> NoReturn:
    """Run the command; the only place where an error becomes an exit code."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _refuse_intruders()
        cli(standalone_mode=False)
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - here, and only here, every error becomes a sentence and a code
        if debug:
            traceback.print_exc()
        code = _told(error)
    sys.exit(_flushed(code))


def _told(error: BaseException) -> int:
    """Say what happened on stderr; returns the exit code."""
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        goes_on = " Finished stages are in the cache; the same command goes on from there."
        return _complain("Interrupted." + (goes_on if sys.argv[1:2] == ["run"] else ""), INTERRUPTED)
    if isinstance(error, EdgesmithError) or hasattr(error, "exit_code"):
        return _complain(str(error), error.exit_code)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return _complain(str(StorageError(f"{error.filename or 'The disk'}: {reason.lower()}.")), 3)
    return _complain(
        f"Internal error: {type(error).__name__}: {error}\n"
        "  to mend it: this is a fault of edgesmith; run again with --debug and report what it shows",
        3,
    )


def _complain(text: str, code: int) -> int:
    head, _, rest = text.partition("\n")
    # Where even stderr cannot be written, the exit code still tells.
    with contextlib.suppress(OSError):
        click.echo(click.style("error: ", fg="red", bold=True) + head + (f"\n{rest}" if rest else ""), err=True)
    return code


def _flushed(code: int) -> int:
    """Flush; what nobody takes, because the reader has gone or the disk is full, goes nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            print(end="", flush=True, file=stream)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _refuse_intruders() -> None:
    """`models` is a common name: make sure that the package which imports find is ours."""
    for name in ("models", "edge_targets"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found != _HERE / name / "__init__.py":
            raise UsageError(
                f"Another package named '{name}' stands before edgesmith's own: {found or 'none can be imported'}.",
                expected=f"{_HERE / name}",
                mend="run edgesmith from another folder, or take that one off PYTHONPATH",
            )
