"""What the commands do alike that measure: they keep what they found for `edgesmith history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.history import History
    from pipeline.progress import Progress

history = click.option("--history", "url", metavar="URL", help="Default: ~/.local/share/edgesmith/runs.db.")
no_history = click.option("--no-history", is_flag=True, help="Do not keep what was found for `edgesmith history`.")


def keep(add: Callable[[History], object], url: str | None, progress: Progress) -> None:
    """Add something to the history. One that cannot be written must not take a finished result with it."""
    from pipeline.errors import EdgesmithError
    from pipeline.history import History

    try:
        with History(url) as found:
            add(found)
    except EdgesmithError as error:
        progress.note(f"not kept in the history: {error}")
