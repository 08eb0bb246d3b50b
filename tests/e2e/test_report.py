"""`edgesmith report`, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import jsonschema
import pytest
from referencing import Registry, Resource

from tests.report.documents import SCHEMA, full
from tests.small import Command

pytestmark = pytest.mark.e2e

SEVERAL = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "reports.schema.json").read_text("utf-8"))


@pytest.fixture
def run(edgesmith: Command) -> Path:
    """The folder of a run that has been."""
    folder = edgesmith.home / "runs" / "demo"
    folder.mkdir(parents=True)
    folder.joinpath("report.json").write_text(json.dumps(full()), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ([], "mnist_demo  – 5 checks passed, 1 not measured"),
        (["--format", "md"], "## `mnist_demo`: – 5 checks passed"),
        (["--format", "card"], "---\nlicense: unknown\n"),
        (["--format", "junit"], '<?xml version="1.0" encoding="UTF-8"?>\n<testsuites'),
        (["--format", "html"], "<!doctype html>"),
        (["--format", "json"], '{\n  "schema": 1,'),
    ],
)
def test_every_form_goes_to_stdout(options: list[str], beginning: str, run: Path, edgesmith: Command) -> None:
    done = edgesmith("report", run, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lstrip().startswith(beginning)
    assert "\x1b" not in done.stdout


def test_the_suffix_of_the_file_tells_the_form(run: Path, edgesmith: Command) -> None:
    done = edgesmith("report", run / "report.json", "--out", "checks.xml")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "", "checks.xml")
    assert Xml.parse(edgesmith.home / "checks.xml").getroot().get("tests") == "6"


def test_several_runs_stand_side_by_side_and_their_json_follows_its_schema(run: Path, edgesmith: Command) -> None:
    done = edgesmith("report", run, run, "--format", "json")
    document = json.loads(done.stdout)
    registry: Registry[object] = Registry().with_resource("report.schema.json", Resource.from_contents(SCHEMA))
    jsonschema.Draft202012Validator(SEVERAL, registry=registry).validate(document)
    # The file's own words: names are told apart only where they are shown.
    assert document["reports"] == [full(), full()]
    shown = edgesmith("report", run, run).stdout
    assert "mnist_demo (demo) (1)" in shown
    assert shown.count("pi4") == 2


def test_a_page_is_drawn_into_the_folder_and_handed_to_the_browser(run: Path, edgesmith: Command) -> None:
    browser = edgesmith.home / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > "$HOME/opened"\n', encoding="utf-8")
    browser.chmod(0o755)
    environment = {"HOME": str(edgesmith.home), "PATH": os.environ["PATH"], "BROWSER": str(browser)}
    command = [str(Path(sys.executable).with_name("edgesmith")), "report", str(run), "--open"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=edgesmith.home, timeout=60)
    assert done.returncode == 0, done.stderr
    page = run / "report.html"
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert edgesmith.home.joinpath("opened").read_text().strip() == page.as_uri()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "There is no report nowhere"),
        (["runs/demo", "--open", "--format", "md"], "--open shows a page"),
        (["runs/demo", "runs/demo", "--format", "card"], "A model card is of one model"),
        (["runs/demo", "--format", "pdf"], "'html'"),
        ([], "Missing argument"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], said: str, run: Path, edgesmith: Command) -> None:
    done = edgesmith("report", *arguments)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)
    assert said in done.stderr


def test_where_it_cannot_be_written_the_exit_code_is_3(run: Path, edgesmith: Command) -> None:
    done = edgesmith("report", run, "--out", "runs/demo/report.json/page.html")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


def test_list_follows_its_schema(edgesmith: Command) -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "list.schema.json").read_text("utf-8"))
    for arguments in (["tasks"], ["settings"], ["settings", "convert"], ["stages", "train"], ["targets", "coral"]):
        jsonschema.validate(json.loads(edgesmith("list", *arguments, "--json").stdout), schema)
