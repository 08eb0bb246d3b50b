"""The installed command, as a shell sees it: what it lists, what it refuses, and the exit codes it keeps to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from pipeline import __version__, plugins
from pipeline.choice import settings_class
from pipeline.commands._settings import settings_of
from pipeline.commands.list import command
from tests.small import TINY_RECIPE, Command

pytestmark = pytest.mark.e2e

INSTALLED = str(Path(sys.executable).with_name("edgesmith"))


def shell(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `$E` is the command."""
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "E": INSTALLED}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, cwd=home, timeout=60)


def test_help_names_every_command(edgesmith: Command) -> None:
    done = edgesmith("--help")
    assert done.returncode == 0
    assert {"list", "run", "schema"} <= set(done.stdout.split())
    assert done.stderr == ""


def test_version(edgesmith: Command) -> None:
    assert __version__ in edgesmith("--version").stdout


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_list_shows_every_plugin_with_a_line_of_its_own(kind: str, edgesmith: Command) -> None:
    done = edgesmith("list", kind)
    shown = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [name for name, _ in shown] == plugins.names(plugins.FOLDERS[kind])
    # Aligned: every text begins in the same column.
    assert len({line.index(text) for line, (_, text) in zip(done.stdout.splitlines(), shown, strict=True)}) == 1
    rows = json.loads(edgesmith("list", kind, "--json").stdout)[kind]
    assert [row["name"] for row in rows] == [name for name, _ in shown]


def test_list_shows_what_can_be_set_of_one(edgesmith: Command) -> None:
    done = edgesmith("list", "stages", "train")
    assert done.returncode == 0
    for told in (
        "\n  learning_rate  number > 0; default 0.001\n",
        '\n  distribute  none | mirrored; default "none"\n',
        "\n  schedule  group; optional\n",
        "\n  schedule.warmup_epochs  number ≥ 0; optional\n",
    ):
        assert told in done.stdout
    assert "\n      width of each layer.\n" in edgesmith("list", "models", "gru").stdout
    assert "\n  path  path; required\n" in edgesmith("list", "data", "npz").stdout
    assert "mixed_precision.max_accuracy_drop  number ≥ 0, ≤ 1" in edgesmith("list", "settings", "convert").stdout


@pytest.mark.parametrize("what", [("stages",), ("stages", "early_exit"), ("settings", "convert")])
def test_lists_keep_to_the_width_of_the_terminal(what: tuple[str, ...]) -> None:
    whole, narrow = (CliRunner(env={"COLUMNS": columns}).invoke(command, what).output for columns in (None, "80"))
    assert max(map(len, narrow.splitlines())) <= 80 < max(map(len, whole.splitlines()))
    assert narrow.split() == whole.split()


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_what_can_be_set_of_every_plugin_has_words(kind: str) -> None:
    for name in plugins.names(plugins.FOLDERS[kind]):
        settings = settings_of(settings_class(plugins.FOLDERS[kind], name).model_json_schema())
        assert len({each.name for each in settings}) == len(settings)
        assert not [each.name for each in settings if "$" in each.kind or not each.kind]
        assert not [each.name for each in settings if not each.description]


def test_schema_is_one_that_a_recipe_is_valid_by(edgesmith: Command) -> None:
    schema = json.loads(edgesmith("schema").stdout)
    jsonschema.validate(yaml.safe_load(TINY_RECIPE), schema)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x00\xff\xfe", "is not text"),
        (b"a" * (2**20 + 1), "is larger than 1 MiB"),
        (b"a: &a [x]\nb: [*a, *a]\n", "anchor"),
        (b"a: !!python/object/apply:os.system ['touch ran']\n", "!!python/object"),
        (TINY_RECIPE.replace("sparsity", "sparsty").encode(), "did you mean 'sparsity'?"),
        (TINY_RECIPE.replace("0.5", "1.5").encode(), "less than 1"),
        (TINY_RECIPE.replace("  - train", "  - qat\n  - train").encode(), "'train' cannot come after 'qat'"),
    ],
)
def test_a_bad_recipe_is_a_message_and_exit_2(content: bytes, said: str, edgesmith: Command) -> None:
    path = edgesmith.home / "bad.yaml"
    path.write_bytes(content)
    done = edgesmith("run", path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [each.name for each in edgesmith.home.iterdir()] == ["bad.yaml"], "a bad recipe leaves nothing behind"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["list", "stagse"], "'stages'"),
        (["list", "stages", "equalise"], "did you mean 'equalize'?"),
        (["list", "settings", "converts"], "it has convert, budgets, benchmark"),
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "nowhere.yaml"], "There is no recipe nowhere.yaml"),
        (["run", "nowhere.yaml", "--cache", "c", "--no-cache"], "exclude each other"),
        (["run", "nowhere.yaml", "--colour"], "No such option"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], said: str, edgesmith: Command) -> None:
    done = edgesmith(*arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert said in done.stderr


def test_set_is_held_against_the_recipe(tiny: Path, edgesmith: Command) -> None:
    done = edgesmith("run", tiny, "--set", "stages.prune.sparsty=0.9")
    assert done.returncode == 2
    assert "--set: stages[1].prune.sparsty" in done.stderr


def test_debug_shows_the_traceback(edgesmith: Command) -> None:
    assert "Traceback" in edgesmith("run", "nowhere.yaml", "--debug").stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("$E schema | head -c1 >/dev/null; exit ${PIPESTATUS[0]}", 0),
        ("$E list stages | true; exit ${PIPESTATUS[0]}", 0),
        ("$E schema >/dev/full", 3),
        ("$E schema >&-", 0),
        ("$E run nowhere.yaml 2>/dev/full", 2),
    ],
)
def test_a_reader_that_is_gone_or_full_is_no_traceback(script: str, code: int, tmp_path: Path) -> None:
    done = shell(script, tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)


@pytest.mark.parametrize("name", ["models", "edge_targets"])
def test_a_package_in_our_place_is_named(name: str, tmp_path: Path) -> None:
    intruder = tmp_path / "theirs" / name
    intruder.mkdir(parents=True)
    intruder.joinpath("__init__.py").touch()
    done = shell(f"PYTHONPATH={intruder.parent} $E list stages", tmp_path)
    assert done.returncode == 2
    assert str(intruder) in done.stderr


@pytest.mark.parametrize("signal", ["INT", "TERM"])
def test_a_signal_is_exit_130_and_one_line(signal: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    # The recipe is a pipe that stays silent, so the command surely waits when the signal comes.
    # `set -m`: without job control, bash makes what runs behind it deaf to SIGINT.
    script = f"set -m; mkfifo p; $E run p 2>said & exec 3>p; kill -{signal} $!; wait $!"
    assert shell(script, tmp_path).returncode == 130
    golden("messages/interrupted.txt", tmp_path.joinpath("said").read_text())


def test_it_also_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "pipeline", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[-1]) == (0, __version__)
