"""edgesmith doctor: what is installed here, and what is missing for what."""

from __future__ import annotations

import sys

import click

from pipeline.commands import _shared as shared


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables.")
@shared.debug
def command(as_json: bool) -> None:
    """Tell what is installed, what is missing, and how to get it; exit 1 where something essential is."""
    from pipeline import doctor

    document = doctor.examine(shared.cache_folder())
    if as_json:
        shared.print_json(document)
    else:
        from pipeline.report import render_findings

        shared.draw(lambda console: render_findings(document, console))
    sys.exit(0 if document["ok"] else 1)
