"""edgesmith schema: the form of a recipe, for machines."""

from __future__ import annotations

import click

from pipeline.commands import _shared as shared


@click.command()
@shared.debug
def command() -> None:
    """Print the JSON Schema of a recipe, for editors and checkers."""
    from pipeline.recipe import recipe_schema

    shared.print_json(recipe_schema())
