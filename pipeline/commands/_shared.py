"""What every command does alike: its common options, how it prints, and where the cache is."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from pipeline.cache import Cache

# `main` looks for the word itself: an error before or in the parsing of the line counts as well.
debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")


def print_out(text: str, color: bool | None = None) -> None:
    """To stdout. A reader that has gone (`| head`) is no error, and does not change the exit code."""
    with contextlib.suppress(BrokenPipeError):
        click.echo(text, color=color)


def print_json(document: Any) -> None:
    """A document to stdout."""
    print_out(json.dumps(document, indent=2))


def draw(render: Callable[[Console], None]) -> None:
    """Print what is drawn for people, in colour where stdout is a terminal."""
    from rich.console import Console

    console = Console()
    with console.capture() as drawn:
        render(console)
    print_out(drawn.get().rstrip("\n"), color=True)


def cache_folder() -> Path:
    """Where the system keeps caches."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edgesmith"


def cache(folder: Path | None, *, off: bool) -> Cache:
    """The cache of stages: `folder`, else where the system keeps caches."""
    from pipeline.cache import Cache

    return Cache(None) if off else Cache(folder or cache_folder())
