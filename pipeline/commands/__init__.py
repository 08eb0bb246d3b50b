"""The commands, one file each: the file's name is the command's, and its docstring is not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_FOLDER = Path(__file__).parent


class Commands(click.Group):
    """A group that finds its commands by their files, and imports one only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(path.stem for path in _FOLDER.glob("*.py") if not path.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        import importlib

        found: Any = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = found.command
        return command
