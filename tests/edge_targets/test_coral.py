"""The target coral: without hardware it calculates and says so; with compiler and delegate, by stand-ins that do what
the real ones do, it compiles, hands over, runs and tells where."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, DeviceError, ToolMissing, Unsupported, UnusableModel
from edge_targets._edgetpu_map import COMPILED
from edge_targets._edgetpu_node import Status
from edge_targets._placement import Placements, PlacesOperators
from edge_targets._reference import golden_vectors
from edge_targets.coral import CoralTarget
from tests.edge_targets import edgetpu_stand_in as stand_in
from tests.edge_targets.edgetpu_stand_in import MAPPED
from tests.edge_targets.one_operator import Operator, Tensor, model
from tests.edge_targets.ssh_server import serving

PLAN = BenchmarkPlan(warmup_runs=1, num_runs=20, min_secs=0.0, max_secs=2.0)
NO_TOOLS: dict[str, Any] = {"compiler": "no_such_compiler", "library": "libno_such_library.so.1"}
ROWS = [("RELU", 2, MAPPED)]
RESULT = 42


@pytest.fixture
def relu_model(tmp_path: Path) -> Path:
    path = tmp_path / "relu.tflite"
    tensors = dict.fromkeys("abc", Tensor((1, 16)))
    path.write_bytes(model(tensors, [Operator("RELU", "a", "b"), Operator("RELU", "b", "c")]))
    return path


@pytest.fixture
def compiler(tmp_path: Path) -> str:
    """One that maps both operators."""
    return stand_in.program(tmp_path, stand_in.success(ROWS), stand_in.log(ROWS), stand_in.compiled(0))


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Delegates that do what libedgetpu does: one with a device, one without."""
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("there is no C compiler (cc) to build the delegate's stand-in with")
    folder = tmp_path_factory.mktemp("delegates")
    source = Path(__file__).with_name("delegate_stand_in.c")
    found = {}
    for name, flags in (("device", []), ("no_device", ["-DNO_DEVICE"])):
        found[name] = str(folder / f"lib{name}.so")
        subprocess.run([cc, "-shared", "-fPIC", *flags, "-o", found[name], str(source)], check=True, timeout=60)
    yield found


# ---- without ----


def test_without_hardware_it_calculates_and_says_so(int8_model: Path, float_model: Path) -> None:
    found = CoralTarget(**NO_TOOLS).benchmark({"float32": float_model, "int8": int8_model}, PLAN)
    assert {one.provenance for one in found.values()} == {"simulated"}
    int8 = found["int8"]
    assert (int8.kernels, found["float32"].kernels) == ("edgetpu", "cpu")
    assert (int8.runs, int8.latencies_us, int8.p90_us, int8.median_ci_us) == (0, (), None, None)
    assert int8.median_us is not None
    assert int8.median_us > 270
    assert int8.first_us is not None
    assert int8.first_us > int8.median_us
    assert "simulated" in int8.device.cpu_model
    assert int8.to_json()["provenance"] == "simulated"


def test_who_wants_hardware_gets_the_command_that_brings_what_is_missing(int8_model: Path) -> None:
    target = CoralTarget(**NO_TOOLS, simulate=False)
    with pytest.raises(ToolMissing, match=r"libno_such_library\.so\.1 is not here") as caught:
        target.benchmark({"int8": int8_model}, PLAN)
    assert "apt-get install libedgetpu1-std" in caught.value.mend
    with pytest.raises(ToolMissing, match=r"libno_such_library"):
        CoralTarget(**NO_TOOLS).evaluate(int8_model, [np.zeros((1, 8, 8, 1), np.int8)])
    with pytest.raises(ToolMissing, match="no_such_compiler") as caught:
        target.prepare(int8_model)
    assert "apt-get install edgetpu-compiler" in caught.value.mend


def test_a_slower_link_takes_longer_and_a_compiled_model_is_not_calculated(relu_model: Path, tmp_path: Path) -> None:
    fast, slow = (
        CoralTarget(simulate=True, **CoralTarget.at(f"link={link}"))
        .benchmark({"m": relu_model}, PLAN)["m"]
        .must_have_median()
        for link in ("usb3", "usb2")
    )
    assert slow > fast
    compiled = tmp_path / "compiled.tflite"
    compiled.write_bytes(stand_in.compiled(0))
    with pytest.raises(UnusableModel, match="is compiled"):
        CoralTarget(simulate=True).benchmark({"m": compiled}, PLAN)


def test_it_can_be_asked_what_it_would_run() -> None:
    assert isinstance(CoralTarget(), PlacesOperators)


# ---- with a compiler ----


def placed_by(compiler: str, path: Path) -> tuple[list[str], Placements]:
    found = CoralTarget(compiler=compiler).places(path)
    return [one.runs_on for one in found.operators], found


def test_inspect_asks_an_installed_compiler_and_agrees(relu_model: Path, compiler: str) -> None:
    places, found = placed_by(compiler, relu_model)
    assert places == ["edgetpu", "edgetpu"]
    assert found.notes == ()
    assert (found.facts["compiler"], found.facts["provenance"]) == (stand_in.VERSION, "simulated")


def test_what_the_compiler_leaves_behind_is_not_called_on_the_edgetpu(relu_model: Path, tmp_path: Path) -> None:
    tensors = dict.fromkeys("abc", Tensor((1, 16)))
    file = model(tensors, [Operator("CUSTOM", "a", "b", custom=COMPILED), Operator("RELU", "b", "c")])
    rows = [("RELU", 1, MAPPED), ("RELU", 1, Status.LIMITED)]
    compiler = stand_in.program(tmp_path, stand_in.success(rows), stand_in.log(rows), file)
    places, found = placed_by(compiler, relu_model)
    assert places == ["edgetpu", "cpu"]
    assert str(Status.LIMITED) in found.operators[1].why
    assert found.operators[1].remedy
    assert found.notes == ("edgetpu_compiler and the prediction differ: RELU: 1 on the Edge TPU, 2 were predicted",)


def test_what_the_compiler_maps_beyond_the_prediction_is_on_the_edgetpu(tmp_path: Path) -> None:
    path = tmp_path / "elu.tflite"
    tensors = dict.fromkeys("abc", Tensor((1, 16)))
    path.write_bytes(model(tensors, [Operator("RELU", "a", "b"), Operator("ELU", "b", "c")]))
    rows = [("RELU", 1, MAPPED), ("ELU", 1, MAPPED)]
    places, found = placed_by(
        stand_in.program(tmp_path, stand_in.success(rows), stand_in.log(rows), stand_in.compiled(0)), path
    )
    assert places == ["edgetpu", "edgetpu"]
    assert "not foretold" in found.operators[1].why


def test_a_model_that_the_compiler_refuses_is_not_called_on_the_edgetpu(relu_model: Path, tmp_path: Path) -> None:
    said = f"Edge TPU Compiler version {stand_in.VERSION}\nInternal compiler error. Aborting!\n"
    places, found = placed_by(stand_in.program(tmp_path, said, last="sys.exit(1)"), relu_model)
    assert places == ["cpu", "cpu"]
    assert "Internal compiler error" in found.operators[0].why
    assert "Internal compiler error" in found.notes[0]
    assert "estimate_us" not in found.facts


def test_a_compiler_that_talks_nonsense_is_told_beside_the_prediction(relu_model: Path, tmp_path: Path) -> None:
    places, found = placed_by(stand_in.program(tmp_path, "hello"), relu_model)
    assert places == ["edgetpu", "edgetpu"]
    assert "cannot be trusted" in found.notes[0]


# ---- with an Edge TPU ----


def test_a_model_is_compiled_handed_over_and_measured(
    relu_model: Path, float_model: Path, compiler: str, libraries: dict[str, str]
) -> None:
    target = CoralTarget(compiler=compiler, library=libraries["device"])
    found = target.benchmark({"float32": float_model, "int8": relu_model}, PLAN)
    int8 = found["int8"]
    assert (int8.provenance, int8.kernels, int8.delegate) == ("device", "edgetpu", libraries["device"])
    assert len(int8.latencies_us) == int8.runs >= 20
    assert found["float32"].kernels == "cpu"


def test_its_outputs_are_the_devices(relu_model: Path, compiler: str, libraries: dict[str, str]) -> None:
    target = CoralTarget(compiler=compiler, library=libraries["device"])
    outputs = target.evaluate(relu_model, [np.zeros((3, 16), np.int8)])
    # The processor would give zeros: this is what the delegate writes.
    assert outputs.tolist() == [[RESULT] * 16] * 3


def test_a_compiled_model_with_operators_left_is_not_called_on_the_edgetpu(
    tmp_path: Path, libraries: dict[str, str]
) -> None:
    path = tmp_path / "partly_edgetpu.tflite"
    path.write_bytes(stand_in.compiled(2))
    [found] = CoralTarget(**NO_TOOLS | {"library": libraries["device"]}).benchmark({"m": path}, PLAN).values()
    assert (found.kernels, found.provenance) == ("edgetpu+cpu", "device")


def test_without_a_device_plugged_in_that_is_said(relu_model: Path, compiler: str, libraries: dict[str, str]) -> None:
    target = CoralTarget(compiler=compiler, library=libraries["no_device"])
    with pytest.raises(DeviceError, match=r"finds no device that is plugged in.*Failed to open device"):
        target.benchmark({"int8": relu_model}, PLAN)


def test_a_library_that_is_no_delegate_is_said_to_be_none(relu_model: Path, compiler: str) -> None:
    with pytest.raises(ToolMissing, match=r"The delegate libm\.so\.6 could not be loaded"):
        CoralTarget(compiler=compiler, library="libm.so.6", simulate=False).benchmark({"int8": relu_model}, PLAN)


def test_prepare_puts_the_compiled_model_beside_the_other(relu_model: Path, compiler: str) -> None:
    prepared = CoralTarget(compiler=compiler).prepare(relu_model)
    assert prepared == relu_model.with_name("relu_edgetpu.tflite")
    assert prepared.read_bytes() == stand_in.compiled(0)
    assert prepared.with_suffix(".log").exists()


def test_a_compiler_that_maps_nothing_is_an_error_and_no_calculation(
    relu_model: Path, tmp_path: Path, libraries: dict[str, str]
) -> None:
    rows = [("RELU", 2, "Operation not supported")]
    program = stand_in.program(tmp_path, stand_in.success(rows), stand_in.log(rows), stand_in.compiled(2, 0))
    with pytest.raises(UnusableModel, match="maps none"):
        CoralTarget(compiler=program, library=libraries["device"]).benchmark({"int8": relu_model}, PLAN)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The settings of a board that answers ssh."""
    with serving(tmp_path / "server") as server:
        login = server.login()
        names = ("host", "user", "port", "key_file", "known_hosts")
        yield {**{name: getattr(login, name) for name in names}, "python": sys.executable}


def test_over_ssh_a_model_is_compiled_here_and_runs_on_the_board(
    relu_model: Path, float_model: Path, compiler: str, libraries: dict[str, str], board: dict[str, Any]
) -> None:
    target = CoralTarget(compiler=compiler, library=libraries["device"], **board)
    found = target.benchmark({"float32": float_model, "int8": relu_model}, PLAN)["int8"]
    assert (found.target, found.provenance, found.kernels) == ("coral", "device", "edgetpu")
    assert (found.delegate, found.runs >= 20) == (libraries["device"], True)
    outputs = target.evaluate(relu_model, [np.zeros((3, 16), np.int8)])
    assert outputs.tolist() == [[RESULT] * 16] * 3
    assert not target.check(relu_model, golden_vectors(relu_model)).ok
    assert target.info().cores >= 1


def test_a_board_without_the_delegate_is_not_calculated_instead(
    relu_model: Path, compiler: str, board: dict[str, Any]
) -> None:
    target = CoralTarget(compiler=compiler, library="libno_such_library.so.1", **board)
    for attempt in (
        lambda: target.benchmark({"m": relu_model}, PLAN),
        lambda: target.check(relu_model, golden_vectors(relu_model)),
    ):
        with pytest.raises(ToolMissing, match=r"libno_such_library\.so\.1 could not be loaded"):
            attempt()


def test_a_board_is_an_address() -> None:
    assert CoralTarget.at("mendel@board:2222") == {"user": "mendel", "host": "board", "port": 2222}
    assert CoralTarget.at("link=usb2") == {"link": "usb2"}


def test_what_it_stands_on_is_this_machine() -> None:
    assert CoralTarget().info().cores >= 1


def test_a_calculation_has_no_outputs_to_be_held_against_others(int8_model: Path) -> None:
    golden = golden_vectors(int8_model)
    for target in (CoralTarget(**NO_TOOLS), CoralTarget(simulate=True)):
        with pytest.raises(Unsupported, match="only calculates"):
            target.check(int8_model, golden)
    with pytest.raises(ToolMissing, match="libno_such_library"):
        CoralTarget(**NO_TOOLS, simulate=False).check(int8_model, golden)


def test_wrong_outputs_of_the_device_are_found(relu_model: Path, compiler: str, libraries: dict[str, str]) -> None:
    parity = CoralTarget(compiler=compiler, library=libraries["device"]).check(relu_model, golden_vectors(relu_model))
    assert not parity.ok
