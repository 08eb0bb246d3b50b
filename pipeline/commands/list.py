"""edgesmith list: what can be named in a recipe, and what can be set of it."""

from __future__ import annotations

import json
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

WIDTH = 100
"""Letters of a line of a description, at most."""


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
        shared.print_out(f"{click.style(each.ljust(width), bold=True)}  {text.removeprefix(f'{each}: ')}")


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
    shared.print_out(f"{click.style(name, bold=True)}  {summary.removeprefix(f'{name}: ')}")
    for each in settings:
        shared.print_out(_told(each))
    if not settings:
        shared.print_out("\n  It has no settings.")


def _told(setting: Setting) -> str:
    default = f"default {json.dumps(setting.default, ensure_ascii=False)}"
    stands = "required" if setting.required else "optional" if setting.default is None else default
    head = f"\n  {click.style(setting.name, bold=True)}  {setting.kind}; {stands}"
    margin = " " * 6
    if not setting.description:
        return head
    return f"{head}\n{click.wrap_text(setting.description, WIDTH, margin, margin)}"
