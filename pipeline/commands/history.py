"""edgesmith history: earlier runs, their figures over time, and what became worse."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.commands import _shared as shared

_NONE_YET = "no run was kept yet"


@click.command()
@click.argument("name", required=False)
@click.option("--last", type=click.IntRange(min=1), default=50, show_default=True, help="How many runs to look at.")
@click.option("--regressions", is_flag=True, help="Show only figures that became worse; exit 1 where there are any.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the figures over the runs into this .svg file.")
@click.option("--history", "url", metavar="URL", help="Another database than ~/.local/share/edgesmith/runs.db.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables.")
@shared.debug
def command(name: str | None, last: int, regressions: bool, plot: Path | None, url: str | None, as_json: bool) -> None:
    """List earlier runs, of one recipe NAME or of all."""
    from pipeline.history import History
    from pipeline.regressions import series
    from pipeline.report import render_history, series_svg
    from pipeline.storage import atomic_write_text

    with History(url) as history:
        records = history.records(name, last)
    found = [{**asdict(each), "change": each.change, "worse": each.worse} for each in series(records)]
    shown = [each for each in found if each["worse"]] if regressions else found
    document = {"schema": 1, "runs": [] if regressions else [asdict(each) for each in records], "series": shown}
    if plot is not None:
        atomic_write_text(plot, series_svg(found))
    if as_json:
        shared.print_json(document)
    else:
        nothing = "nothing became worse" if records else f"no run of '{name}' was kept" if name else _NONE_YET
        shared.draw(lambda console: render_history(document, console, nothing))
    sys.exit(1 if regressions and shown else 0)
