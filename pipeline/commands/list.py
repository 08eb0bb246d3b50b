"""edgesmith list: what can be named in a recipe, and what can be set of it."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline.commands import _shared as shared

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.commands._settings import Setting

OWN = {"convert": "ConvertSettings", "budgets": "Budgets", "benchmark": "BenchmarkSettings"}
"""Groups of a recipe that belong to no plugin."""

KINDS = ("stages", "targets", "models", "data", "tasks", "settings")

WIDTH, NARROWEST, ENDLESS = 100, 40, 10_000
"""Letters of a line on one thing, at most and at least; and of one that is never broken."""

MARGIN = 6
"""Before a description."""


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared.debug
def command(kind: str, name: str | None, as_json: bool) -> None:
    """List what can be named in a recipe; with a NAME, what can be set of it."""
    found = _summaries(kind)
    if name is not None:
        _print_settings(kind, name, found, as_json)
        return
    if as_json:
        rows = [{"name": each, "summary": text} for each, text in found.items()]
        shared.print_json({"schema": 1, kind: rows})
        return
    width = max(map(len, found))
    for each, text in found.items():
        # In a pipe each has a line of its own, for those who search.
        _print_named(each.ljust(width), f"  {text.removeprefix(f'{each}: ')}", width + 2, _columns(ENDLESS))


def _summaries(kind: str) -> dict[str, str]:
    """What there is of a kind, each with a line on what it is."""
    from pipeline import plugins, settings

    if kind == "settings":
        return {name: str(getattr(settings, each).__doc__).splitlines()[0] for name, each in OWN.items()}
    package = plugins.FOLDERS[kind]
    return {name: plugins.summary(plugins.module(package, name)) for name in plugins.names(package)}


def _class(kind: str, name: str) -> type[BaseModel]:
    from pipeline import plugins, settings
    from pipeline.choice import settings_class

    if kind == "settings" and name not in OWN:
        raise click.UsageError(f"A recipe has no group of settings named '{name}'; it has {', '.join(OWN)}.")
    found: type[BaseModel] = (
        getattr(settings, OWN[name]) if kind == "settings" else settings_class(plugins.FOLDERS[kind], name)
    )
    return found


def _print_settings(kind: str, name: str, found: dict[str, str], as_json: bool) -> None:
    from pipeline.commands._settings import settings_of

    chosen = _class(kind, name)
    settings = settings_of(chosen.model_json_schema())
    # A model of one's own is no plugin, and stands in no list.
    summary = found.get(name) or str(chosen.__doc__).splitlines()[0]
    if as_json:
        row = {"name": name, "summary": summary, "settings": [asdict(each) for each in settings]}
        shared.print_json({"schema": 1, kind: [row]})
        return
    columns = min(_columns(WIDTH), WIDTH)
    _print_named(name, f"  {summary.removeprefix(f'{name}: ')}", len(name) + 2, columns)
    for each in settings:
        _print_setting(each, columns)
    if not settings:
        shared.print_out("\n  It has no settings.")


def _print_setting(setting: Setting, columns: int) -> None:
    default = f"default {json.dumps(setting.default, ensure_ascii=False)}"
    stands = "required" if setting.required else "optional" if setting.default is None else default
    shared.print_out("")
    _print_named(f"  {setting.name}", f"  {setting.kind}; {stands}", 2 * MARGIN, columns)
    if setting.description:
        shared.print_out(_wrapped(" " * MARGIN + setting.description, MARGIN, columns))


def _print_named(name: str, text: str, margin: int, columns: int) -> None:
    """A name in bold letters, and what stands behind it."""
    shared.print_out(click.style(name, bold=True) + _wrapped(name + text, margin, columns).removeprefix(name))


def _wrapped(text: str, margin: int, columns: int) -> str:
    """A text in lines of so many letters, all but the first behind a margin; names with a hyphen stay whole."""
    return textwrap.fill(text, columns, subsequent_indent=" " * margin, break_on_hyphens=False)


def _columns(otherwise: int) -> int:
    """As many letters as the terminal is wide; `otherwise` where there is none."""
    return max(shutil.get_terminal_size((otherwise, 1)).columns, NARROWEST)
