"""Every `--json` output has a published schema. That the outputs follow them is tested beside each command."""

from __future__ import annotations

import json
from pathlib import Path

import click
import jsonschema
import pytest

from pipeline.commands import Commands

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"
FILES = sorted(FOLDER.glob("*.json"))

# Where the schema has another name than the command.
NAMES = {"run": "report", "evaluate": "evaluation"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_schema_is_one_and_says_which(path: Path) -> None:
    schema = json.loads(path.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema.get("$id", path.name) == path.name
    assert schema["title"]
    # A reader sees by this key which version it has.
    assert schema["properties"]["schema"] == {"const": 1}


def test_every_json_output_has_a_schema() -> None:
    group = Commands()
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    speaking = {name for name, one in commands.items() if one and any(p.name == "as_json" for p in one.params)}
    assert {"run", "inspect", "list", "doctor"} <= speaking
    missing = {name for name in speaking if not (FOLDER / f"{NAMES.get(name, name)}.schema.json").is_file()}
    assert not missing


def test_the_schema_that_ships_is_the_published_one() -> None:
    shipped = Path(__file__).parents[1] / "pipeline" / "report" / "report.schema.json"
    assert shipped.is_symlink()
    assert shipped.resolve() == FOLDER / "report.schema.json"
