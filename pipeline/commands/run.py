"""edgesmith run: a recipe, all the way."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import _devices as on_devices
from pipeline.commands import _keep as keeping
from pipeline.commands import _shared as shared

if TYPE_CHECKING:
    from pipeline.console import ConsoleProgress
    from pipeline.report import Report


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the results go; default: runs/<recipe's name>.")
@click.option("--cache", "cache_folder", type=click.Path(path_type=Path), help="Default: ~/.cache/edgesmith.")
@click.option("--no-cache", is_flag=True, help="Neither use nor keep results of stages.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="stages.prune.sparsity=0.9; repeatable.")
@on_devices.profiles
@click.option("--custom-objects", metavar="FILE", help="Python file with the model's own layer classes.")
@click.option("--trust-code", is_flag=True, help="Let a model file run the code it holds (Lambda layers).")
@keeping.history
@keeping.no_history
@click.option("--track", type=click.Choice(["mlflow"]), help="Log the run to MLflow, too (MLFLOW_TRACKING_URI).")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of the table.")
@shared.debug
def command(
    recipe: Path,
    out: Path | None,
    cache_folder: Path | None,
    no_cache: bool,
    overrides: tuple[str, ...],
    profiles: Path | None,
    custom_objects: str | None,
    trust_code: bool,
    url: str | None,
    no_history: bool,
    track: str | None,
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
    loaded = load_recipe(recipe, overrides, profiles)
    folder = out or Path("runs", loaded.name)
    with ConsoleProgress() as progress:
        from pipeline import flow

        report = flow.run(
            loaded,
            out=folder,
            cache=shared.cache(cache_folder, off=no_cache),
            progress=progress,
            command=_command_line(),
            trust_code=trust_code,
        )
        if not no_history:
            keeping.keep(lambda history: history.add(report.to_json(), folder), url, progress)
        if track is not None:
            _track(report, folder, progress)
    _show(report, folder, as_json, progress)
    sys.exit(0 if report.ok else 1)


def _track(report: Report, folder: Path, progress: ConsoleProgress) -> None:
    from pipeline.errors import EdgesmithError
    from pipeline.tracking import log_to_mlflow

    try:
        progress.note(f"kept in MLflow: run {log_to_mlflow(report.to_json(), folder)}")
    except EdgesmithError as error:
        progress.note(f"not kept in MLflow: {error}")


def _command_line() -> str:
    return shlex.join(["edgesmith", *sys.argv[1:]])


def _show(report: Report, folder: Path, as_json: bool, progress: ConsoleProgress) -> None:
    if as_json:
        from pipeline.report import json_text

        shared.print_out(json_text(report.to_json()).rstrip("\n"))
        return
    from pipeline.report import render_table

    shared.draw(lambda console: render_table(report.to_json(), console))
    progress.note(f"the report: {folder / 'report.html'}")
