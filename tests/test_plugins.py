"""One contract for every plugin that is found: a new file is tested on arrival."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from edge_targets import Target
from pipeline import plugins
from pipeline.dataset import DataSource
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.stage import TRAITS, Stage
from pipeline.task import Task

SETTINGS: dict[str, Any] = {"pipeline.stages": Stage, "pipeline.data": DataSource, "pipeline.tasks": Task}
ALL = [(package, name) for package in plugins.FOLDERS.values() for name in plugins.names(package)]


@pytest.mark.parametrize(("package", "name"), ALL)
def test_says_what_it_is(package: str, name: str) -> None:
    assert len(plugins.summary(plugins.module(package, name))) > 10


@pytest.mark.parametrize(("package", "name"), [one for one in ALL if one[0] in SETTINGS])
def test_settings_are_documented(package: str, name: str) -> None:
    cls = plugins.plugin_class(package, name, SETTINGS[package])
    assert issubclass(cls, Settings)
    for field_name, field in cls.model_fields.items():
        assert field.description, f"{name}.{field_name} has no description"
    assert cls.model_json_schema()["additionalProperties"] is False


@pytest.mark.parametrize("name", plugins.names("pipeline.stages"))
def test_stage_declares_known_traits(name: str) -> None:
    stage = plugins.plugin_class("pipeline.stages", name, Stage)  # type: ignore[type-abstract]
    assert stage.stage_name() == name
    assert stage.gives <= TRAITS
    assert stage.keeps <= TRAITS
    assert stage.refuses.keys() <= TRAITS
    assert all(len(why) > 10 for why in stage.refuses.values())


@pytest.mark.parametrize("name", plugins.names("edge_targets"))
def test_target_declares_itself(name: str) -> None:
    target = plugins.plugin_class("edge_targets", name, Target)  # type: ignore[type-abstract]
    assert target.name == name
    assert target.provenance in ("device", "host", "emulated", "simulated")


@pytest.mark.parametrize("name", plugins.names("models"))
def test_model_is_built_by_keyword_options(name: str) -> None:
    parameters = inspect.signature(plugins.module("models", name).build).parameters
    assert list(parameters)[:2] == ["input_shape", "num_classes"]
    assert all(one.kind is one.KEYWORD_ONLY and one.default is not one.empty for one in list(parameters.values())[2:])


def test_listing_and_importing_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline import plugins;"
        "[plugins.module(package, name) for package in plugins.FOLDERS.values() for name in plugins.names(package)];"
        "assert not {'tensorflow', 'tf_keras', 'keras', 'sklearn', 'scipy', 'asyncssh'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_plugin_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        plugins.module("pipeline.stages", "prun")
    assert "did you mean 'prune'?" in str(caught.value)
