"""Verification looks at bytes: a broken promise is found there, whatever a stage said of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import parse_graph
from pipeline import verify
from pipeline._sqnr import examples_for, tensor_pairs
from pipeline.artifact import Artifact, TensorSpec, dequantize, quantize
from pipeline.check import Check, Layer
from pipeline.dataset import ArraySplit
from pipeline.draft import Draft, Step
from pipeline.progress import Progress
from pipeline.settings import Budgets
from pipeline.tasks.classification import Classification
from tests.stages.tiny import apply, int8, tiny_data, tiny_draft

DATA = Path(__file__).parent / "edge_targets" / "data"
INT8, FLOAT32 = DATA / "tiny_int8.tflite", DATA / "tiny_float32.tflite"
SPARSE = Draft("{}", (), frozenset({"sparse"}), (Step("prune", {}, 1.0, promises={"min_sparsity": 0.75}),))
LAYERS = (Layer("a", "CONV_2D", 100, 0.5, 3, 8), Layer("b", "CONV_2D", 300, 0.9, 3, 8))


def artifact(**changes: Any) -> Artifact:
    return replace(Artifact(INT8, "00", 1000, 500, "xz", (), ()), **changes)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_int8_is_read_from_the_bytes() -> None:
    layers = verify.layer_table(INT8.read_bytes())
    assert [layer.name for layer in layers] == ["conv", "logits"]
    assert all(layer.bits == 8 for layer in layers)
    plain = Draft("{}", ())
    assert verify.byte_checks(INT8.read_bytes(), layers, plain)[0].status == "pass"
    found = verify.byte_checks(FLOAT32.read_bytes(), layers, plain)[0]
    assert (found.status, found.name) == ("fail", "int8_only")
    assert "float: " in found.why


def test_sparsity_that_was_promised_and_is_not_there_fails() -> None:
    model = INT8.read_bytes()
    found = by_name(verify.byte_checks(model, verify.layer_table(model), SPARSE))["kept_sparsity"]
    assert found.status == "fail"
    assert found.value is not None
    assert found.value < 0.2
    kept = (replace(LAYERS[1], sparsity=0.75),)
    assert by_name(verify.byte_checks(model, kept, SPARSE))["kept_sparsity"].status == "pass"


def test_zeros_are_weights_equal_to_the_zero_point_of_their_channel() -> None:
    assert verify.sparsity(LAYERS) == pytest.approx(0.8)
    assert verify.sparsity(()) == 0.0


@pytest.mark.parametrize(
    ("budgets", "name", "status"),
    [
        ({"max_accuracy_drop": 0.01}, "max_accuracy_drop", "pass"),
        ({"max_accuracy_drop": 0.009}, "max_accuracy_drop", "fail"),
        ({"min_accuracy": 0.98}, "min_accuracy", "pass"),
        ({"min_accuracy": 0.981}, "min_accuracy", "fail"),
        ({"min_sparsity": 0.8}, "min_sparsity", "pass"),
        ({"min_sparsity": 0.81}, "min_sparsity", "fail"),
        ({"max_size_bytes": 1000}, "max_size_bytes", "pass"),
        ({"max_size_bytes": 999}, "max_size_bytes", "fail"),
        ({"max_ota_bytes": 500}, "max_ota_bytes", "pass"),
        ({"max_ota_bytes": 499}, "max_ota_bytes", "fail"),
    ],
)
def test_budgets_are_kept_to_the_last_digit(budgets: dict[str, Any], name: str, status: str) -> None:
    checks = verify.budget_checks(Budgets(**budgets), 0.99, 0.98, artifact(), LAYERS)
    assert {check.name: check.status for check in checks} == {name: status}


def test_only_numbers_of_the_target_itself_decide_a_latency_budget() -> None:
    plan = BenchmarkPlan(num_runs=20, warmup_runs=2, min_secs=0, max_secs=1)
    measured = HostTarget().benchmark({"float32": FLOAT32, "int8": INT8}, plan)["int8"]
    budgets = Budgets(max_median_us={"host": 1e6, "attic": 5})
    checks = by_name(verify.latency_checks(budgets, [measured]))
    assert checks["max_median_us.host"].status == "pass"
    assert checks["max_median_us.attic"].status == "not measured"
    tight = by_name(verify.latency_checks(Budgets(max_median_us={"host": 0.001}), [measured]))
    assert tight["max_median_us.host"].status == "fail"
    emulated = by_name(verify.latency_checks(budgets, [replace(measured, provenance="emulated")]))
    assert emulated["max_median_us.host"].status == "not measured"


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_quantizing_there_and_back_loses_half_a_step_at_most(dtype: str) -> None:
    spec = TensorSpec("x", (1, 4), dtype, 0.1, 0 if dtype != "uint8" else 128)
    x = np.array([[-1.04, 0.0, 0.26, 1.0]], np.float32)
    assert dequantize(quantize(x, spec), spec) == pytest.approx(x, abs=0.05 + 1e-6)


def test_what_is_out_of_range_saturates() -> None:
    spec = TensorSpec("x", (1, 2), "int8", 0.1, 0)
    assert quantize(np.array([[1e6, -1e6]], np.float32), spec).tolist() == [[127, -128]]


def test_agreement_compares_decisions_and_probabilities() -> None:
    logits = np.array([[4, 0], [0, 4]], np.float32)
    same = by_name(verify.agreement_checks(Classification(), logits, logits))
    assert (same["agreement"].value, same["output_error"].value) == (1.0, 0.0)
    assert (same["agreement"].why, same["output_error"].why) == (
        Classification.agreement_meaning,
        Classification.output_error_meaning,
    )
    other = by_name(verify.agreement_checks(Classification(), logits, logits[::-1]))
    assert other["agreement"].value == 0.0
    assert other["output_error"].value == pytest.approx(np.tanh(2), abs=1e-6)


def with_bytes(model: bytes, folder: Path) -> Artifact:
    path = folder / "model.tflite"
    path.write_bytes(model)
    graph = parse_graph(model)
    tensor = graph.tensors[graph.inputs[0]]
    scale, zero_point = (tensor.scales[0], tensor.zero_points[0]) if tensor.scales else (0.0, 0)
    spec = TensorSpec(tensor.name, tensor.shape, tensor.dtype, scale, zero_point)
    return artifact(path=path, inputs=(spec,))


def measured(model: bytes, folder: Path) -> dict[str, Layer]:
    """The layer table of a model, held against the float one on random images."""
    x = np.random.default_rng(0).random((100, 8, 8, 1), np.float32)
    split = ArraySplit(x, np.zeros(100))
    table = verify.layer_table(model)
    return {
        layer.name: layer
        for layer in verify.measured_layers(table, with_bytes(model, folder), FLOAT32.read_bytes(), split)
    }


def test_the_layer_table_says_what_each_layer_costs() -> None:
    conv, logits = verify.layer_table(INT8.read_bytes())
    assert (conv.macs, logits.macs) == (3 * 3 * 4 * 36, 144 * 3)
    assert (conv.macs_share, logits.macs_share) == (0.75, 0.25)
    assert conv.bytes_share == conv.bytes / INT8.stat().st_size
    assert 0.2 < conv.bytes_share + logits.bytes_share < 1


def test_int8_leaves_most_of_a_signal_and_float_all_of_it(tmp_path: Path) -> None:
    layers = measured(INT8.read_bytes(), tmp_path)
    assert all(25 < (layer.sqnr_db or 0) < 60 for layer in layers.values())
    same = measured(FLOAT32.read_bytes(), tmp_path)
    assert [layer.sqnr_db for layer in same.values()] == [np.inf, np.inf]
    assert verify.noise_checks(tuple(same.values())) == []


@pytest.mark.parametrize("name", ["conv", "logits"])
def test_a_layer_whose_scale_is_wrong_is_seen_and_the_worst_one_named(name: str, tmp_path: Path) -> None:
    whole = INT8.read_bytes()
    [operator] = [operator for operator in parse_graph(whole).operators if operator.name == name]
    scale = np.float32(parse_graph(whole).tensors[operator.outputs[0]].scales[0])
    # The layer then saturates: a quarter of what should leave it does.
    broken = whole.replace(scale.tobytes(), np.float32(scale / 4).tobytes())
    layers = measured(broken, tmp_path)
    found = {layer: row.sqnr_db or 0 for layer, row in layers.items()}
    assert found[name] < 15
    # What a layer spoils, those behind it go on with; those before it do not know.
    assert name == "conv" or found["conv"] > 25
    [check] = verify.noise_checks(tuple(layers.values()))
    assert (check.name, check.status, check.limit) == ("worst_layer_sqnr", "pass", None)
    assert check.value == min(found.values())
    assert "'logits'" in check.why


def test_a_layer_that_the_float_model_does_not_have_is_not_measured() -> None:
    quantized, reference = parse_graph(INT8.read_bytes()), parse_graph(FLOAT32.read_bytes())
    assert set(tensor_pairs(reference, quantized)) == {0, 2}
    renamed = tuple(replace(operator, name=f"other_{operator.name}") for operator in reference.operators)
    assert tensor_pairs(replace(reference, operators=renamed), quantized) == {}
    twice = (*reference.operators, replace(reference.operators[0], index=3))
    assert set(tensor_pairs(replace(reference, operators=twice), quantized)) == {2}


def test_a_model_of_many_macs_sees_fewer_examples() -> None:
    assert [examples_for(macs) for macs in (0, 2_000_000, 300_000_000, 10**12)] == [64, 64, 13, 8]


@pytest.mark.tf
def test_a_reference_that_does_not_run_ends_no_proof(tmp_path: Path) -> None:
    from pipeline._tf import keras
    from pipeline.convert import to_float_reference

    layers = keras.layers
    notes: list[str] = []

    class Noted(Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    data, draft = tiny_data(), tiny_draft()
    model = with_bytes(int8(draft, data), tmp_path)
    model = replace(model, outputs=(TensorSpec("logits", (1, 4), "int8", 0.1, 0),))
    # Its last layer is called and shaped alike, but it takes other images.
    stack = [layers.InputLayer((20, 20, 1)), layers.Flatten(), layers.Dense(4, name="logits")]
    other = to_float_reference(Draft.of(keras.Sequential(stack)))
    proof = verify.prove(model, model, draft, data, Budgets(), Noted(), other)
    assert {layer.sqnr_db for layer in proof.layers} == {None}
    assert "worst_layer_sqnr" not in {check.name for check in proof.checks}
    assert [note[:41] for note in notes] == ["no SQNR of the layers: Each example is 16"]


@pytest.mark.tf
def test_the_float_model_inside_a_quantization_aware_one_has_its_weights_and_no_rounding() -> None:
    from pipeline._convert._plain import without_rounding
    from pipeline.stages.qat import Qat

    data = tiny_data()
    draft = tiny_draft()
    aware = apply(Qat(epochs=1, batch_size=32), draft, data)
    plain = without_rounding(aware)
    assert plain.traits == frozenset()
    theirs, ours = ({weight.name: weight.numpy() for weight in one.restore().weights} for one in (aware, plain))
    assert len(ours) == len(draft.weights)
    assert all(np.array_equal(theirs[name], weight) for name, weight in ours.items())
    x = next(data.validation.batches(8))[0]
    apart = np.abs(plain.restore().predict(x, verbose=0) - aware.restore().predict(x, verbose=0)).max()
    assert 1e-5 < apart < 0.1


@pytest.mark.tf
def test_every_layer_of_a_quantization_aware_model_is_measured_on_the_validation_split(tmp_path: Path) -> None:
    from pipeline.convert import to_float_reference
    from pipeline.stages.qat import Qat

    data = tiny_data()
    aware = apply(Qat(epochs=1, batch_size=32), tiny_draft(), data)
    content, reference = int8(aware, data), to_float_reference(aware)
    output = parse_graph(content).tensors[parse_graph(content).outputs[0]]
    logits = TensorSpec(output.name, output.shape, output.dtype, output.scales[0], output.zero_points[0])
    model = replace(with_bytes(content, tmp_path), outputs=(logits,))
    proof = verify.prove(model, model, aware, data, Budgets(), Progress(), reference)
    assert [layer.name for layer in proof.layers] == ["conv", "depthwise", "pointwise", "dense", "logits"]
    assert all(20 < (layer.sqnr_db or 0) < 60 for layer in proof.layers)
    assert by_name(list(proof.checks))["worst_layer_sqnr"].value == min(layer.sqnr_db or 0 for layer in proof.layers)
    table = verify.layer_table(content)
    assert proof.layers == verify.measured_layers(table, model, reference, data.validation)
    assert proof.layers != verify.measured_layers(table, model, reference, data.test)
