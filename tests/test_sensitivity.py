"""The search for the fewest layers kept out of int8: how many it keeps, what it costs, and what it says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from edge_targets.tflite_graph import Graph, Operator, Tensor
from pipeline import verify
from pipeline._fewest import BESIDE_THE_LAYERS, Found, Kept, fewest
from pipeline._keepable import Layers
from pipeline.artifact import LayerGain, MixedPrecision
from pipeline.draft import Draft
from pipeline.recipe import Recipe

NAMES = [f"layer{number}" for number in range(12)]
ALONE = {name: [name] for name in NAMES}
INT8 = Path(__file__).parent / "edge_targets" / "data" / "tiny_int8.tflite"


class Counted:
    """A model whose layers each cost so much when they are quantized; it counts how often it is asked."""

    def __init__(self, damage: dict[str, float], of_pairs: dict[Kept, float] | None = None) -> None:
        self.damage, self.of_pairs, self.asked = damage, of_pairs or {}, 0

    def __call__(self, kept: Kept) -> float:
        self.asked += 1
        lost = sum(damage for name, damage in self.damage.items() if name not in kept)
        return 1 - lost - sum(damage for pair, damage in self.of_pairs.items() if not pair <= kept)


def search(model: Counted, goal: float, together: dict[str, list[str]] | None = None, spent: int = 1) -> Found:
    return fewest(NAMES, model, goal, together=together or ALONE, sqnr_db={}, spent=spent)


def test_a_model_that_is_good_enough_keeps_nothing() -> None:
    model = Counted({"layer3": 0.001})
    found = search(model, 0.99)
    assert (found.kept, found.gains, model.asked, found.evaluations) == (frozenset(), {}, 1, 2)


def test_one_layer_that_does_the_damage_is_kept_alone() -> None:
    model = Counted({"layer3": 0.4, "layer5": 0.004})
    found = search(model, 0.99)
    assert found.kept == {"layer3"}
    assert found.int8_value == pytest.approx(0.596)
    assert found.gains["layer3"] == pytest.approx(0.4)


@pytest.mark.parametrize("count", range(1, 13))
def test_the_fewest_are_found_for_any_number_and_within_what_was_promised(count: int) -> None:
    rng = np.random.default_rng(count)
    chosen = rng.permutation(NAMES)[:count].tolist()
    damage = dict.fromkeys(NAMES, 1e-5) | {name: 0.02 + 0.01 * place for place, name in enumerate(chosen)}
    model = Counted(damage)
    found = search(model, 0.999)
    assert found.kept == set(chosen)
    assert model.asked == found.evaluations - 1 <= len(NAMES) + BESIDE_THE_LAYERS - 1


def test_a_deep_model_is_searched_by_halves() -> None:
    # One by one, the evaluations would be spent long before the 21 are found.
    names = [str(number) for number in range(64)]
    damage = {name: 0.02 if place < 21 else 1e-6 for place, name in enumerate(names)}
    model = Counted(damage)
    found = fewest(names, model, 0.999, together={name: [name] for name in names}, sqnr_db={}, spent=1)
    assert found.kept == set(names[:21])
    assert found.evaluations == model.asked + 1 <= 64 + BESIDE_THE_LAYERS


def test_a_tensor_between_two_layers_takes_both_and_no_others() -> None:
    # Neither of the two does anything alone: what is lost is lost between them.
    model = Counted({}, {frozenset(("layer4", "layer5")): 0.5})
    chain = {name: [name, *NAMES[place + 1 : place + 2]] for place, name in enumerate(NAMES)}
    found = search(model, 0.99, chain)
    assert found.kept == {"layer4", "layer5"}
    assert found.gains["layer4"] == 0.5


def test_layers_that_only_stood_in_the_run_are_left_out_again() -> None:
    # layer0 seems to bring more than layer2, but once the others are kept it brings nothing.
    def value(kept: Kept) -> float:
        if {"layer1", "layer2"} <= kept:
            return 1.0
        return 0.5 + 0.1 * ("layer1" in kept) + 0.05 * ("layer0" in kept) + 0.01 * ("layer2" in kept)

    found = fewest(NAMES, value, 0.99, together=ALONE, sqnr_db={})
    assert found.kept == {"layer1", "layer2"}


def test_of_two_that_bring_the_same_the_noisier_comes_first() -> None:
    def value(kept: Kept) -> float:
        return 1.0 if {"layer7", "layer9"} <= kept else 0.5

    found = fewest(NAMES, value, 0.99, together=ALONE, sqnr_db=dict.fromkeys(NAMES, 30.0) | {"layer7": 3, "layer9": 5})
    assert found.kept == {"layer7", "layer9"}
    assert found.evaluations <= len(NAMES) + BESIDE_THE_LAYERS


def test_a_goal_out_of_reach_gives_the_nearest_miss() -> None:
    model = Counted({"layer1": 0.1, "layer2": 0.2, "layer3": 0.0}, {frozenset(("never",)): 0.05})
    found = search(model, 0.99)
    assert found.value == pytest.approx(0.95) == max(found.value, found.int8_value)
    assert found.kept == set(NAMES)  # the one set that was tried with both
    assert model.asked <= len(NAMES) + 3


def test_no_model_however_odd_costs_more_than_was_promised() -> None:
    rng = np.random.default_rng(0)
    for layers in (0, 1, 2, 3, 17, 600):
        names = [str(number) for number in range(layers)]
        for _ in range(5):
            known: dict[Kept, float] = {}
            asked = itertools.count()

            def value(kept: Kept, known: dict[Kept, float] = known, asked: Callable[[], int] = asked.__next__) -> float:
                asked()
                return known.setdefault(kept, float(rng.random()))

            found = fewest(names, value, 0.9, together={name: [name] for name in names}, sqnr_db={}, spent=1)
            assert found.evaluations == next(asked) + 1 <= layers + BESIDE_THE_LAYERS
            assert found.value >= 0.9 or found.value == max(known.values())


def graph() -> Graph:
    """conv → pool → dense, and conv2 → add with the pool's output."""
    weight = np.zeros(4, np.uint8)
    shapes = ("input", "w1", "conv:0", "pool:0", "w2", "dense:0", "w3", "conv2:0", "add:0")
    tensors = tuple(
        Tensor(place, name, (1, 1), "float32", data=weight if name.startswith("w") else None)
        for place, name in enumerate(shapes)
    )
    operators = (
        Operator(0, "CONV_2D", "conv", (0, 1), (2,)),
        Operator(1, "MAX_POOL_2D", "pool", (2,), (3,)),
        Operator(2, "CONV_2D", "conv2", (0, 6), (7,)),
        Operator(3, "ADD", "add", (3, 7), (8,)),
        Operator(4, "FULLY_CONNECTED", "dense", (3, 4), (5,)),
    )
    return Graph("main", operators, tensors, (0,), (5, 8))


def test_what_stands_between_kept_layers_stays_with_them() -> None:
    layers = Layers(graph())
    assert layers.names == ("conv", "conv2", "dense")
    assert layers.together["conv"] == {"conv", "dense"}
    assert layers.riders_of({"conv"}) == ("pool",)
    # An addition is float only where all that goes into it is.
    assert layers.riders_of({"conv", "conv2"}) == ("pool", "add")
    assert layers.riders_of({"dense"}) == ()
    assert layers.tensors_of({"conv", "dense"}) == {"conv:0", "pool:0", "dense:0"}


RECORD = MixedPrecision(
    kept_in="float32",
    kept=("conv",),
    riders=(),
    gains=(LayerGain("conv", 0.2, 3.0),),
    metric="accuracy",
    float_value=0.99,
    int8_value=0.7,
    value=0.98,
    max_accuracy_drop=0.01,
    evaluations=9,
    most_evaluations=12,
    int8_size_bytes=1000,
    size_bytes=1400,
)


def test_a_search_survives_the_cache() -> None:
    assert MixedPrecision.of(json.loads(json.dumps(asdict(RECORD)))) == RECORD
    assert (RECORD.drop, RECORD.met) == (0.01, True)


def test_int8_only_says_what_is_float_on_purpose_and_what_that_costs() -> None:
    model = INT8.read_bytes()
    [check, *_] = verify.byte_checks(model, verify.layer_table(model), Draft("{}", ()), RECORD)
    assert check.status == "pass"
    assert check.why == "'conv' in float32, chosen by mixed precision: +400 bytes against full int8"
    timed = replace(RECORD, int8_median_us=10.0, median_us=12.5)
    assert "+400 bytes, +2.5 µs" in verify.byte_checks(model, (), Draft("{}", ()), timed)[0].why


def test_floats_that_nobody_chose_still_fail() -> None:
    model = INT8.with_name("tiny_float32.tflite").read_bytes()
    [plain, *_] = verify.byte_checks(model, (), Draft("{}", ()))
    [mixed, *_] = verify.byte_checks(model, (), Draft("{}", ()), RECORD)
    assert mixed.status == "fail"
    assert 0 < (mixed.value or 0) < (plain.value or 0)


def test_a_budget_that_cannot_be_met_fails_a_check_and_shows_the_nearest_miss() -> None:
    [kept] = verify.mixed_checks(RECORD)
    assert (kept.status, kept.value, kept.limit) == ("pass", 0.01, 0.01)
    [missed] = verify.mixed_checks(replace(RECORD, value=0.95))
    assert missed.status == "fail"
    assert "comes nearest" in missed.why
    assert "9 of at most 12 evaluations" in missed.why
    # Where one layer is all that there is, and it is kept, precision is not to blame.
    assert "lost in the stages before" in missed.why
    two = replace(RECORD, value=0.95, gains=(*RECORD.gains, LayerGain("other", 0.0)))
    assert "lost in the stages before" not in verify.mixed_checks(two)[0].why
    assert verify.mixed_checks(None) == []


WRITTEN = {"name": "x", "task": "classification", "data": {"npz": {"path": "x.npz"}}, "model": {"lenet5": {}}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"convert": {"mixed_precision": {}}}, "it is not told what int8 may lose"),
        ({"convert": {"mixed_precision": {"max_accuracy_drop": 2}}}, "less than or equal to 1"),
        ({"convert": {"mixed_precision": {"max_accuracy_drop": 0}, "precision": "int16x8"}}, "leave 'precision' and"),
        ({"convert": {"mixed_precision": {"max_accuracy_drop": 0, "keep_in": "int4"}}}, "'float32' or 'int16'"),
        (
            {"convert": {"mixed_precision": {"max_accuracy_drop": 0}}, "stages": [{"qat": {}}]},
            "'qat' trains the ranges",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(settings: dict[str, Any], said: str) -> None:
    whole = {**WRITTEN, "stages": [], **settings}
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate_json(json.dumps(whole), context={"folder": INT8.parent})


def test_a_budget_of_the_recipe_is_enough() -> None:
    whole = {**WRITTEN, "stages": [], "convert": {"mixed_precision": {}}, "budgets": {"max_accuracy_drop": 0.1}}
    assert Recipe.model_validate_json(json.dumps(whole), context={"folder": INT8.parent}).convert.mixed_precision
