"""Settings of the conversion that cannot be together are refused before any work, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe
from tests.small import write_tiny

AEQ = "convert.backend=ai_edge_quantizer"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["convert.precision=float16", "convert.calibration=mse"], "there are no ranges to calibrate"),
        (["convert.precision=dynamic", "convert.calibration=entropy"], "there are no ranges to calibrate"),
        (["convert.precision=float16", "convert.granularity=per_tensor"], "float16 weights have no scales"),
        (["convert.precision=float16", AEQ], "TensorFlow's converter makes it"),
        (["convert.precision=int16x8", "convert.calibration=entropy"], "int16 has 65,535"),
        (["convert.precision=int16x8", "convert.granularity=per_tensor"], "int16x8 per channel alone"),
        (["convert.precision=int4"], "set `backend: ai_edge_quantizer`"),
        (["convert.calibration=moving_average"], "set `backend: ai_edge_quantizer`"),
        (["convert.percentile=99"], "set `calibration: percentile`"),
        (["convert.precision=int7"], "'int8', 'int16x8', 'float16', 'dynamic' or 'int4'"),
        (["convert.calibration=percentile", "convert.percentile=101"], "less than or equal to 100"),
    ],
)
def test_what_cannot_be_together_is_refused(tmp_path: Path, overrides: list[str], told: str) -> None:
    recipe = without_qat(tmp_path)
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, overrides)
    assert "convert" in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["convert.precision=int16x8"],
        ["convert.precision=int4", AEQ, "convert.calibration=mse"],
        ["convert.precision=int16x8", "convert.granularity=per_tensor", AEQ],
        ["convert.calibration=percentile", "convert.percentile=99.9"],
        ["convert.calibration=moving_average", AEQ],
        ["convert.precision=dynamic", "convert.granularity=per_tensor"],
    ],
)
def test_what_can_be_together_loads_back(tmp_path: Path, overrides: list[str]) -> None:
    recipe = load_recipe(without_qat(tmp_path), overrides)
    again = tmp_path / "again.yaml"
    again.write_text(recipe.resolved_yaml(), encoding="utf-8")
    assert load_recipe(again).convert == recipe.convert


def test_trained_ranges_take_no_other_calibration(tmp_path: Path) -> None:
    recipe = write_tiny(tmp_path)
    assert load_recipe(recipe).convert.is_plain
    with pytest.raises(RecipeError, match="'qat' trains the ranges and scales of int8"):
        load_recipe(recipe, ["convert.calibration=mse"])


def without_qat(folder: Path) -> Path:
    recipe = write_tiny(folder)
    text = recipe.read_text("utf-8")
    recipe.write_text(text.replace("  - qat: {epochs: 1, batch_size: 32}\n", ""), encoding="utf-8")
    return recipe
