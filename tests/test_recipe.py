"""Recipes: every mistake is found before any work, said in one piece, with its place and its mend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import TINY_RECIPE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe, recipe_schema

STAGES = "stages: [train, prune, qat]"

BAD = {
    "empty": "",
    "a_list": "- train\n- prune\n",
    "a_word": "train\n",
    "unknown_key": TINY_RECIPE.replace("seed: 3", "sed: 3"),
    "unknown_setting": TINY_RECIPE.replace("sparsity: 0.5", "sparsty: 0.5"),
    "unknown_stage": TINY_RECIPE.replace("- qat", "- qad"),
    "unknown_model": TINY_RECIPE.replace("lenet5", "lenet6"),
    "unknown_option": TINY_RECIPE.replace("model: lenet5", "model: {lenet5: {varient: caffe}}"),
    "unknown_target": TINY_RECIPE + "targets: [hots]\n",
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


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"There is no recipe .*nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


def test_a_recipe_loads_with_its_defaults(tiny: Path) -> None:
    recipe = load_recipe(tiny)
    assert recipe.name == "tiny"
    assert [stage.stage_name() for stage in recipe.stages] == ["train", "prune", "qat"]
    assert recipe.model.options == {"variant": "classic"}
    assert recipe.targets == ("host",)
    assert recipe.data.model_dump()["path"] == tiny.with_name("tiny.npz")


@pytest.mark.parametrize(
    "override", ["stages.prune.sparsity=0.9", "stages.1.sparsity=0.9", "stages.1.prune.sparsity=0.9"]
)
def test_the_command_line_beats_the_file(override: str, tiny: Path) -> None:
    assert load_recipe(tiny, [override]).stages[1].model_dump()["sparsity"] == 0.9


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
    assert not validator.is_valid({**good, "sed": 3})
    assert not validator.is_valid({**good, "stages": [{"prune": {"sparsty": 0.5}}]})
    assert not validator.is_valid({**good, "stages": [{"prune": {"sparsity": 1.5}}]})
