"""What a microcontroller would run where, from the graph alone: each rule met and broken, and any file at all."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from edge_targets import UnusableModel
from edge_targets._mcu_places import Memory, placements, predicted, too_large
from edge_targets._placement import Placements
from edge_targets.tflite_graph import parse_graph
from tests.edge_targets.one_operator import (
    Operator,
    Tensor,
    constant,
    model,
    model_that_keeps_busy,
    one_operator,
    zeros,
)
from tests.edge_targets.test_edgetpu_map import mutated
from tests.edge_targets.test_edgetpu_rules import BREAKS, MEETS

DATA = Path(__file__).parent / "data"
MEMORY = Memory(512 * 1024, 2048 * 1024)
PICTURE = Tensor((1, 8, 8, 4))
FLAT = Tensor((1, 16))
CONV = [PICTURE, zeros(4, 1, 1, 4), zeros(4, dtype="int32")]


def placed(content: bytes, *, npu: bool = True) -> Placements:
    graph = parse_graph(content)
    return placements(graph, MEMORY, predicted(graph) if npu else None)


MET = {
    "a convolution": one_operator("CONV_2D", CONV, [PICTURE]),
    "a split, whose data is its second input": one_operator(
        "SPLIT", [constant(3), PICTURE], [Tensor((1, 8, 8, 2)), Tensor((1, 8, 8, 2))]
    ),
    "a deconvolution, whose data is its third": one_operator(
        "TRANSPOSE_CONV", [constant([1, 16, 16, 4]), zeros(4, 2, 2, 4), PICTURE], [Tensor((1, 16, 16, 4))]
    ),
    "twice the size": one_operator("RESIZE_NEAREST_NEIGHBOR", [PICTURE, constant([16, 16])], [Tensor((1, 16, 16, 4))]),
    "a pixel to any size": one_operator(
        "RESIZE_BILINEAR", [Tensor((1, 1, 1, 4)), constant([5, 7])], [Tensor((1, 5, 7, 4))]
    ),
    "a mean over the picture": one_operator("MEAN", [PICTURE, constant([1, 2])], [Tensor((1, 4))]),
    "wide numbers where they may be": one_operator("ADD", [Tensor((1, 4), "int32")] * 2, [Tensor((1, 4), "int32")]),
}


@pytest.mark.parametrize("content", MET.values(), ids=MET)
def test_what_vela_takes_is_on_the_npu(content: bytes) -> None:
    [found] = placed(content).operators
    assert (found.runs_on, found.why, found.remedy) == ("ethos-u", "", "")


LEFT = {
    "no such operator": (one_operator("CUMSUM", [FLAT, constant(1)], [FLAT]), "Ethos-U has no CUMSUM", "Conv2D"),
    "floats": (one_operator("RELU", [Tensor((1, 4), "float32")], [Tensor((1, 4), "float32")]), "is float32", "int8"),
    "wide numbers": (one_operator("RELU", [Tensor((1, 4), "int32")], [FLAT]), "too wide", "every size"),
    "dilation beside its convolution": (
        one_operator("SPACE_TO_BATCH_ND", [PICTURE, constant([2, 2]), constant([[0, 0], [0, 0]])], [PICTURE]),
        "Ethos-U has no SPACE_TO_BATCH_ND",
        "batch_size=1",
    ),
    "an open size": (
        one_operator("RELU", [Tensor((1, 4, 4), open_sizes=(0, 1))], [Tensor((1, 4, 4))]),
        "open size beyond its batch",
        "keras.Input",
    ),
    "no shape": (one_operator("RELU", [Tensor(())], [Tensor(())]), "has no shape", "keras.Input"),
    "thrice the size": (
        one_operator("RESIZE_NEAREST_NEIGHBOR", [PICTURE, constant([24, 24])], [Tensor((1, 24, 24, 4))]),
        "by 2 or 4 or 8, and not (8, 8) to (24, 24)",
        "UpSampling2D",
    ),
    "four times, between the pixels": (
        one_operator(
            "RESIZE_BILINEAR",
            [PICTURE, constant([32, 32])],
            [Tensor((1, 32, 32, 4))],
            {"ResizeBilinearOptions": {"halfPixelCenters": 1}},
        ),
        "by 2, and not",
        "UpSampling2D",
    ),
    "each side by another factor": (
        one_operator("RESIZE_NEAREST_NEIGHBOR", [PICTURE, constant([16, 32])], [Tensor((1, 16, 32, 4))]),
        "not (8, 8) to (16, 32)",
        "UpSampling2D",
    ),
    "a mean over channels": (
        one_operator("MEAN", [PICTURE, constant([-1])], [Tensor((1, 8, 8))]),
        "mean over channels",
        "height and width first",
    ),
    "axes that are computed": (
        one_operator("MEAN", [PICTURE, Tensor((1,), "int32")], [Tensor((1, 8, 8))]),
        "computed while the model runs",
        "keras.Input",
    ),
}


@pytest.mark.parametrize(("content", "why", "remedy"), LEFT.values(), ids=LEFT)
def test_what_it_leaves_is_on_the_cpu_and_says_why(content: bytes, why: str, remedy: str) -> None:
    [found] = placed(content).operators
    assert found.runs_on == "cpu"
    assert why in found.why
    assert remedy in found.remedy


NOWHERE = {
    "no kernel either": (one_operator("POW", [FLAT, FLAT], [FLAT]), "no kernel for POW", "with itself"),
    "a custom operator": (one_operator("CUSTOM", [FLAT], [FLAT], custom="Mine"), "no kernel for Mine", "your own"),
    "half floats": (
        one_operator("RELU", [Tensor((1, 4), "float16")], [Tensor((1, 4), "float16")]),
        "does not compute with float16",
        "fully to int8",
    ),
    "float data, int8 weights": (
        one_operator("FULLY_CONNECTED", [Tensor((1, 4), "float32"), zeros(4, 4)], [Tensor((1, 4), "float32")]),
        "no such hybrid kernels",
        "fully to int8",
    ),
    "what calculates with sizes": (
        one_operator("REDUCE_PROD", [Tensor((2,), "int32"), constant(0)], [Tensor((1,), "int32")]),
        "no kernel for REDUCE_PROD",
        "batch_size=1",
    ),
    "a size that is computed": (
        one_operator("FILL", [Tensor((2,), "int32"), constant(0, "int8")], [Tensor((1, 4))]),
        "memory is laid out before",
        "batch_size=1",
    ),
}


@pytest.mark.parametrize(("content", "why", "remedy"), NOWHERE.values(), ids=NOWHERE)
def test_what_nothing_runs_is_named_with_a_remedy(content: bytes, why: str, remedy: str) -> None:
    [found] = placed(content).operators
    assert found.runs_on == "nowhere"
    assert why in found.why
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("kind", "dtype", "place"),
    [
        ("RELU", "uint8", "nowhere"),
        ("RESHAPE", "uint8", "cpu"),
        ("PRELU", "int16", "nowhere"),
        ("RELU", "int16", "cpu"),
        ("RELU", "int8", "cpu"),
        ("TILE", "int8", "nowhere"),
    ],
)
def test_without_an_npu_the_interpreter_alone_decides(kind: str, dtype: str, place: str) -> None:
    [found] = placed(one_operator(kind, [Tensor((1, 4), dtype)], [Tensor((1, 4), dtype)]), npu=False).operators
    assert found.runs_on == place


def test_whole_models_are_told_what_holds_for_them() -> None:
    floats = placed((DATA / "tiny_float32.tflite").read_bytes())
    assert set(floats.counts()) == {"cpu"}
    assert floats.notes[0].startswith("it works in floats")
    # Floats at its border make no float model.
    mixed = [Operator("RELU", "a", "b"), Operator("DEQUANTIZE", "b", "c")]
    border = placed(model({"a": FLAT, "b": FLAT, "c": Tensor((1, 16), "float32")}, mixed))
    assert (border.counts(), border.notes) == ({"ethos-u": 1, "cpu": 1}, ())
    batch = one_operator("RELU", [Tensor((4, 8), open_sizes=(1,))], [Tensor((4, 8))])
    assert ["batch 4" in batch_or_open for batch_or_open in placed(batch).notes] == [True, False]
    assert "open sizes" in placed(batch).notes[1]
    int8 = placed((DATA / "tiny_int8.tflite").read_bytes())
    assert (int8.counts(), int8.notes, int8.facts["provenance"]) == ({"ethos-u": 3}, (), "simulated")


def test_what_does_not_fit_is_told_with_a_remedy() -> None:
    wide = Tensor((1, 300 * 1024))
    [note] = placed(one_operator("RELU", [wide], [wide])).notes
    assert "600.0 KiB of SRAM at the same time, and there are 512.0 KiB" in note
    assert "smaller alpha" in note
    [flash] = too_large(0, 3 * 2**20, MEMORY)
    assert "3,072.0 KiB of flash" in flash
    assert "prune_filters" in flash
    assert too_large(512 * 1024, 2048 * 1024, MEMORY) == []


# ---- any file at all ----


def test_2000_damaged_files_end_in_a_message_or_in_places() -> None:
    rng = random.Random(0)
    whole = [(DATA / f"tiny_{name}.tflite").read_bytes() for name in ("int8", "lstm")]
    small = [one for one in (*MEETS.values(), *(content for content, _ in BREAKS.values())) if len(one) < 20_000]
    small += [*MET.values(), *(content for content, _, _ in (*LEFT.values(), *NOWHERE.values()))]
    refused = 0
    for number in range(2000):
        content = mutated(rng.choice(whole if number % 2 else small), rng)
        begin = time.process_time()
        try:
            found = placed(content, npu=bool(number % 3))
            json.dumps([found.facts, found.notes], allow_nan=False)
            assert all(one.runs_on != "nowhere" or (one.why and one.remedy) for one in found.operators)
        except UnusableModel:
            refused += 1
        assert time.process_time() - begin < 2, number
    assert 200 < refused < 1500


def test_a_file_that_is_built_to_keep_us_busy_does_not() -> None:
    content = model_that_keeps_busy(3000)
    begin = time.process_time()
    assert len(placed(content).operators) == 3000
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(("scales", "runs_on", "remedy"), [(1, "cpu", "fully to int8"), (8, "nowhere", "per_tensor")])
def test_int4_is_never_vela_s_which_it_crashes(scales: int, runs_on: str, remedy: str) -> None:
    weights = Tensor((8, 16), "int4", np.zeros(64, np.int8), scales=scales)
    tensors = {"in": FLAT, "weights": weights, "dense": Tensor((1, 8)), "out": Tensor((1, 8))}
    dense, after = placed(
        model(
            tensors,
            [Operator("FULLY_CONNECTED", ["in", "weights"], ["dense"]), Operator("RELU", ["dense"], ["out"])],
        )
    ).operators
    assert (dense.runs_on, after.runs_on) == (runs_on, "cpu")
    assert "no model with int4 in it ('weights')" in after.why
    assert remedy in dense.remedy
