"""Single operators of a model, each as a model of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_targets._made_model import taken_out
from edge_targets.tflite_graph import parse_graph
from tests.edge_targets.one_operator import Operator, Tensor, constant, model


def outputs(content: bytes, given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    made: np.ndarray[Any, Any] = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return made


def test_the_pieces_one_after_another_are_the_model(int8_model: Path) -> None:
    content = int8_model.read_bytes()
    pieces = taken_out(content, parse_graph(content))
    values = given = np.random.default_rng(0).integers(-128, 128, (1, 8, 8, 1)).astype(np.int8)
    for piece in pieces.values():
        values = outputs(piece, values)
    assert list(pieces) == [0, 1, 2]
    np.testing.assert_array_equal(values, outputs(content, given))


def test_weights_that_are_unpacked_go_with_the_operator_that_reads_them() -> None:
    tensors = {
        "in": Tensor((1, 4), "float32"),
        "packed": constant(np.ones((3, 4)), "float16"),
        "weights": Tensor((3, 4), "float32"),
        "out": Tensor((1, 3), "float32"),
    }
    operators = [
        Operator("DEQUANTIZE", ["packed"], ["weights"]),
        Operator("FULLY_CONNECTED", ["in", "weights"], ["out"], {"FullyConnectedOptions": {}}),
    ]
    content = model(tensors, operators)
    [(index, piece)] = taken_out(content, parse_graph(content)).items()
    assert index == 1
    assert [operator.kind for operator in parse_graph(piece).operators] == ["DEQUANTIZE", "FULLY_CONNECTED"]
    np.testing.assert_array_equal(outputs(piece, np.ones((1, 4), np.float32)), [[4, 4, 4]])
