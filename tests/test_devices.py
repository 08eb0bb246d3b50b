"""Naming a device: every form of a name, profiles, and what is said of a name that is none."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from edge_targets.host import HostTarget
from pipeline import devices
from pipeline.errors import RecipeError, UsageError
from pipeline.recipe import load_recipe, recipe_schema
from tests.small import TINY_RECIPE


def profiles(folder: Path, text: str) -> Path:
    path = folder / "targets.yaml"
    path.write_text(text)
    return path


def test_a_kind_is_a_device_with_its_defaults() -> None:
    found = devices.device("host")
    assert (found.label, found.kind) == ("host", "host")
    target = found.target()
    assert isinstance(target, HostTarget)
    assert target.label == "host"


def test_an_address_is_read_by_its_kind() -> None:
    found = devices.device("host:xnnpack=off,runtime=tflite_runtime,threads=2")
    assert found.settings.model_dump(exclude={"label"}) == {
        "runtime": "tflite_runtime",
        "xnnpack": False,
        "threads": 2,
        "reference": False,
    }
    assert found.target().label == "host:xnnpack=off,runtime=tflite_runtime,threads=2"


def test_user_and_host_are_a_raspberry_pi() -> None:
    found = devices.device("pi@kitchen.local:2222")
    chosen = found.settings.model_dump()
    assert (found.kind, chosen["host"], chosen["user"], chosen["port"]) == ("raspberry_pi", "kitchen.local", "pi", 2222)


def test_a_profile_is_a_name_for_a_kind_and_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = profiles(tmp_path, "slow: {host: {reference: true}}\nplain: host\n")
    found = devices.device("slow", path)
    assert (found.label, found.kind, found.settings.model_dump()["reference"]) == ("slow", "host", True)
    assert devices.device("plain", path).kind == "host"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "edgesmith").mkdir()
    path.rename(devices.profiles_file())
    assert devices.device("slow").target().label == "slow"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hots", "did you mean 'host'?"),
        ("hots:1", "did you mean 'host'?"),
        ("kitchn", "did you mean 'kitchen'?"),
        ("", "no kind of device"),
        ("\x1b[2J", r"\\x1b\[2J"),
        ("host:xnnpak=off", "did you mean 'xnnpack'?"),
        ("host:xnnpack=maybe", "xnnpack"),
        ("host:threads=two", "threads"),
        ("host:", "SETTING=VALUE"),
        ("raspberry_pi", "Which Raspberry Pi is not said"),
    ],
)
def test_a_name_that_is_none_is_a_usage_error(name: str, said: str, tmp_path: Path) -> None:
    path = profiles(tmp_path, "kitchen: host\n")
    with pytest.raises(UsageError, match=said.replace("?", r"\?")) as caught:
        devices.device(name, path)
    assert caught.value.exit_code == 2
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kitchen: {host: {xnnpak: true}}\n", "line 1: kitchen.host.xnnpak: there is no such setting"),
        ("# mine\nkitchen:\n  host:\n    threads: two\n", "line 4: kitchen.host.threads: got the text 'two'"),
        ("kitchen: {hots: {}}\n", "line 1: kitchen: There is no target named 'hots'"),
        ("kitchen: 5\n", "line 1: kitchen: got 5"),
        ("kitchen: {}\n", "line 1: kitchen: got a mapping"),
        ("kitchen: {host: 5}\n", "as the settings of 'host'"),
        ("host: host\nkitchen: host\n", "line 1: 'host' cannot be the name of a profile"),
        ("- kitchen\n", "holds a list"),
        ("kitchen: host\nkitchen: host\n", "stands there twice"),
        ("kitchen: !!python/name:os.system\n", "has the tag"),
        ("", "holds nothing"),
    ],
)
def test_a_mistake_in_the_profiles_has_its_line(text: str, said: str, tmp_path: Path) -> None:
    path = profiles(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        devices.device("kitchen", path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_profiles_that_were_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file of targets"):
        devices.device("kitchen", tmp_path / "none.yaml")
    # What needs no profile does not read them.
    assert devices.device("host", tmp_path / "none.yaml").kind == "host"


def test_no_device_is_named_twice() -> None:
    with pytest.raises(UsageError, match="twice"):
        devices.devices(["host", "host"])


# ---- in a recipe ----


def recipe(folder: Path, more: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(TINY_RECIPE + more)
    return path


def test_a_recipe_names_devices_in_every_form(tmp_path: Path) -> None:
    more = "targets: [host, 'host:xnnpack=off', slow, {host: {label: two, threads: 2}}]\n"
    more += "budgets: {max_median_us: {two: 100, 'host:xnnpack=off': 300}}\n"
    path, known = recipe(tmp_path, more), profiles(tmp_path, "slow: {host: {reference: true}}\n")
    loaded = load_recipe(path, profiles=known)
    assert [each.label for each in loaded.targets] == ["host", "host:xnnpack=off", "slow", "two"]
    assert loaded.targets[3].target().label == "two"
    jsonschema.validate(yaml.safe_load(path.read_text()), recipe_schema())
    path.write_text(loaded.resolved_yaml())
    assert load_recipe(path, profiles=known) == loaded


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("targets: [host, host]\n", "targets[1]: 'host' stands there twice"),
        ("targets: [host, {host: {threads: 2}}]\n", "give each a label"),
        ("targets: [{host: {thread: 2}}]\n", "targets[0].host.thread: there is no such setting"),
        ("targets: [{host: {threads: two}}]\n", "targets[0].host.threads: got the text 'two'"),
        ("targets: [7]\n", "targets[0]: got 7"),
        ("targets: [{raspberry_pi: {user: pi}}]\n", "targets[0]: 'raspberry_pi': Which Raspberry Pi is not said"),
        ("targets: [{hots: {}}]\n", "did you mean 'host'?"),
        ("targets: [host]\nbudgets: {max_median_us: {two: 5}}\n", "'two' is no target of this recipe"),
    ],
)
def test_a_mistake_in_a_recipes_targets_has_its_place(more: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe(tmp_path, more), profiles=profiles(tmp_path, "slow: host\n"))
    assert said in str(caught.value)


def test_the_command_line_sets_a_device_by_its_place(tmp_path: Path) -> None:
    loaded = load_recipe(recipe(tmp_path, "targets: [{host: {threads: 2}}]\n"), ["targets=[host]"])
    assert [each.label for each in loaded.targets] == ["host"]


def test_the_schema_tells_of_each_setting() -> None:
    forms = recipe_schema()["properties"]["targets"]["items"]["anyOf"]
    [host] = [each for each in forms if "host" in each.get("properties", {})]
    text = str(host) + str(recipe_schema()["$defs"])
    assert "True insists on XNNPACK" in text
