"""The examples of CONTRIBUTING.md are code that runs: what people copy must not rot."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline.draft import Draft
from pipeline.progress import Progress

GUIDE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"
EXAMPLES = dict(re.findall(r'```python\n("""(\w+): .*?)```', GUIDE.read_text("utf-8"), re.DOTALL))
SOURCES = {name: source for source, name in EXAMPLES.items()}


def example(name: str, package: str, folder: Path) -> ModuleType:
    """An example as a module, as if it lay in its package."""
    path = folder / f"{name}.py"
    path.write_text(SOURCES[name], encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"{package}.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def test_there_is_a_stage_and_a_target() -> None:
    assert set(SOURCES) == {"noise", "spare_python"}


@pytest.mark.tf
def test_the_example_stage_takes_a_draft_further(tmp_path: Path) -> None:
    from pipeline._tf import keras

    keras.backend.clear_session()
    draft = Draft.of(keras.Sequential([keras.layers.InputLayer((3,)), keras.layers.Dense(2)]))
    stage: Any = example("noise", "pipeline.stages", tmp_path).Noise(deviation=0.5)
    nothing: Any = None
    after = stage.apply(draft, nothing, seed=1, progress=Progress())
    assert stage.stage_name() == "noise"
    assert [step.stage for step in after.steps] == ["noise"]
    assert not np.array_equal(after.weights[0], draft.weights[0])


def test_the_example_target_reaches_its_python(tmp_path: Path) -> None:
    target: Any = example("spare_python", "edge_targets", tmp_path).SparePython(python=sys.executable)
    assert target.name == "spare_python"
    assert type(target).at("/bin/python") == {"python": "/bin/python"}
    assert target.info().python == ".".join(map(str, sys.version_info[:3]))
