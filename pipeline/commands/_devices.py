"""What the commands do alike that use devices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pipeline.commands import _shared as shared

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

targets = click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="DEVICE",
    help="host, KIND:ADDRESS, user@host[:port] or a profile; repeatable. Default: host.",
)
profiles = click.option(
    "--targets",
    "profiles",
    type=click.Path(path_type=Path),
    help="Profiles; default: ~/.config/edgesmith/targets.yaml.",
)


def tell(document: dict[str, Any], render: Callable[[dict[str, Any], Console], None], *, as_json: bool) -> NoReturn:
    """Print what devices gave. A device that failed makes the exit code 3, when all that was found is printed."""
    if as_json:
        shared.print_json(document)
    else:
        shared.draw(lambda console: render(document, console))
    sys.exit(0 if document["ok"] else 3)
