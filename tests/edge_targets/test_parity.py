"""Parity: what counts as the same model on a device, and where the first layer that differs is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import Disagreement, Golden, Outputs, Parity, Runtime, TargetError, UnusableModel
from edge_targets._first_layer import opened_up
from edge_targets._golden import output_step
from edge_targets._parity import compare
from edge_targets._reference import golden_vectors, noise_inputs
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import parse_graph, read_graph
from tests.edge_targets.faulty import Faulty, with_other_weights
from tests.edge_targets.one_operator import Tensor, one_operator

WANTED = np.array([[10, 20, 30], [5, 4, -100]], np.int8)
GOLDEN = (
    Outputs("xnnpack", "ai_edge_litert", "2.3.0", "x86_64", WANTED),
    Outputs("builtin", "ai_edge_litert", "2.3.0", "x86_64", WANTED + np.int8(2)),
)


def held(values: NDArray[Any], **changed: str) -> Parity:
    """The verdict on a device that gives these values; it runs the same XNNPACK on another processor."""
    found = dataclasses.replace(GOLDEN[0], machine="aarch64", values=values)
    given: dict[str, Any] = {**changed}
    return compare(dataclasses.replace(found, **given), GOLDEN, 1.0)


def moved(by: int) -> NDArray[Any]:
    """The golden outputs with one number moved."""
    values = WANTED.copy()
    values[1, 2] += by
    return values


def test_the_same_kernels_agree_to_the_bit_on_any_processor() -> None:
    assert held(WANTED).exact
    assert held(WANTED).ok
    one = held(moved(1))
    assert (one.ok, one.exact, one.max_steps, one.same_top1) == (False, False, 1, 2)
    assert "must agree to the bit" in one.why


@pytest.mark.parametrize(
    "other",
    [
        {"kernels": "reference"},
        {"kernels": "unknown"},
        {"runtime": "tflite_runtime"},
        {"runtime_version": "2.4.0"},
        {"kernels": "builtin"},  # optimized kernels are other code on another processor
        {"kernels": "tflm", "runtime": "tflite_micro"},
    ],
)
def test_other_kernels_may_be_four_steps_apart(other: dict[str, str]) -> None:
    assert held(moved(-4), **other).ok
    far = held(moved(7), **other)
    assert (far.ok, far.max_steps) == (False, 5)
    assert "4 are allowed" in far.why


def test_a_microcontroller_has_the_plain_kernels_of_tflite_runtime() -> None:
    plain = Outputs("reference", "tflite_runtime", "2.14.0", "x86_64", WANTED)
    later = dataclasses.replace(plain, runtime="ai_edge_litert", runtime_version="2.3.0", values=moved(1))
    found = Outputs("tflm", "tflite_micro", "0.dev1", "x86_64", moved(1))
    # The nearer ones are not those that it must agree with.
    strict = compare(found, (later, plain), 1.0)
    assert (strict.ok, strict.allowed_steps, strict.max_steps) == (False, 0, 1)
    # Where those are not here, others are held to the tolerance.
    assert compare(dataclasses.replace(found, values=WANTED), (later,), 1.0).ok


def test_another_winner_is_refused_unless_it_was_nearly_a_tie() -> None:
    near, far = WANTED.copy(), WANTED.copy()
    near[1, :2] = [4, 5]
    assert held(near, kernels="unknown").ok
    far[0] = [30, 20, 10]
    assert held(far, kernels="unknown").same_top1 == 1


def test_outputs_of_another_shape_or_type_are_never_the_same() -> None:
    assert "int8 (2, 2)" in held(WANTED[:, :2]).why
    assert not held(WANTED.astype(np.int16)).ok


def test_outputs_that_hold_nothing_agree() -> None:
    empty = dataclasses.replace(GOLDEN[0], values=np.zeros((2, 0), np.int8))
    assert compare(empty, (empty,), 1.0).ok


def test_floats_are_held_to_their_own_grid_and_nan_to_nothing() -> None:
    wanted = np.array([[1.0, -2.0, np.nan]], np.float32)
    golden = (dataclasses.replace(GOLDEN[0], values=wanted),)
    drifted = dataclasses.replace(golden[0], values=wanted * np.float32(1 + 1e-6))
    assert compare(drifted, golden, 2.0**-15).ok
    assert not compare(dataclasses.replace(golden[0], values=wanted * np.float32(1.001)), golden, 2.0**-15).ok
    lost = compare(dataclasses.replace(golden[0], values=np.full_like(wanted, np.inf)), golden, 2.0**-15)
    assert (lost.ok, lost.max_steps) == (False, None)
    assert "no finite number" in lost.why


def test_the_grid_of_an_output(int8_model: Path, float_model: Path) -> None:
    assert output_step(int8_model, WANTED) == 1
    assert output_step(float_model, np.array([[0.5, -2.0]], np.float32)) == 2 * 2.0**-16


# ---- golden vectors ----


@pytest.fixture(scope="module")
def golden() -> Golden:
    return golden_vectors(Path(__file__).parent / "data" / "tiny_int8.tflite")


def test_golden_vectors_name_their_kernels(golden: Golden) -> None:
    assert golden.inputs.shape == (8, 8, 8, 1)
    assert len(np.unique(golden.inputs)) > 150
    kernels = {(each.kernels, each.runtime) for each in golden.outputs}
    assert {("xnnpack", "ai_edge_litert"), ("builtin", "ai_edge_litert"), ("reference", "ai_edge_litert")} <= kernels


def test_golden_vectors_come_back_from_a_folder(golden: Golden, tmp_path: Path) -> None:
    golden.save(tmp_path)
    assert all(path.name.startswith("golden-") for path in tmp_path.iterdir())
    found = Golden.load(tmp_path)
    assert (found.inputs == golden.inputs).all()
    facts = sorted((each.kernels, each.runtime, each.runtime_version, each.machine) for each in found.outputs)
    assert facts == sorted((each.kernels, each.runtime, each.runtime_version, each.machine) for each in golden.outputs)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "golden-inputs.npy").unlink(),
        lambda folder: (folder / "golden-inputs.npy").write_bytes(b"\x93NUMPY"),
        lambda folder: np.save(folder / "golden-inputs.npy", np.zeros((3, 8, 8, 1), np.int8)),
        lambda folder: np.save(folder / "golden-inputs.npy", np.array([{}], object), allow_pickle=True),
        lambda folder: [path.unlink() for path in folder.glob("golden-outputs-*")],
    ],
)
def test_golden_vectors_that_are_not_whole_are_refused(
    harm: Callable[[Path], object], golden: Golden, tmp_path: Path
) -> None:
    golden.save(tmp_path)
    harm(tmp_path)
    with pytest.raises(TargetError):
        Golden.load(tmp_path)


def test_a_model_that_crashes_has_no_golden_vectors(crashing_model: Path) -> None:
    with pytest.raises(UnusableModel):
        golden_vectors(crashing_model, np.zeros((1, 8, 8, 1), np.int8))


def test_noise_is_the_same_each_time_and_small(int8_model: Path, float_model: Path) -> None:
    assert (noise_inputs(int8_model) == noise_inputs(int8_model)).all()
    assert noise_inputs(float_model, 2).dtype == np.float32


def test_a_model_that_takes_a_single_number_gets_some(tmp_path: Path) -> None:
    model = tmp_path / "scalar.tflite"
    model.write_bytes(one_operator("NEG", [Tensor((), "float32")], [Tensor((), "float32")]))
    assert noise_inputs(model, 3).shape == (3,)


# ---- the first layer ----


@pytest.mark.parametrize("layer", ["conv", "logits"])
def test_a_broken_device_is_found_out_down_to_the_layer(
    layer: str, golden: Golden, int8_model: Path, tmp_path: Path
) -> None:
    parity = Faulty(with_other_weights(int8_model, layer), tmp_path).check(int8_model, golden)
    assert not parity.ok
    assert parity.first_layer == layer
    error = Disagreement("kitchen", parity)
    assert error.exit_code == 3
    assert f"The first layer that differs is '{layer}'" in str(error)


def test_the_host_itself_agrees_with_each_of_its_kernels(golden: Golden, int8_model: Path) -> None:
    for target in (HostTarget(), HostTarget(xnnpack=False), HostTarget(reference=True), HostTarget(xnnpack=True)):
        found = target.check(int8_model, golden)
        assert found.exact, found.why
    assert HostTarget(runtime="tflite_runtime").check(int8_model, golden).runtime.startswith("tflite_runtime")


def test_an_opened_model_has_every_computed_tensor_as_an_output(int8_model: Path) -> None:
    graph = read_graph(int8_model)
    opened = parse_graph(opened_up(int8_model.read_bytes(), graph))
    assert opened.outputs == tuple(index for operator in graph.operators for index in operator.outputs)
    assert opened.operators == graph.operators


@pytest.mark.parametrize("told", [np.zeros(3, np.uint8), np.zeros((5, 2), np.float64), np.zeros(0, np.uint8)])
def test_tensors_of_another_size_name_no_layer(
    told: NDArray[Any], golden: Golden, int8_model: Path, tmp_path: Path
) -> None:
    """A hostile device: its outputs differ, and what it tells of its inside is nonsense."""

    class Hostile(Faulty):
        def _tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
            return np.array(told, np.uint8)

    parity = Hostile(with_other_weights(int8_model, "conv"), tmp_path).check(int8_model, golden)
    assert (parity.ok, parity.first_layer) == (False, "")


@pytest.mark.parametrize("name", ["tiny_float32", "tiny_lstm"])
def test_models_of_every_kind_open_up_and_still_run(name: str) -> None:
    model = Path(__file__).parent / "data" / f"{name}.tflite"
    found = golden_vectors(model, noise_inputs(model, 2))
    # Outputs that are pushed far away are wrong, but every layer agrees: no layer is to blame.
    wrong = Golden(found.inputs, tuple(dataclasses.replace(one, values=one.values + 100) for one in found.outputs))
    parity = HostTarget().check(model, wrong)
    assert (parity.ok, parity.first_layer) == (False, "")
    assert HostTarget().check(model, found).exact
