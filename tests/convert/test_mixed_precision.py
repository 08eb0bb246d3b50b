"""Mixed precision on a model that int8 breaks on purpose, from recipe to checks; and where nothing can mend it."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks._bench import ROOT
from benchmarks._broken import BROKEN_LAYER, broken_model, bundled_digits
from edge_targets.microcontroller import MicrocontrollerTarget
from edge_targets.tflite_graph import parse_graph
from pipeline import _yaml, advice, convert, forge, sensitivity, verify
from pipeline._inspect_tflite import tflite_facts
from pipeline.artifact import Artifact
from pipeline.cache import Cache
from pipeline.dataset import ArraySplit, Dataset
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.progress import Progress
from pipeline.recipe import Recipe
from pipeline.sensitivity import Way
from pipeline.tasks.anomaly import Anomaly

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

WRITTEN: dict[str, Any] = {
    **{"name": "broken", "seed": 7, "task": "classification", "model": {"lenet5": {}}, "stages": []},
    "data": {"npz": {"path": "examples/data/mnist_8k_2k.npz", "divide_by": 255, "add_channel": True}},
    "budgets": {"max_accuracy_drop": 0.01},
}


class Told(Progress):
    """Keeps what was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return bundled_digits(2000)


@pytest.fixture(scope="module")
def broken(data: Dataset) -> Draft:
    return broken_model(data, epochs=2)


def made(draft: Draft, data: Dataset, folder: Path, **changed: Any) -> tuple[Recipe, Artifact, Artifact]:
    """The recipe with these settings, the float model and the final one; a cache of their own beside them."""
    recipe = Recipe.model_validate_json(json.dumps({**WRITTEN, **changed}), context={"folder": ROOT})
    cache, silent = Cache(folder / "cache"), Progress()
    before = forge.baseline([draft], cache, folder, silent)
    return recipe, before, forge.artifact(draft, recipe, data, cache, folder, silent, before)


def test_the_report_names_the_layer_and_a_setting_that_mends_it(broken: Draft, data: Dataset, tmp_path: Path) -> None:
    recipe, before, plain = made(broken, data, tmp_path)
    reference = convert.to_float_reference(broken)
    proof = verify.prove(plain, before, broken, data, recipe.budgets, Progress(), reference)
    assert proof.baseline.value - proof.artifact.value > 0.3

    known = replace(advice.Known.of(recipe, None), addable=frozenset())
    graphs = parse_graph(plain.path.read_bytes()), parse_graph(reference)
    first, *_ = advice.advise(proof.layers, *graphs, known)
    assert first.layer == BROKEN_LAYER
    assert "of 16 channels are one and the same value in int8" in first.reason

    recipe, before, mixed = made(broken, data, tmp_path, **_yaml.parse(first.setting).value)
    mended = verify.prove(mixed, before, broken, data, recipe.budgets, Progress(), reference)
    assert mended.baseline.value - mended.artifact.value <= 0.01
    assert {check.status for check in mended.checks} == {"pass"}
    assert mixed.mixed is not None
    assert mixed.mixed.kept == (BROKEN_LAYER, "pointwise")
    [int8_only] = [check for check in mended.checks if check.name == "int8_only"]
    assert int8_only.why.startswith(f"'{BROKEN_LAYER}', 'pointwise' in float32, chosen by mixed precision: +")
    # What it costs in latency is told where it could be measured, which takes a machine that starts processes in time.
    assert "bytes" in int8_only.why
    facts = tflite_facts(mixed.path, None, None, pack=False)
    assert facts["model"]["float_layers"][:2] == [BROKEN_LAYER, "pointwise"]
    # A second run takes model and search from the cache.
    assert made(broken, data, tmp_path, **_yaml.parse(first.setting).value)[2].mixed == mixed.mixed


def test_layers_in_int16_mend_it_as_well_and_no_float_is_left(broken: Draft, data: Dataset, tmp_path: Path) -> None:
    recipe, before, mixed = made(broken, data, tmp_path, convert={"mixed_precision": {"keep_in": "int16"}})
    found = verify.prove(mixed, before, broken, data, recipe.budgets, Progress(), convert.to_float_reference(broken))
    assert found.baseline.value - found.artifact.value <= 0.01
    assert {check.status for check in found.checks} == {"pass"}
    assert mixed.mixed is not None
    assert (mixed.mixed.kept_in, mixed.mixed.kept) == ("int16", (BROKEN_LAYER, "pointwise"))
    assert mixed.mixed.evaluations <= 4 + 10
    # The layer that reads the spread channels weighs them 1000:1, which eight bits do not hold.
    assert mixed.mixed.weight_bits == 16
    [int8_only] = [check for check in found.checks if check.name == "int8_only"]
    assert int8_only.why.startswith(f"'{BROKEN_LAYER}', 'pointwise' in int16 with weights of 16 bits, chosen by")
    rows = {layer.name: layer for layer in found.layers}
    assert {row.bits for row in rows.values()} == {8}
    assert all((row.sqnr_db or 0) > 20 for row in rows.values())
    facts = tflite_facts(mixed.path, None, None, pack=False)["model"]
    assert (facts["int16_layers"], facts["float_layers"]) == ([BROKEN_LAYER, "pointwise", "flatten"], [])
    # Nothing of it is left to the processor beside an Ethos-U.
    assert {one.runs_on for one in MicrocontrollerTarget().places(mixed.path).operators} == {"ethos-u"}
    model = mixed.path.read_bytes()
    wrong = replace(mixed.mixed, kept=("logits",), riders=())
    assert verify.byte_checks(model, (), broken, wrong)[0].status == "fail"
    # Slim models do not call their operators by names, and are what was chosen all the same.
    assert verify.byte_checks(convert.slim(model), (), broken, mixed.mixed)[0].status == "pass"


def test_a_search_costs_what_was_promised(broken: Draft, data: Dataset) -> None:
    ranges = convert.calibrated(broken, data.calibration(50, 7))
    evaluated: list[frozenset[str]] = []
    quantizer = convert.Quantizer(ranges)

    def quantize(kept: Collection[str]) -> bytes:
        evaluated.append(frozenset(kept))
        # What the converter refuses is no choice, and ends nothing.
        if kept and all("logits" in name or name == "Identity" for name in kept):
            raise ModelError("TensorFlow Lite cannot convert the model")
        return quantizer.model(kept)

    told = Told()
    found = sensitivity.mixed_precision(ranges, Way(quantize), None, data, 0.01, told)
    assert told.notes == ["mixed precision: logits cannot be kept: TensorFlow Lite cannot convert the model"]
    # The float model is the one that is evaluated without being quantized.
    assert found.record.evaluations == len(set(evaluated)) + 1 <= 4 + 10
    assert found.record.int8_value < found.record.value
    assert found.record.gains[0].layer == BROKEN_LAYER
    assert [one.layer for one in found.record.gains if one.gain is None] == ["logits"]


def test_a_budget_out_of_reach_ends_with_the_nearest_miss(broken: Draft, data: Dataset) -> None:
    # A model that says the next digit is beyond repair by precision; the one it is held against is not.
    model = broken.restore()
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([np.roll(kernel, 1, axis=1), np.roll(bias, 1)])
    wrong = Draft.of(model)
    ranges = convert.calibrated(wrong, data.calibration(50, 7))
    found = sensitivity.mixed_precision(
        ranges,
        Way(convert.Quantizer(ranges).model),
        convert.to_float32(broken),
        data,
        0.01,
        Progress(),
    )
    assert not found.record.met
    [check] = verify.mixed_checks(found.record)
    assert check.status == "fail"
    assert "comes nearest" in check.why
    assert found.record.evaluations <= found.record.most_evaluations == 14
    assert parse_graph(found.model).operators


def test_where_no_anomalies_are_held_out_the_order_of_the_examples_decides() -> None:
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    inputs = keras.Input((8,))
    x = keras.layers.Dense(4, activation="relu", name="narrow")(inputs)
    draft = Draft.of(keras.Model(inputs, keras.layers.Dense(8, name="wide")(x)))
    x = np.random.default_rng(0).random((64, 8), np.float32)
    normal = ArraySplit(x, np.zeros(64, np.int64))
    data = Dataset(Anomaly(), normal, normal, normal, (8,), 1, (), "00", "noise")
    ranges = convert.calibrated(draft, x)
    found = sensitivity.mixed_precision(
        ranges, Way(convert.Quantizer(ranges).model), None, data, 0.0005, Progress()
    ).record
    assert (found.metric, found.float_value) == ("agreement", 1.0)
    assert found.kept
    assert found.value > found.int8_value > 0.5
