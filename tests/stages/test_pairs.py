"""Every stage alone, and every pair that a recipe may have, runs to int8 bytes that keep what was promised.

A new stage is found by its file. It needs a line in `SETTINGS` only if its defaults are too long for a tiny model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from pipeline import plugins
from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.stage import Stage
from tests.stages.tiny import apply, checks, int8, tiny_data, tiny_draft

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

SETTINGS: dict[str, dict[str, Any]] = {
    "cluster": {"clusters": 4},
    "prune": {"sparsity": 0.5},
    "prune_filters": {"keep_macs": 0.7},
}

Chain = tuple[str, ...]


def kind(name: str) -> type[Stage]:
    return plugins.plugin_class("pipeline.stages", name, Stage)  # type: ignore[type-abstract]


def is_allowed(chain: Chain) -> bool:
    """Whether a recipe may have these stages in this order, as `Recipe` folds their traits."""
    traits: frozenset[str] = frozenset()
    for name in chain:
        if any(kind(name).refusal(trait) for trait in traits):
            return False
        traits = kind(name).traits_after(traits)
    return True


NAMES = plugins.names("pipeline.stages")
CHAINS: list[Chain] = [(name,) for name in NAMES] + [
    (first, second) for first in NAMES for second in NAMES if is_allowed((first, second))
]


@cache
def data() -> Dataset:
    return tiny_data()


@cache
def after(chain: Chain) -> Draft:
    """The draft behind some stages; what pairs have in common is worked out once."""
    if not chain:
        return tiny_draft()
    *before, last = chain
    trains = {"epochs": 1} if "epochs" in kind(last).model_fields else {}
    return apply(kind(last).model_validate({**trains, **SETTINGS.get(last, {})}), after(tuple(before)), data())


def test_pairs_that_cannot_be_are_left_out() -> None:
    assert is_allowed(("prune", "qat"))
    assert not is_allowed(("qat", "prune"))
    assert len(CHAINS) > 2 * len(NAMES)


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_stages_lead_to_bytes_that_keep_what_they_promised(chain: Chain) -> None:
    draft = after(chain)
    assert [step.stage for step in draft.steps] == list(chain)
    model = int8(draft, data())
    found = checks(draft, model)
    assert {check.status for check in found.values()} == {"pass"}, found
    assert ("sparse" in draft.traits) == ("kept_sparsity" in found)
    assert ("clustered" in draft.traits) == ("kept_clusters" in found)
    assert len(np.unique(run(model), axis=0)) > 1  # it answers, and not always the same


def run(model: bytes) -> np.ndarray[Any, Any]:
    """What the bytes answer to eight test images, (8, classes) int8."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    [source], [target, *_] = interpreter.get_input_details(), interpreter.get_output_details()
    assert source["dtype"] == target["dtype"] == np.int8
    scale, zero = source["quantization"]
    found = []
    for image in next(data().test.batches(8))[0]:
        interpreter.set_tensor(source["index"], np.clip(image[None] / scale + zero, -128, 127).astype(np.int8))
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"])[0])
    return np.stack(found)
