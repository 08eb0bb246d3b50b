"""edgesmith list: what can be named in a recipe."""

from __future__ import annotations

import click

from pipeline.commands import _shared as shared

KINDS = ("stages", "targets", "models", "data", "tasks")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared.debug
def command(kind: str, as_json: bool) -> None:
    """List what can be named in a recipe."""
    from pipeline import plugins

    package = plugins.FOLDERS[kind]
    found = {name: plugins.summary(plugins.module(package, name)) for name in plugins.names(package)}
    if as_json:
        rows = [{"name": name, "summary": text} for name, text in found.items()]
        shared.print_json({"schema": 1, kind: rows})
        return
    width = max(map(len, found))
    for name, text in found.items():
        shared.print_out(f"{click.style(name.ljust(width), bold=True)}  {text.removeprefix(f'{name}: ')}")
