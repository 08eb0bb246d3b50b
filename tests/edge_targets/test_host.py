"""The host target: real interpreters in real child processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import BenchmarkPlan, TargetError, UnusableModel, WrongInput
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import read_graph, weight_tensors

QUICK = BenchmarkPlan(num_runs=50, warmup_runs=5, min_secs=0, max_secs=2)


def by_hand(model: Path, x: NDArray[Any]) -> NDArray[Any]:
    """What the float net gives, computed with numpy alone: (n, 3) of (n, 8, 8, 1)."""
    graph = read_graph(model)
    kernels = {operator.name: tensor.values() for operator, tensor in weight_tensors(graph)}
    views: Any = np.lib.stride_tricks.sliding_window_view
    windows = views(x[..., 0], (3, 3), axis=(1, 2))
    features = np.maximum(np.einsum("nijkl,okl->nijo", windows, kernels["conv"][..., 0]), 0)
    logits: NDArray[Any] = features.reshape(len(x), -1) @ kernels["logits"].T
    return logits


def test_outputs_are_those_of_the_model(float_model: Path) -> None:
    x = np.random.default_rng(3).random((7, 8, 8, 1), np.float32)
    outputs = HostTarget().evaluate(float_model, iter([x[:4], x[4:]]))
    assert outputs.shape == (7, 3)
    assert outputs == pytest.approx(by_hand(float_model, x), abs=1e-5)


@pytest.mark.parametrize("runtime", ["ai_edge_litert", "tflite_runtime"])
def test_int8_outputs_of_both_runtimes(runtime: str, int8_model: Path) -> None:
    x = np.random.default_rng(3).integers(-128, 128, (20, 8, 8, 1)).astype(np.int8)
    outputs = HostTarget().evaluate(int8_model, [x], runtime=runtime)  # type: ignore[arg-type]
    reference = HostTarget().evaluate(int8_model, [x])
    assert outputs.dtype == np.int8
    assert np.abs(outputs.astype(int) - reference.astype(int)).max() <= 4


def test_a_benchmark_measures_every_model_in_one_run(float_model: Path, int8_model: Path) -> None:
    found = HostTarget().benchmark({"float32": float_model, "int8": int8_model}, QUICK)
    assert list(found) == ["float32", "int8"]
    for name, one in found.items():
        assert (one.target, one.model, one.provenance) == ("host", name, "host")
        assert one.runs >= 50
        assert one.runs == len(one.latencies_us)
        assert one.median_ci_us is not None
        assert one.min_us is not None
        assert one.median_us is not None
        assert one.min_us <= one.median_ci_us[0] <= one.median_us <= one.median_ci_us[1]
        assert one.runtime == "ai_edge_litert"
        assert one.runtime_version[0].isdigit()
        assert one.load_us
        assert one.first_us
        assert one.p99_us is None
    assert found["int8"].runs == found["float32"].runs


def test_wrong_examples_are_refused(int8_model: Path) -> None:
    with pytest.raises(WrongInput, match="the model takes int8"):
        HostTarget().evaluate(int8_model, [np.zeros((2, 8, 8, 1), np.float32)])
    with pytest.raises(WrongInput, match="9x8x1"):
        HostTarget().evaluate(int8_model, [np.zeros((2, 9, 8, 1), np.int8)])
    with pytest.raises(WrongInput, match="no examples"):
        HostTarget().evaluate(int8_model, [])


def test_a_missing_runtime_is_named(int8_model: Path) -> None:
    with pytest.raises(TargetError, match="No interpreter could be imported"):
        HostTarget().evaluate(int8_model, [np.zeros((1, 8, 8, 1), np.int8)], runtime="nothing")  # type: ignore[arg-type]


def test_a_model_that_crashes_the_interpreter_is_an_error_with_a_sentence(crashing_model: Path) -> None:
    with pytest.raises(UnusableModel, match="SIG") as caught:
        HostTarget().benchmark({"broken": crashing_model}, QUICK)
    assert caught.value.exit_code == 3


def test_garbage_and_missing_models_are_refused(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.tflite"
    garbage.write_bytes(b"\x1c\0\0\0TFL3" + bytes(200))
    with pytest.raises(UnusableModel):
        HostTarget().benchmark({"garbage": garbage}, QUICK)
    with pytest.raises(UnusableModel, match="no model file"):
        HostTarget().benchmark({"nothing": tmp_path / "nothing.tflite"}, QUICK)
