"""Where the time goes on an emulated board: LiteRT's aarch64 library called through ctypes, and single operators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_targets import BenchmarkPlan
from edge_targets._profile import CUT, LITERT
from edge_targets.tflite_graph import read_graph
from tests.edge_targets.one_operator import Operator, Tensor, model, zeros
from tests.lab.lab import Lab
from tests.lab.test_raspberry_pi import target

PLAN = BenchmarkPlan(num_runs=20, warmup_runs=1, min_secs=0, max_secs=3, cold_starts=0, profile=True)


def test_a_profile_of_an_emulated_board(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tensors = {
        "in": Tensor((64, 512), "float32"),
        "one": zeros(512, 512, dtype="float32"),
        "between": Tensor((64, 512), "float32"),
        "two": zeros(512, 512, dtype="float32"),
        "out": Tensor((64, 512), "float32"),
    }
    full = {"FullyConnectedOptions": {"fusedActivationFunction": 0}}
    path = tmp_path / "products.tflite"
    path.write_bytes(
        model(
            tensors,
            [
                Operator("FULLY_CONNECTED", ["in", "one"], ["between"], full),
                Operator("FULLY_CONNECTED", ["between", "two"], ["out"], full),
            ],
        )
    )
    found = target(lab.pis[0]).benchmark({"m": path}, replace(PLAN))["m"]
    assert (found.provenance, found.no_profile, found.energy_source) == ("emulated", "", "")
    assert found.profile is not None
    assert found.profile_method in (LITERT, CUT)
    assert [row.macs for row in found.profile] == [64 * 512 * 512] * 2
    assert found.roofline is not None
    assert len(read_graph(path).operators) == 2
