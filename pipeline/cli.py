"""The command `edgesmith`. No logic, and no heavy import until a command needs it: `--help` is instant."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pipeline import __version__
from pipeline.errors import EdgesmithError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from pipeline.cache import Cache
    from pipeline.console import ConsoleProgress
    from pipeline.report import Report

INTERRUPTED = 130
FORMATS = ("table", "html", "md", "card", "junit", "json")
KINDS = ("stages", "targets", "models", "data", "tasks")

_HERE = Path(__file__).resolve().parent.parent

# `main` looks for the word itself: an error before or in the parsing of the line counts as well.
_debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgesmith")
def cli() -> None:
    """Take a Keras model and real data to a fully-int8 .tflite that is proven on its devices.

    Start with `edgesmith run examples/mnist_demo.yaml`.
    """


@cli.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the results go; default: runs/<recipe's name>.")
@click.option("--cache", "cache_folder", type=click.Path(path_type=Path), help="Default: ~/.cache/edgesmith.")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep results of stages.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="stages.prune.sparsity=0.9; repeatable.")
@click.option("--custom-objects", metavar="FILE", help="Python file with the model's own layer classes.")
@click.option("--trust-code", is_flag=True, help="Let a model file run the code it holds (Lambda layers).")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the table.")
@_debug
def run(
    recipe: Path,
    out: Path | None,
    cache_folder: Path | None,
    no_cache: bool,
    overrides: tuple[str, ...],
    custom_objects: str | None,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Run a RECIPE: data and model in, a proven int8 .tflite and a report out."""
    if cache_folder is not None and no_cache:
        raise click.UsageError("--cache and --no-cache exclude each other.")
    from pipeline.console import ConsoleProgress
    from pipeline.recipe import load_recipe

    if custom_objects is not None:
        # Paths on the command line are relative to where we stand, those in a recipe to the recipe.
        overrides = (*overrides, f"model.custom_objects={json.dumps(str(Path(custom_objects).absolute()))}")
    loaded = load_recipe(recipe, overrides)
    folder = out or Path("runs", loaded.name)
    with ConsoleProgress() as progress:
        from pipeline import flow

        report = flow.run(
            loaded,
            out=folder,
            cache=_cache(cache_folder, no_cache),
            progress=progress,
            command=_command_line(),
            trust_code=trust_code,
        )
    _show(report, folder, as_json, progress)
    sys.exit(0 if report.ok else 1)


@cli.command()
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), help="An .npz of real inputs: measures each layer's SQNR.")
@click.option("--reference", type=click.Path(path_type=Path), help="The float .tflite to hold the layers against.")
@click.option("--target", metavar="NAME", help="Tell where this target would run each operator, such as coral.")
@click.option("--pack", is_flag=True, help="Find the size over the air of a large model, too; it takes seconds.")
@click.option("--custom-objects", type=click.Path(path_type=Path), help="Python file with the model's own classes.")
@click.option("--trust-code", is_flag=True, help="Let a model file run the code it holds (Lambda layers).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@_debug
def inspect(
    model: str,
    data: Path | None,
    reference: Path | None,
    target: str | None,
    pack: bool,
    custom_objects: Path | None,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Show what is in a MODEL: a .tflite, any Keras file, or file.py:function."""
    from pipeline import inspection
    from pipeline.console import ConsoleProgress

    with ConsoleProgress() as progress:
        options = inspection.Options(data, reference, pack, custom_objects, trust_code, target)
        document = inspection.inspect(model, options, progress)
    if as_json:
        _print(json.dumps(document, indent=2))
        return
    from pipeline.report import render_inspection

    _draw(lambda console: render_inspection(document, console))


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: what --out ends in, else a table.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default: stdout.")
@click.option("--open", "opened", is_flag=True, help="Show the page in a browser.")
@_debug
def report(runs: tuple[Path, ...], form: str | None, out: Path | None, opened: bool) -> None:
    """Show the report of RUNS: run folders or report.json files; several stand side by side."""
    from pipeline import report as reporting
    from pipeline.storage import atomic_write_text

    form = form or reporting.format_for(out, opened)
    if opened and form != "html":
        raise click.UsageError(f"--open shows a page, and --format {form} makes none.")
    read = reporting.read_reports(runs)
    if out is None and form == "table":
        _draw(lambda console: reporting.show_reports(read, console))
        return
    text = reporting.report_text(read, form)
    if out is None and not opened:
        _print(text.rstrip("\n"))
        return
    where = out or reporting.page_beside(runs)
    atomic_write_text(where, text)
    click.echo(f"{where}", err=True)
    if opened:
        _browse(where)


@cli.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_debug
def list_plugins(kind: str, as_json: bool) -> None:
    """List what can be named in a recipe."""
    from pipeline import plugins

    package = plugins.FOLDERS[kind]
    found = {name: plugins.summary(plugins.module(package, name)) for name in plugins.names(package)}
    if as_json:
        rows = [{"name": name, "summary": text} for name, text in found.items()]
        _print(json.dumps({"schema": 1, kind: rows}, indent=2))
        return
    width = max(map(len, found))
    for name, text in found.items():
        _print(f"{click.style(name.ljust(width), bold=True)}  {text.removeprefix(f'{name}: ')}")


@cli.command()
@_debug
def schema() -> None:
    """Print the JSON Schema of a recipe, for editors and checkers."""
    from pipeline.recipe import recipe_schema

    _print(json.dumps(recipe_schema(), indent=2))


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
        return _complain("Interrupted. Finished stages are in the cache; the same command goes on from there.", 130)
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


def _print(text: str, color: bool | None = None) -> None:
    """To stdout. A reader that has gone (`| head`) is no error, and does not change the exit code."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(text, color=color)


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


def _cache(folder: Path | None, off: bool) -> Cache:
    from pipeline.cache import Cache

    if off:
        return Cache(None)
    home = os.environ.get("XDG_CACHE_HOME")
    return Cache(folder or (Path(home) if home else Path.home() / ".cache") / "edgesmith")


def _command_line() -> str:
    return shlex.join(["edgesmith", *sys.argv[1:]])


def _draw(render: Callable[[Console], None]) -> None:
    """Print what is drawn for people, in colour where stdout is a terminal."""
    from rich.console import Console

    console = Console()
    with console.capture() as drawn:
        render(console)
    _print(drawn.get().rstrip("\n"), color=True)


def _browse(page: Path) -> None:
    """Show a page to people. Where there is no browser, that is a sentence: the page is written all the same."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        click.echo("no browser was found here: open that file in one of yours", err=True)


def _show(report: Report, folder: Path, as_json: bool, progress: ConsoleProgress) -> None:
    if as_json:
        from pipeline.report import json_text

        _print(json_text(report.to_json()).rstrip("\n"))
        return
    from pipeline.report import render_table

    _draw(lambda console: render_table(report.to_json(), console))
    progress.note(f"the report: {folder / 'report.html'}")
