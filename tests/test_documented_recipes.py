"""Every recipe in the documentation is one that edgesmith takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline import _yaml
from pipeline.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
REST = {
    "name": "x",
    "task": "classification",
    "data": {"npz": {"path": "x.npz"}},
    "model": {"lenet5": {}},
    "stages": [],
}
BLOCKS = [
    pytest.param(block, id=f"{path.stem}-{place}")
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
    for place, block in enumerate(re.findall(r"```yaml\n(.*?)```", path.read_text("utf-8"), re.DOTALL))
    if re.search(r"^(stages|convert|budgets|benchmark|data|task|targets):", block, re.MULTILINE)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_recipe_of_the_documentation_loads(block: str) -> None:
    values = _yaml.parse(block).value
    assert isinstance(values, dict)
    Recipe.model_validate_json(json.dumps({**REST, **values}), context={"folder": ROOT})


def test_there_are_some() -> None:
    assert len(BLOCKS) >= 5
