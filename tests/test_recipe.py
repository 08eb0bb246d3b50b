"""Recipes: every mistake is found before any work, said in one piece, with its place and its mend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe, recipe_schema
from tests.small import TINY_RECIPE

STAGES = "stages: [train, prune, qat]"

BAD = {
    "empty": "",
    "a_list": "- train\n- prune\n",
    "a_word": "train\n",
    "unknown_key": TINY_RECIPE.replace("seed: 3", "sed: 3"),
    "unknown_setting": TINY_RECIPE.replace("sparsity: 0.5", "sparsty: 0.5"),
    "unknown_nested_setting": TINY_RECIPE.replace("sparsity: 0.5", "early_stopping: {patiense: 2}"),
    "unknown_stage": TINY_RECIPE.replace("- qat", "- qad"),
    "unknown_model": TINY_RECIPE.replace("lenet5", "lenet6"),
    "unknown_option": TINY_RECIPE.replace("model: lenet5", "model: {lenet5: {varient: caffe}}"),
    "unknown_model_file_setting": TINY_RECIPE.replace("model: lenet5", "model: {mine.keras: {custom_object: a.py}}"),
    "sparsity_too_high": TINY_RECIPE.replace("sparsity: 0.5", "sparsity: 1.5"),
    "text_for_a_number": TINY_RECIPE.replace("sparsity: 0.5", "sparsity: 'half'"),
    "float_for_an_integer": TINY_RECIPE.replace("epochs: 2", "epochs: 2.5"),
    "nan": TINY_RECIPE.replace("sparsity: 0.5", "sparsity: .nan"),
    "negative_seed": TINY_RECIPE.replace("seed: 3", "seed: -3"),
    "prune_after_qat": TINY_RECIPE.replace("  - train: {epochs: 2, batch_size: 32}\n", "  - train\n  - qat\n"),
    "train_after_prune": TINY_RECIPE.replace("  - qat: {epochs: 1, batch_size: 32}", "  - train"),
    "qat_twice": TINY_RECIPE.replace("  - qat: {epochs: 1, batch_size: 32}", "  - qat\n  - qat"),
    "several_mistakes": TINY_RECIPE.replace("seed: 3", "seed: three").replace("sparsity: 0.5", "sparsity: 2"),
    "missing_data": "model: lenet5\ntask: classification\nstages: [train]\n",
    "python_object": TINY_RECIPE + "extra: !!python/object/apply:os.system ['true']\n",
    "yaml_bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
    "duplicate_key": TINY_RECIPE + "seed: 4\n",
    "two_documents": TINY_RECIPE + "---\nseed: 4\n",
    "broken_syntax": "stages: [train\n",
    "deep": "a: " + "[" * 200 + "]" * 200 + "\n",
    "min_secs_above_max_secs": TINY_RECIPE.replace("min_secs: 0", "min_secs: 5"),
    "budget_for_no_target": TINY_RECIPE + "budgets: {max_median_us: {attic: 5}}\n",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_says_what_where_and_how_to_mend(
    name: str, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(BAD[name])
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    golden(f"messages/recipe_{name}.txt", str(caught.value).replace(str(tmp_path), "FOLDER") + "\n")


@pytest.mark.parametrize(
    ("content", "said"), [(b"\x00\xff\xfe\x80binary", "is not text"), (b"a" * (2**20 + 1), "is larger than 1 MiB")]
)
def test_what_is_no_text_of_a_page_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=said):
        load_recipe(path)


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("mine.keras", "mine.keras"),
        ("builder.py:build", "builder.py:build"),
        ("./saved", "saved"),
        ("{file: {path: saved}}", "saved"),
        ("{builder.py:build: {options: {width: 8}, custom_objects: layers.py}}", "builder.py:build"),
    ],
)
def test_a_model_of_ones_own_is_named_by_its_path(written: str, path: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TINY_RECIPE.replace("model: lenet5", f"model: {written}"))
    loaded = load_recipe(recipe)
    assert loaded.model.file is not None
    assert loaded.model.file.path == tmp_path / path
    recipe.write_text(loaded.resolved_yaml())
    assert load_recipe(recipe).model == loaded.model
    jsonschema.validate(yaml.safe_load(TINY_RECIPE.replace("model: lenet5", f"model: {written}")), recipe_schema())


def test_the_command_line_reaches_into_a_model_of_ones_own(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(TINY_RECIPE.replace("model: lenet5", "model: mine.keras"))
    file = load_recipe(recipe, ["model.custom_objects=layers.py"]).model.file
    assert file is not None
    assert file.custom_objects == tmp_path / "layers.py"


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"There is no recipe .*nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_a_recipe_loads_with_its_defaults(tiny: Path) -> None:
    recipe = load_recipe(tiny)
    assert recipe.name == "tiny"
    assert [stage.stage_name() for stage in recipe.stages] == ["train", "prune", "qat"]
    assert recipe.model.options["variant"] == "classic"
    assert [each.label for each in recipe.targets] == ["host"]
    assert recipe.data.model_dump()["path"] == tiny.with_name("tiny.npz")


@pytest.mark.parametrize(
    "override", ["stages.prune.sparsity=0.9", "stages.1.sparsity=0.9", "stages.1.prune.sparsity=0.9"]
)
def test_the_command_line_beats_the_file(override: str, tiny: Path) -> None:
    assert load_recipe(tiny, [override]).stages[1].model_dump()["sparsity"] == 0.9


@pytest.mark.parametrize(
    ("override", "written"),
    [
        ("stages.prune={sparsity: 0.3}", {"sparsity": 0.3, "epochs": 4}),
        ("stages.1={prune: {sparsity: 0.2}}", {"sparsity": 0.2, "epochs": 4}),
        ("stages.prune.early_stopping.patience=7", {"early_stopping": {"patience": 7, "min_delta": 0.0}}),
        ("stages.prune.learning_rate=1e-4", {"learning_rate": 1e-4}),
        ("stages.prune.skip_layers=[a, b]", {"skip_layers": ("a", "b")}),
        ("stages.prune.early_stopping=", {"early_stopping": None}),
    ],
)
def test_an_override_reaches_whole_settings_and_nested_ones(override: str, written: dict[str, Any], tiny: Path) -> None:
    found = load_recipe(tiny, [override]).stages[1].model_dump()
    assert {name: found[name] for name in written} == written


def test_overrides_apply_in_order_and_open_what_was_bare(tiny: Path) -> None:
    overrides = ["stages=[prune, prune]", "stages.0.sparsity=0.1", "stages.1.sparsity=0.2", "model.variant=caffe"]
    recipe = load_recipe(tiny, overrides)
    assert [stage.model_dump()["sparsity"] for stage in recipe.stages] == [0.1, 0.2]
    assert recipe.model.options["variant"] == "caffe"
    assert load_recipe(tiny, ["data={keras: {name: mnist}}"]).data.model_dump()["name"] == "mnist"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages.prun.sparsity=0.9", "did you mean 'prune'?"),
        ("stages.prune.sparsty=0.9", "--set: stages[1].prune.sparsty: there is no such setting"),
        ("stages.3.sparsity=0.9", "a number below 3"),
        ("stages.-1.sparsity=0.9", "the recipe has no such stage"),
        ("budgts.min_sparsity=0.9", "--set: budgts: there is no such setting"),
        ("seed.x=1", "--set seed.x: seed is 3, not a mapping"),
        ("seed=!!int 4", "tags are refused"),
        ("=", "KEY=VALUE"),
        ("a." * 50 + "b=1", "KEY=VALUE"),
    ],
)
def test_an_override_that_misses_says_where(override: str, said: str, tiny: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(tiny, [override])
    assert said in str(caught.value)


def test_a_name_that_several_stages_have_is_not_guessed(tiny: Path) -> None:
    with pytest.raises(RecipeError, match=r"say stages\.0 or stages\.1"):
        load_recipe(tiny, ["stages=[prune, prune]", "stages.prune.sparsity=0.1"])


@pytest.mark.parametrize(("file", "name"), [("my recipe.yaml", "my-recipe"), (".hidden", "hidden"), ("..", None)])
def test_the_file_gives_the_name_and_no_name_leaves_the_folder(file: str, name: str | None, tiny: Path) -> None:
    nameless = TINY_RECIPE.replace("name: tiny\n", "")
    if name is None:
        tiny.write_text(nameless + f"name: '{file}'\n")
        with pytest.raises(RecipeError, match="text that matches"):
            load_recipe(tiny)
        return
    path = tiny.with_name(file)
    path.write_text(nameless)
    assert load_recipe(path).name == name


def test_loading_a_recipe_imports_no_tensorflow(tiny: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.recipe import load_recipe;"
        "load_recipe(Path(sys.argv[1])); assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny)], check=True, cwd=Path(__file__).parent.parent)


@pytest.mark.parametrize("override", ["stages.prun.sparsity=0.9", "budgets.max_drop=1", "sparsity", "seed=[1"])
def test_an_override_that_leads_nowhere_is_refused(override: str, tiny: Path) -> None:
    with pytest.raises(RecipeError):
        load_recipe(tiny, [override])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**31 - 1),
    sparsity=st.floats(0.01, 0.99),
    drop=st.none() | st.floats(0, 1),
    variant=st.sampled_from(["classic", "caffe"]),
)
def test_a_resolved_recipe_loads_back_to_itself(
    seed: int, sparsity: float, drop: float | None, variant: str, tiny: Path
) -> None:
    values = [f"seed={seed}", f"stages.prune.sparsity={sparsity!r}", f"model.lenet5={{variant: {variant}}}"]
    recipe = load_recipe(tiny, values if drop is None else [*values, f"budgets.max_accuracy_drop={drop!r}"])
    again = tiny.with_name("again.yaml")
    again.write_text(recipe.resolved_yaml())
    assert load_recipe(again) == recipe


def test_the_schema_takes_a_good_recipe_and_refuses_an_unknown_key() -> None:
    validator = jsonschema.Draft202012Validator(recipe_schema())
    good = yaml.safe_load(TINY_RECIPE)
    validator.validate(good)
    validator.validate({key: value for key, value in good.items() if key != "name"})
    assert not validator.is_valid({**good, "sed": 3})
    assert not validator.is_valid({**good, "stages": [{"prune": {"sparsty": 0.5}}]})
    assert not validator.is_valid({**good, "stages": [{"prune": {"sparsity": 1.5}}]})
