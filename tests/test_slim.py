"""A slim model is the same model: the same outputs, bit for bit, and the same layer table, in fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets.tflite_graph import parse_graph, weight_tensors
from pipeline.convert import slim
from pipeline.verify import layer_table

DATA = Path(__file__).parent / "edge_targets" / "data"


@pytest.mark.parametrize("name", ["tiny_int8", "tiny_float32", "tiny_lstm"])
def test_it_computes_the_same_in_fewer_bytes(name: str) -> None:
    model = DATA.joinpath(f"{name}.tflite").read_bytes()
    slimmed = slim(model)
    assert len(slimmed) < len(model)
    np.testing.assert_array_equal(outputs(slimmed), outputs(model))


def test_the_layer_table_stays() -> None:
    model = DATA.joinpath("tiny_int8.tflite").read_bytes()
    rows = [(row.name, row.kind, row.weights, row.sparsity, row.distinct) for row in layer_table(model)]
    assert rows
    assert [(row.name, row.kind, row.weights, row.sparsity, row.distinct) for row in layer_table(slim(model))] == rows


def test_quantization_stays() -> None:
    model = DATA.joinpath("tiny_int8.tflite").read_bytes()
    before, after = (weight_tensors(parse_graph(each)) for each in (model, slim(model)))
    assert [(t.scales, t.zero_points, t.quantized_dimension) for _, t in before] == [
        (t.scales, t.zero_points, t.quantized_dimension) for _, t in after
    ]


def test_slimming_again_changes_nothing() -> None:
    once = slim(DATA.joinpath("tiny_int8.tflite").read_bytes())
    assert slim(once) == once


def outputs(model: bytes) -> NDArray[Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    [given], [got] = interpreter.get_input_details(), interpreter.get_output_details()
    rng = np.random.default_rng(0)
    interpreter.set_tensor(given["index"], rng.integers(-128, 127, given["shape"]).astype(given["dtype"]))
    interpreter.invoke()
    found: NDArray[Any] = interpreter.get_tensor(got["index"])
    return found
