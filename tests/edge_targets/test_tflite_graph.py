"""Reading a `.tflite`: what is in it, and that no file whatever gets more than one kind of error out of the reader."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from edge_targets import UnusableModel
from edge_targets.tflite_graph import Tensor, layer_name, parse_graph, read_graph, weight_tensors

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "models"


def test_operators_tensors_and_quantization(int8_model: Path) -> None:
    graph = read_graph(int8_model)
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [operator.name for operator in graph.operators] == ["conv", "flatten", "logits"]
    border = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert [(tensor.dtype, tensor.shape) for tensor in border] == [("int8", (1, 8, 8, 1)), ("int8", (1, 3))]
    assert border[0].scales[0] == pytest.approx(1 / 255, rel=0.05)
    assert graph.size_bytes == int8_model.stat().st_size


def test_weights_are_read_in_their_shape_and_type(int8_model: Path, float_model: Path) -> None:
    weights = {operator.name: tensor for operator, tensor in weight_tensors(read_graph(int8_model))}
    assert {name: tensor.shape for name, tensor in weights.items()} == {"conv": (4, 3, 3, 1), "logits": (3, 144)}
    assert len(weights["conv"].scales) == 4
    floats = {operator.name: tensor.values() for operator, tensor in weight_tensors(read_graph(float_model))}
    scales = np.array(weights["conv"].scales).reshape(4, 1, 1, 1)
    assert np.abs(weights["conv"].values() * scales - floats["conv"]).max() <= scales.max() / 2 + 1e-6


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("lenet5/quant_conv1/BiasAdd;lenet5/quant_conv1/Conv2D;conv1/bias", "conv1"),
        ("model/prune_low_magnitude_dense/MatMul", "dense"),
        ("", ""),
    ],
)
def test_layer_names(name: str, layer: str) -> None:
    assert layer_name(name) == layer


def test_four_bit_numbers_come_out_signed_the_low_half_first() -> None:
    tensor = Tensor(0, "w", (3,), "int4", data=np.array([0x7F, 0x08], np.uint8))
    assert tensor.values().tolist() == [-1, 7, -8]
    assert tensor.bits == 4


def test_a_constant_whose_bytes_do_not_fit_is_refused() -> None:
    with pytest.raises(UnusableModel, match="holds 2 bytes"):
        Tensor(0, "w", (3,), "int8", data=np.zeros(2, np.uint8)).values()


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 64, b"PK\x03\x04" * 9]
)
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(UnusableModel):
        parse_graph(content)


def test_mutated_files_are_read_or_refused_and_quickly(int8_model: Path) -> None:
    whole = int8_model.read_bytes()
    rng = random.Random(0)
    refused = 0
    for _ in range(600):
        broken = bytearray(whole)
        for _ in range(rng.choice([1, 4, 32])):
            broken[rng.randrange(len(broken))] = rng.choice([0, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            del broken[rng.randrange(len(broken)) :]
        started = time.process_time()
        try:
            for _, tensor in weight_tensors(parse_graph(bytes(broken))):
                tensor.values()
        except UnusableModel:
            refused += 1
        assert time.process_time() - started < 2
    assert refused > 50


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared models are not beside the project")
def test_real_models_are_read_whole() -> None:
    models = sorted(SHARED.rglob("*.tflite"))
    assert len(models) > 10
    for path in models:
        graph = read_graph(path)
        assert graph.operators
        for _, tensor in weight_tensors(graph):
            assert tensor.values().size
