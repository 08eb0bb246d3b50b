"""Parameters and multiply-accumulates, against counts by hand and against published ones."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from pipeline.cost import layer_costs, total_macs

pytestmark = pytest.mark.tf


def test_costs_are_those_of_a_count_by_hand() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, 2, padding="same", name="conv")(inputs)  # 4x4
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="dw")(x)  # 2x2
    x = layers.SeparableConv2D(5, 3, padding="same", name="sep")(x)
    x = layers.Conv2DTranspose(6, 2, 2, name="up")(x)  # 4x4
    x = layers.Conv2D(6, 1, groups=2, name="grouped")(x)
    x = layers.Reshape((16, 6))(x)
    x = layers.Conv1D(2, 3, name="time")(x)  # 14
    x = layers.Dense(3, name="rows")(x)
    x = layers.LSTM(4, name="lstm")(x)
    model = keras.Model(inputs, layers.Dense(2, name="logits")(x))
    found = {cost.name: (cost.parameters, cost.macs) for cost in layer_costs(model) if cost.parameters}
    assert found == {
        "conv": (3 * 3 * 3 * 4 + 4, 3 * 3 * 3 * 4 * 16),
        "bn": (16, 0),
        "dw": (3 * 3 * 4 * 2, 3 * 3 * 8 * 4),
        "sep": (3 * 3 * 8 + 8 * 5 + 5, (3 * 3 * 8 + 8 * 5) * 4),
        "up": (2 * 2 * 5 * 6 + 6, 2 * 2 * 5 * 6 * 4),
        "grouped": (6 * 3 + 6, 6 * 3 * 16),
        "time": (3 * 6 * 2 + 2, 3 * 6 * 2 * 14),
        "rows": (2 * 3 + 3, 2 * 3 * 14),
        "lstm": (4 * 4 * (3 + 4 + 1), 4 * 4 * (3 + 4) * 14),
        "logits": (4 * 2 + 2, 4 * 2),
    }
    assert sum(cost.parameters for cost in layer_costs(model)) == model.count_params()


def test_a_shared_layer_costs_each_time_it_is_called() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input((4,))
    shared = layers.Dense(4, use_bias=False)
    model = keras.Model(inputs, shared(shared(inputs)))
    keras.Model(inputs, shared(model.output))  # a call that belongs to another model does not count
    assert [(cost.parameters, cost.macs) for cost in layer_costs(model)][1] == (16, 32)


@pytest.mark.parametrize(
    ("name", "input_shape", "num_classes", "options", "millions"),
    [
        ("mobilenet_v1", (224, 224, 3), 1000, {}, 569),  # arXiv 1704.04861, table 4
        ("mobilenet_v2", (224, 224, 3), 1000, {}, 300),  # arXiv 1801.04381, table 4
        ("ds_cnn", (49, 10, 1), 12, {"variant": "s"}, 5.4 / 2),  # arXiv 1711.07128, table 4: "ops", two to each
        ("resnet8", (32, 32, 3), 10, {}, 12.5),  # arXiv 2106.07597: 12.5 M MACs
    ],
)
def test_macs_are_the_published_ones(
    name: str, input_shape: tuple[int, ...], num_classes: int, options: dict[str, Any], millions: float
) -> None:
    model = importlib.import_module(f"models.{name}").build(input_shape, num_classes, **options)
    assert total_macs(model) / 1e6 == pytest.approx(millions, rel=0.03)
