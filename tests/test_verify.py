"""Verification looks at bytes: a broken promise is found there, whatever a stage said of itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan
from edge_targets.host import HostTarget
from pipeline import verify
from pipeline.artifact import Artifact, TensorSpec
from pipeline.check import Check, Layer
from pipeline.draft import Draft, Step
from pipeline.settings import Budgets
from pipeline.tasks.classification import Classification

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
    assert verify.dequantize(verify.quantize(x, spec), spec) == pytest.approx(x, abs=0.05 + 1e-6)


def test_what_is_out_of_range_saturates() -> None:
    spec = TensorSpec("x", (1, 2), "int8", 0.1, 0)
    assert verify.quantize(np.array([[1e6, -1e6]], np.float32), spec).tolist() == [[127, -128]]


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
