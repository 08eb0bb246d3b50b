"""What operators cost: multiply-accumulates against counts by hand and published ones, bytes against the file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets.tflite_cost import operator_costs, total_macs, weight_costs
from edge_targets.tflite_graph import Graph, Operator, Tensor, parse_graph, read_graph

DATA = Path(__file__).parent / "data"


def constant(index: int, shape: tuple[int, ...], scales: int = 0) -> Tensor:
    data = np.zeros(int(np.prod(shape)), np.uint8)
    return Tensor(index, f"w{index}", shape, "int8", (0.1,) * scales, (0,) * scales, 0, data)


def one(kind: str, inputs: list[Tensor], output: tuple[int, ...]) -> Graph:
    """A graph of one operator."""
    made = Tensor(len(inputs), "out", output, "int8")
    operator = Operator(0, kind, "layer", tuple(tensor.index for tensor in inputs), (made.index,))
    return Graph("main", (operator,), (*inputs, made), (0,), (made.index,), size_bytes=1000)


def test_a_tiny_net_by_hand(int8_model: Path) -> None:
    costs = operator_costs(read_graph(int8_model))
    assert [cost.macs for cost in costs] == [3 * 3 * 4 * 6 * 6, 0, 144 * 3]
    # int8 weights with a scale and a zero point (4 + 8 bytes) a channel, and an int32 bias with one of each as well.
    assert costs[0].bytes == 36 + 4 * 12 + 4 * 4 + 4 * 12
    assert sum(cost.bytes for cost in costs) < int8_model.stat().st_size


def test_a_recurrent_operator_multiplies_at_every_step() -> None:
    graph = read_graph(DATA / "tiny_lstm.tflite")
    assert [cost.macs for cost in operator_costs(graph)] == [4 * 4 * (3 + 4) * 4, 0, 4 * 2]
    assert sum(cost.macs for cost in weight_costs(graph)) == total_macs(graph) == 456


@pytest.mark.parametrize(
    ("kind", "shapes", "output", "macs"),
    [
        ("CONV_2D", [(1, 8, 8, 4), (6, 3, 3, 2)], (1, 4, 4, 6), 6 * 3 * 3 * 2 * 16),  # two groups
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 4), (1, 3, 3, 8)], (1, 8, 8, 8), 3 * 3 * 8 * 64),
        ("FULLY_CONNECTED", [(5, 7), (3, 7)], (5, 3), 5 * 7 * 3),
        ("TRANSPOSE_CONV", [(4,), (6, 2, 2, 5), (1, 4, 4, 5)], (1, 8, 8, 6), 6 * 2 * 2 * 5 * 16),
        ("BATCH_MATMUL", [(2, 3, 5), (2, 5, 7)], (2, 3, 7), 2 * 3 * 5 * 7),
        ("BATCH_MATMUL", [(2, 5, 3), (2, 7, 5)], (2, 3, 7), 2 * 3 * 5 * 7),  # both transposed
        ("GATHER", [(10, 4), (3,)], (3, 4), 0),
        ("ADD", [(1, 4), (1, 4)], (1, 4), 0),
        ("CONV_2D", [()], (), 0),
        ("TRANSPOSE_CONV", [(4,)], (1, 1), 0),
    ],
)
def test_macs_follow_from_shapes(kind: str, shapes: list[tuple[int, ...]], output: tuple[int, ...], macs: int) -> None:
    graph = one(kind, [constant(index, shape) for index, shape in enumerate(shapes)], output)
    assert [cost.macs for cost in operator_costs(graph)] == [macs]


def test_weights_that_are_computed_cost_macs_and_no_bytes() -> None:
    inputs = [Tensor(0, "a", (2, 3), "int8"), Tensor(1, "b", (4, 3), "int8")]
    [cost] = operator_costs(one("FULLY_CONNECTED", inputs, (2, 4)))
    assert (cost.macs, cost.bytes) == (24, 0)


def test_weights_that_two_operators_read_cost_bytes_once_and_macs_twice() -> None:
    tensors = (
        Tensor(0, "x", (1, 3), "int8"),
        constant(1, (3, 3), 1),
        *(Tensor(i, "y", (1, 3), "int8") for i in (2, 3)),
    )
    steps = (Operator(0, "FULLY_CONNECTED", "a", (0, 1), (2,)), Operator(1, "FULLY_CONNECTED", "a", (2, 1), (3,)))
    graph = Graph("main", steps, tensors, (0,), (3,))
    assert [(cost.macs, cost.bytes) for cost in operator_costs(graph)] == [(9, 9 + 12), (9, 0)]
    assert [(cost.macs, cost.bytes) for cost in weight_costs(graph)] == [(18, 9 + 12)]


def test_a_constant_behind_dequantize_counts_for_who_computes_with_it() -> None:
    tensors = (
        Tensor(0, "x", (1, 3), "float32"),
        constant(1, (4, 3)),
        Tensor(2, "w", (4, 3), "float32"),
        Tensor(3, "y", (1, 4), "float32"),
    )
    steps = (Operator(0, "DEQUANTIZE", "w", (1,), (2,)), Operator(1, "FULLY_CONNECTED", "a", (0, 2), (3,)))
    costs = operator_costs(Graph("main", steps, tensors, (0,), (3,)))
    assert [(cost.macs, cost.bytes) for cost in costs] == [(0, 0), (12, 12)]


@pytest.mark.tf
@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes", "options", "millions"),
    [
        ("lenet5", (28, 28, 1), 10, {"variant": "caffe"}, 2.293),  # 20·25·576 + 50·500·64 + 500·800 + 10·500
        ("mobilenet_v1", (128, 128, 3), 1000, {"alpha": 0.25}, 14),  # tensorflow/models, mobilenet_v1.md, rounded
        ("ds_cnn", (49, 10, 1), 12, {"variant": "s"}, 5.4 / 2),  # arXiv 1711.07128, table 4: "ops", two to each
    ],
)
def test_macs_in_the_bytes_are_the_published_ones(
    name: str, input_shape: tuple[int, ...], num_classes: int, options: dict[str, Any], millions: float
) -> None:
    from pipeline.convert import to_int8
    from pipeline.cost import total_macs as keras_macs
    from pipeline.draft import Draft

    model = importlib.import_module(f"models.{name}").build(input_shape, num_classes, **options)
    x = np.random.default_rng(0).random((2, *input_shape), np.float32)
    found = total_macs(parse_graph(to_int8(Draft.of(model), x)))
    assert found / 1e6 == pytest.approx(millions, rel=0.04)
    assert found == keras_macs(model)
