"""Advice: each cause, measured, leads to the remedy for it, and every setting that is named is one that there is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets._noise import ErrorDetails
from edge_targets.tflite_graph import parse_graph
from pipeline import _yaml, advice, flow
from pipeline._evidence import Evidence, gathered
from pipeline.advice import Known, _Case
from pipeline.artifact import Artifact, LayerGain, TensorSpec
from pipeline.check import Advice, Check, Layer
from pipeline.dataset import ArraySplit, Dataset
from pipeline.recipe import Recipe
from pipeline.tasks.anomaly import Anomaly
from pipeline.verify import Proof, Score
from tests.test_sensitivity import RECORD

DATA = Path(__file__).parent / "edge_targets" / "data"
INT8, FLOAT32 = ((DATA / name).read_bytes() for name in ("tiny_int8.tflite", "tiny_float32.tflite"))
ALL = Known(addable=advice.ADVISED)
FED = replace(ALL, inputs=(-1.0, 3.0))
MORE_EXAMPLES = "convert: {calibration_samples: 1000}"

ERROR = ErrorDetails(
    mean=0.0,
    worst=0.03,
    bin_width=0.002,
    bins=(1,) * 32,
    range=(0.0, 10.0),
    usual=(0.0, 9.5),
    channels=8,
    lost_channels=0,
    channel_spread=5.0,
    channel_noise=0.1,
    shift=0.1,
)
LAYER = Layer("conv", "CONV_2D", 900, 0.0, 90, 8, 12.0, 100, 0.5, 1000, 0.5, ERROR)
PLAIN = Evidence(
    LAYER,
    ERROR,
    (0.0, 10.0),
    weight_channels=8,
    lost_weight_channels=0,
    weight_spread=3.0,
    scales=8,
    levels=256,
    sources=(),
)


def of(one: Evidence, known: Known = ALL, *others: Evidence) -> Advice:
    every = (one, *others)
    return _Case({each.layer.name: each for each in every}, known).advice(one)


def erring(**changed: Any) -> Evidence:
    return replace(PLAIN, error=replace(ERROR, **changed))


@pytest.mark.parametrize(
    ("evidence", "known", "reason", "setting"),
    [
        (erring(channel_spread=1000.0, lost_channels=3), ALL, "1:1,000.*3 of 8 channels", "stages: [{equalize: {}}]"),
        (erring(channel_spread=1000.0), replace(ALL, addable=frozenset({"qat"})), "1:1,000", advice.MIXED),
        (erring(channel_spread=1000.0), Known(qat_epochs=9), "1:1,000", "stages: [{qat: {epochs: 18}}]"),
        (erring(usual=(0.0, 2.0)), ALL, r"covers 0 … 10,.*within 0 … 2", "convert: {calibration: percentile}"),
        (erring(usual=(0.0, 2.0)), replace(ALL, calibration="percentile"), "covers", "convert: {calibration: mse}"),
        (erring(usual=(0.0, 2.0)), replace(ALL, calibration="mse"), "covers", advice.MIXED),
        (erring(usual=(0.0, 2.0)), Known(qat_epochs=2), "covers", "stages: [{qat: {epochs: 5}}]"),
        (erring(usual=(0.0, 12.0)), ALL, "reach to 0 … 12", MORE_EXAMPLES),
        (erring(usual=(0.0, 12.0)), replace(ALL, calibration="mse"), "reach", "convert: {calibration: min_max}"),
        (replace(PLAIN, fed=(-1.0, 1.0)), FED, "input reaches to -1 … 3, and int8 covers -1 … 1", MORE_EXAMPLES),
        (replace(PLAIN, fed=(-1.0, 2.9)), FED, "own rounding", "stages: [{qat: {epochs: 5}}]"),
        (PLAIN, FED, "own rounding", "stages: [{qat: {epochs: 5}}]"),
        (replace(PLAIN, lost_weight_channels=2), ALL, "2 of 8 output channels round to zero", advice.MIXED),
        (
            replace(PLAIN, scales=1, weight_spread=300.0),
            replace(ALL, granularity="per_tensor"),
            "1:300",
            "convert: {granularity: per_channel}",
        ),
        (erring(shift=0.8), ALL, "80% of its noise is a constant shift", "stages: [{correct_bias: {}}]"),
        (PLAIN, Known(qat_epochs=1), "after 1 epoch of", "stages: [{qat: {epochs: 5}}]"),
        (PLAIN, Known(qat_epochs=2), "after 2 epochs", "stages: [{qat: {epochs: 5}}]"),
        (replace(PLAIN, layer=replace(LAYER, bytes_share=0.001)), ALL, "saves little", advice.MIXED),
        (PLAIN, ALL, "own rounding leaves 10.0 dB", "stages: [{qat: {epochs: 5}}]"),
        (PLAIN, Known(qat_epochs=20), "own rounding", "stages: [{qat: {epochs: 40}}]"),
        (replace(erring(channel_noise=1e-4), layer=replace(LAYER, sqnr_db=40.0)), ALL, "1/100 of its signal", ""),
    ],
)
def test_what_was_measured_leads_to_its_remedy(evidence: Evidence, known: Known, reason: str, setting: str) -> None:
    found = of(evidence, known)
    assert re.search(reason, found.reason)
    assert found.setting == setting
    assert found.remedy


def recipe(stages: list[dict[str, Any]], setting: str = "{}") -> Recipe:
    written = {"name": "x", "task": "classification", "data": {"npz": {"path": "x.npz"}}, "model": {"lenet5": {}}}
    both = {**written, "stages": stages, **_yaml.parse(setting).value}
    return Recipe.model_validate_json(json.dumps(both), context={"folder": DATA})


INT4 = replace(PLAIN, layer=replace(LAYER, bits=4))
INT16 = replace(PLAIN, levels=2**16)


@pytest.mark.parametrize("convert", [
    {},
    {"calibration": "entropy"},
    {"calibration": "mse", "granularity": "per_tensor"},
    {"backend": "ai_edge_quantizer"},
    {"backend": "ai_edge_quantizer", "calibration": "moving_average", "granularity": "per_tensor"},
    {"backend": "ai_edge_quantizer", "precision": "int4", "calibration": "mse"},
    {"precision": "int16x8", "calibration": "percentile"},
    {"backend": "ai_edge_quantizer", "precision": "int16x8", "granularity": "per_tensor"},
    {"calibration": "percentile", "percentile": 99.9},
    {"mixed_precision": {"keep_in": "int16", "max_accuracy_drop": 0.02}, "calibration": "mse"},
    {"mixed_precision": {"max_accuracy_drop": 0.02}},
])  # fmt: skip
@pytest.mark.parametrize("can_train", [True, False])
def test_the_recipe_takes_its_advice_whatever_its_conversion_is(convert: dict[str, Any], can_train: bool) -> None:
    mixed = replace(RECORD, kept=(), gains=(), value=0.98 if "calibration" in convert else 0.9)
    known = Known.of(recipe([], json.dumps({"convert": convert})), mixed if "mixed_precision" in convert else None)
    known = known if can_train else replace(known, addable=frozenset())
    one = {"int4": INT4, "int16x8": INT16}.get(convert.get("precision", "int8"), PLAIN)
    ills: list[dict[str, Any]] = [
        {},
        {"shift": 0.9},
        {"channel_spread": 1000.0},
        {"usual": (0.0, 2.0), "bin_width": 1e-6 if one is INT16 else 0.002},
        {"usual": (0.0, 12.0)},
    ]
    for ill in ills:
        found = of(replace(one, error=replace(ERROR, **ill)), known)
        advised = _yaml.parse(found.setting).value
        assert isinstance(advised, dict)
        changed = {**convert, **advised.get("convert", {})}
        both = {**advised, "convert": changed}
        assert recipe([], json.dumps(both)).name == "x", found
        # Else all was as it is before, and it is no advice.
        assert "stages" in advised or changed != convert


def test_a_model_with_an_early_exit_is_told_what_it_takes() -> None:
    stages: list[dict[str, Any]] = [{"early_exit": {}}]
    known = Known.of(recipe(stages, "convert: {calibration: entropy}"), None)
    assert known.addable == frozenset()
    found = of(PLAIN, known)
    assert found.setting == "convert: {precision: int16x8, calibration: min_max}"
    assert recipe(stages, found.setting).name == "x"


HEALTHY = replace(erring(channel_noise=1e-4), layer=replace(LAYER, sqnr_db=30.0))
FAILED = Check.at_most("max_accuracy_drop", 0.023, 0.01, "share")


def test_no_layer_of_a_model_that_lost_too_much_is_told_that_nothing_has_to_be_done() -> None:
    told = recipe([{"prune": {}}])
    known = [Known.of(told, None, checks=[replace(FAILED, status=status)]) for status in ("pass", "fail")]
    within, lost = (of(HEALTHY, one) for one in known)
    assert (within.remedy, within.setting) == ("nothing has to be done", "")
    assert lost.reason.endswith("the model loses 2.30 points, where 1.00 are allowed, some of them perhaps in prune")
    assert lost.setting == advice.TRAINED
    # What was measured still comes first, and what is not healthy is told as ever.
    stretched = replace(HEALTHY, error=replace(HEALTHY.error, usual=(0.0, 4.0), bin_width=1e-3))
    assert of(stretched, known[1]).setting == "convert: {calibration: percentile}"
    assert of(PLAIN, known[1]) == of(PLAIN, known[0])


def test_where_a_search_was_not_enough_more_layers_are_kept_or_all_are_in_int16() -> None:
    searched = Known.of(recipe([]), replace(RECORD, kept_in="int16"), checks=[FAILED])
    kept = of(HEALTHY, searched)
    assert "others" in kept.remedy
    other = named(HEALTHY, "other")
    assert of(other, searched).setting == f"{{{advice.TRAINED}, convert: {{mixed_precision: null}}}}"
    untrained = replace(searched, addable=frozenset())
    assert of(other, untrained).setting == "convert: {mixed_precision: {keep_in: int16, max_accuracy_drop: 0.005}}"
    missed = replace(untrained, mixed=replace(RECORD, value=0.5))
    assert of(other, missed).setting == "convert: {precision: int16x8, mixed_precision: null}"


def test_another_precision_is_called_by_its_name_and_has_remedies_of_its_own() -> None:
    assert of(INT4).reason.startswith("int4's own rounding")
    assert of(INT4).setting == "convert: {precision: int8}"
    assert of(INT16).reason.startswith("int16x8's own rounding")
    assert of(INT16, replace(ALL, calibration="mse")).setting == "convert: {precision: float16, calibration: min_max}"
    # The stage simulates int8: of four bits it knows nothing.
    shifted = replace(INT4, error=replace(ERROR, shift=0.9))
    assert "correct_bias" not in of(shifted).setting
    wide = replace(INT16, error=replace(ERROR, usual=(0.0, 2.0), bin_width=1e-6))
    assert of(wide).reason.startswith("int16 covers 0 … 10")


def test_only_stages_that_may_still_come_are_advised() -> None:
    assert "qat" in Known.of(recipe([{"train": {}}]), None).addable
    trained = Known.of(recipe([{"train": {}}, {"qat": {"epochs": 4}}]), None)
    assert (trained.addable, trained.qat_epochs) == (frozenset(), 4)
    assert "equalize" not in Known.of(recipe([{"equalize": {}}]), None).addable
    assert "equalize" not in Known.of(recipe([{"cluster": {}}]), None).addable


@pytest.mark.parametrize(
    "setting",
    [
        advice.MIXED,
        *(f"convert: {{calibration: {name}}}" for name in ("percentile", "mse", "min_max")),
        "convert: {granularity: per_channel}",
        "convert: {calibration_samples: 1000}",
        *(f"stages: [{{{name}: {{}}}}]" for name in sorted(advice.ADVISED)),
        advice._more_epochs(3),
    ],
)
def test_a_recipe_takes_what_is_advised(setting: str) -> None:
    assert recipe([], setting).name == "x"


def test_what_no_stage_can_do_is_not_advised() -> None:
    spread = erring(channel_spread=1000.0)
    assert of(spread, Known()).setting == advice.MIXED
    assert of(erring(shift=0.9), Known()).setting == advice.MIXED


def named(one: Evidence, name: str, *sources: str) -> Evidence:
    return replace(one, layer=replace(one.layer, name=name), sources=sources)


def test_noise_is_traced_to_where_it_comes_from() -> None:
    first = named(erring(channel_spread=1000.0, channel_noise=0.15), "depthwise")
    second, third = named(PLAIN, "pointwise", "depthwise"), named(PLAIN, "logits", "pointwise")
    found = of(third, ALL, first, second)
    assert found.reason.startswith("what comes from 'depthwise' has 8.2 dB already")
    assert (found.remedy, found.setting) == ("mend 'depthwise' first", "stages: [{equalize: {}}]")


def test_a_wide_range_is_not_to_blame_where_other_noise_is_larger() -> None:
    assert "covers" in of(erring(usual=(0.0, 2.0))).reason
    assert "covers" not in of(erring(usual=(0.0, 2.0), bin_width=0.02)).reason
    # Nor is the little that is clipped, where the worst error is far larger.
    assert "reach" not in of(erring(usual=(0.0, 10.5), worst=5.0)).reason


def test_channels_that_are_all_lost_are_not_the_fault_of_their_scale() -> None:
    assert "scale" not in of(erring(channel_spread=1000.0, lost_channels=8)).reason


def test_noise_that_is_a_layer_s_own_is_not_put_on_others() -> None:
    clean = named(replace(erring(channel_noise=0.001), layer=replace(LAYER, sqnr_db=30.0)), "before")
    assert "own rounding" in of(named(PLAIN, "after", "before"), ALL, clean).reason


def test_layers_that_read_each_other_end_the_tracing() -> None:
    one, other = named(PLAIN, "step", "state"), named(PLAIN, "state", "step")
    assert of(one, ALL, other).setting


def test_a_layer_that_the_metric_needs_is_told_first_and_never_called_healthy() -> None:
    healthy = replace(erring(channel_noise=1e-4), layer=replace(LAYER, sqnr_db=40.0))
    record = replace(RECORD, kept=(), gains=(LayerGain("conv", 0.05, 40.0),))
    found = of(healthy, replace(ALL, mixed=record))
    assert found.gain == 0.05
    assert "nothing has to be done" not in found.remedy
    # In int16 it is measured as well, and has been mended.
    kept = of(healthy, replace(ALL, mixed=replace(record, kept_in="int16", kept=("conv",))))
    assert kept.remedy == "nothing has to be done"


def test_evidence_is_read_from_the_files() -> None:
    model, reference = parse_graph(INT8), parse_graph(FLOAT32)
    rows = tuple(
        replace(LAYER, name=name, error=replace(ERROR, channel_noise=noise))
        for name, noise in (("conv", 0.001), ("logits", 0.5))
    )
    conv, logits = gathered(rows, model, reference)
    tensor = model.tensors[model.operators[0].outputs[0]]
    assert conv.covered[1] - conv.covered[0] == pytest.approx(255 * tensor.scales[0])
    assert (conv.weight_channels, conv.scales, conv.lost_weight_channels) == (4, 4, 0)
    assert conv.weight_spread > 1
    assert (conv.sources, logits.sources) == ((), ("conv",))
    # A pixel of 0 to 1, of which the model takes all; the layer behind reads none.
    assert conv.fed == pytest.approx((0.0, 1.0), abs=0.01)
    assert logits.fed is None
    advised = advice.advise(rows, model, reference, ALL)
    assert [one.layer for one in advised] == ["logits", "conv"]


def test_a_run_tells_the_advice_which_checks_failed() -> None:
    model = parse_graph(INT8)
    quiet = replace(LAYER, sqnr_db=40.0, error=replace(ERROR, channel_noise=1e-4))
    rows = tuple(replace(quiet, name=name) for name in ("conv", "logits"))
    inputs, outputs = (TensorSpec.of(model.tensors[side[0]]) for side in (model.inputs, model.outputs))
    artifact = Artifact(DATA / "tiny_int8.tflite", "", len(INT8), 0, "", (inputs,), (outputs,))
    split = ArraySplit(np.zeros((2, *inputs.shape[1:]), np.float32), np.zeros(2, np.int64))
    data = Dataset(Anomaly(), split, split, split, inputs.shape[1:], 1, (), "00", "zeros")
    score = Score(0.5, {}, np.zeros(2, np.float32))
    for check, told in ((replace(FAILED, status="pass"), False), (FAILED, True)):
        found = flow._advice(recipe([]), data, Proof(score, score, (check,), rows), artifact, FLOAT32)
        assert len(found) == 2
        assert all(("loses 2.30 points" in one.reason) is told for one in found)
        assert all(("nothing has to be done" in one.remedy) is not told for one in found)


def test_layers_that_were_not_measured_get_no_advice() -> None:
    model, reference = parse_graph(INT8), parse_graph(FLOAT32)
    rows = tuple(replace(LAYER, name=name, error=None) for name in ("conv", "logits"))
    assert advice.advise(rows, model, reference) == ()
    whole = tuple(replace(LAYER, error=replace(ERROR, channel_noise=0.0), sqnr_db=float("inf")) for _ in rows)
    assert advice.advise(whole, model, reference) == ()
