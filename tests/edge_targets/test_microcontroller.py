"""The target microcontroller, with the real interpreter and the real compiler; a stand-in where those must fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, ToolMissing, Unsupported, UnusableModel
from edge_targets._placement import PlacesOperators
from edge_targets._reference import golden_vectors
from edge_targets._vela import ACCELERATORS
from edge_targets.microcontroller import MicrocontrollerTarget
from tests.edge_targets import vela_stand_in as stand_in
from tests.edge_targets.one_operator import Operator, Tensor, model, one_operator

PLAN = BenchmarkPlan()


def target(**settings: Any) -> MicrocontrollerTarget:
    """With one accelerator, where a test does not ask for them all: Vela takes a second for each."""
    return MicrocontrollerTarget(**{"all_accelerators": False, **settings})


@pytest.fixture
def tile_model(tmp_path: Path) -> Path:
    """An operator that the interpreter has no kernel for, and Ethos-U does."""
    path = tmp_path / "tile.tflite"
    tensors = {"a": Tensor((1, 16)), "b": Tensor((1, 16))}
    path.write_bytes(model(tensors, [Operator("RELU_N1_TO_1", "a", "b")]))
    return path


@pytest.fixture
def impossible(tmp_path: Path) -> Path:
    path = tmp_path / "impossible.tflite"
    path.write_bytes(one_operator("POW", [Tensor((1, 16))] * 2, [Tensor((1, 16))]))
    return path


def test_every_accelerator_is_calculated_and_says_so(int8_model: Path, float_model: Path) -> None:
    found = MicrocontrollerTarget().benchmark({"float32": float_model, "int8": int8_model}, PLAN)
    int8, floats = found["int8"], found["float32"]
    assert (int8.provenance, int8.kernels, int8.runtime) == ("simulated", "ethos-u", "vela")
    assert (int8.runs, int8.latencies_us, int8.median_ci_us, int8.p90_us) == (0, (), None, None)
    assert sorted(one.accelerator for one in int8.npu) == sorted(ACCELERATORS)
    assert int8.npu[0].accelerator == int8.device.machine == "ethos-u55-128"
    assert int8.median_us == int8.npu[0].inference_us
    assert all(one.cycles and one.sram_bytes and one.flash_bytes and one.clock_hz == 5e8 for one in int8.npu)
    assert "simulated" in int8.device.cpu_model
    # Half the multipliers, more cycles.
    cycles = {one.accelerator: one.cycles for one in int8.npu}
    assert cycles["ethos-u55-32"] > cycles["ethos-u55-256"]
    # A float model runs on the processor, of whose time nothing is known: no figure is made up.
    assert (floats.kernels, floats.median_us, floats.npu) == ("tflm", None, ())
    assert floats.arena_bytes is not None
    assert int8.arena_bytes is not None
    assert floats.arena_bytes > int8.arena_bytes
    assert int8.to_json()["npu"][0]["accelerator"] == "ethos-u55-128"


def test_a_part_of_a_model_has_no_latency(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(stand_in.relus())
    program = stand_in.program(tmp_path, file=stand_in.compiled(1))
    found = target(vela=program).benchmark({"m": path}, PLAN)["m"]
    assert (found.kernels, found.median_us, found.npu[0].cycles) == ("ethos-u+tflm", None, 1500)
    assert found.npu[0].cpu_kinds == ("RELU",)


def test_a_processor_alone_needs_no_compiler(int8_model: Path) -> None:
    alone = target(accelerator="none", vela="no_such_vela")
    found = alone.benchmark({"int8": int8_model}, PLAN)["int8"]
    assert (found.kernels, found.median_us, found.npu, found.runtime) == ("tflm", None, (), "tflite_micro")
    assert set(alone.places(int8_model).counts()) == {"cpu"}
    assert alone.prepare(int8_model) == int8_model


def test_without_the_compiler_the_command_is_named_that_brings_it(int8_model: Path) -> None:
    without = target(vela="no_such_vela")
    with pytest.raises(ToolMissing, match="'no_such_vela'") as caught:
        without.benchmark({"int8": int8_model}, PLAN)
    assert caught.value.mend == "pip install 'edgesmith[mcu]'"
    # What the graph tells, it tells all the same.
    assert without.places(int8_model).counts() == {"ethos-u": 3}


def test_inspect_asks_the_tools_that_are_here(int8_model: Path) -> None:
    found = target().places(int8_model)
    assert (found.counts(), found.notes) == ({"ethos-u": 3}, ())
    assert found.facts["cycles"] > 0
    assert found.facts["arena_bytes"] >= found.facts["arena_least_bytes"] > 0
    assert found.facts["provenance"] == "simulated"


def test_what_vela_leaves_is_not_called_on_the_npu(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(stand_in.relus())
    said = "Warning (supported operators) operator: RELU, ofm: 'c'\nReason: it does not like it\n"
    program = stand_in.program(tmp_path, said, file=stand_in.compiled(1))
    found = target(vela=program).places(path)
    assert [one.runs_on for one in found.operators] == ["ethos-u", "cpu"]
    assert found.operators[1].why == "Vela: it does not like it"
    assert found.operators[1].remedy


@pytest.mark.parametrize(("last", "what"), [("sys.exit(1)", "exit code 1"), ("print('x' * 10)", "cannot be trusted")])
def test_a_compiler_that_fails_is_told_beside_the_prediction(last: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(stand_in.relus())
    found = target(vela=stand_in.program(tmp_path, table=None, last=last)).places(path)
    assert found.counts() == {"ethos-u": 2}
    assert what in found.notes[0]


def test_a_model_too_large_is_told_by_what_the_interpreter_takes(int8_model: Path) -> None:
    [note] = target(accelerator="none", sram_kib=1).places(int8_model).notes
    assert "of SRAM at the same time, and there are 1.0 KiB" in note


def test_what_does_not_fit_is_not_measured_and_a_float_model_need_not(int8_model: Path, float_model: Path) -> None:
    small = target(accelerator="none", sram_kib=1)
    with pytest.raises(UnusableModel, match=r"does not fit: its tensors take .* smaller alpha"):
        small.benchmark({"int8": int8_model}, PLAN)
    with pytest.raises(UnusableModel, match=r"KiB of flash, and there are 1\.0 KiB"):
        target(flash_kib=1).benchmark({"int8": int8_model}, PLAN)
    assert small.benchmark({"float32": float_model}, PLAN)["float32"].arena_bytes


def test_what_the_interpreter_says_comes_after_what_the_graph_tells(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(one_operator("RELU_N1_TO_1", [Tensor((4, 8))], [Tensor((4, 8))]))
    batch, refused = target(accelerator="none").places(path).notes
    assert "has batch 4" in batch
    assert refused.startswith("on the processor alone: TensorFlow Lite Micro refuses the model")


def test_an_operator_that_nothing_runs_is_named_before_anything_is_tried(impossible: Path) -> None:
    for attempt in (
        lambda: target(vela="no_such_vela").benchmark({"m": impossible}, PLAN),
        lambda: target().evaluate(impossible, [np.zeros((1, 16), np.int8)]),
    ):
        with pytest.raises(UnusableModel, match="cannot run POW: Ethos-U has no POW") as caught:
            attempt()
        assert caught.value.mend == "multiply the tensor with itself"


def test_what_only_the_npu_runs_has_figures_and_no_outputs(tile_model: Path) -> None:
    found = target().benchmark({"m": tile_model}, PLAN)["m"]
    assert (found.kernels, found.arena_bytes) == ("ethos-u", None)
    assert found.median_us
    with pytest.raises(Unsupported, match=r"On the processor alone: .*RELU_N1_TO_1"):
        target().check(tile_model, golden_vectors(tile_model))
    with pytest.raises(UnusableModel, match="cannot run RELU_N1_TO_1"):
        target(accelerator="none").check(tile_model, golden_vectors(tile_model))


def test_prepare_compiles_beside_the_model_and_what_is_compiled_is_refused(int8_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(int8_model.read_bytes())
    prepared = target().prepare(path)
    assert prepared == tmp_path / "m_vela.tflite"
    for attempt in (lambda: target().places(prepared), lambda: target().benchmark({"m": prepared}, PLAN)):
        with pytest.raises(UnusableModel, match="is compiled for Ethos-U"):
            attempt()


def test_its_settings_are_an_address_too() -> None:
    settings = MicrocontrollerTarget.at("accelerator=ethos-u65-256,sram_kib=1024")
    assert settings == {"accelerator": "ethos-u65-256", "sram_kib": "1024"}
    assert isinstance(MicrocontrollerTarget(), PlacesOperators)
    assert MicrocontrollerTarget().info().memory_bytes == 512 * 1024
