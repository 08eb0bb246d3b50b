"""What `prune_filters` cuts is what it says: channels of zeros go without a trace, whatever the layers between them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.draft import Draft
from pipeline.stages._channels import Channels, groups, trace
from pipeline.stages._surgery import cut_out, find_branches
from tests.stages.filter_topologies import SHAPE, TOPOLOGIES, model_of

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

ZOO: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "resnet8": ((16, 16, 3), {"filters": 4}),
    "mobilenet_v2": ((32, 32, 3), {"alpha": 0.1}),
    "squeezenet": ((24, 24, 3), {}),
    "ds_cnn": ((20, 10, 1), {}),
    "lenet5": ((28, 28, 1), {}),
    "cnn1d": ((20, 2), {"filters": 8}),
}


def randomized(model: Any) -> Any:
    """No weight, bias or statistic is 0 or 1 by chance; signals keep their size through the layers."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        fan_in = np.prod(layer.weights[0].shape[:-1]) if layer.weights else 1
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
        else:
            layer.set_weights([rng.normal(0, (2 / fan_in) ** 0.5, weight.shape) for weight in layer.get_weights()])
    return model


def half_of_each_group(channels: Channels) -> Any:
    """About every other channel of each group; a group keeps one at least."""
    removed = np.zeros(len(channels.fixed), bool)
    for group in groups(channels):
        removed[group.channels[1::2]] = True
    return removed


def zeroed(model: Any, channels: Channels, removed: Any) -> None:
    """Set all that makes the removed channels to zero."""
    for axis in channels.axes:
        weight = model.get_layer(axis.layer).weights[axis.weight]
        if axis.makes and "moving" not in weight.name:
            values = np.moveaxis(weight.numpy(), axis.axis, 0).copy()
            values[removed[axis.channels]] = 0
            weight.assign(np.moveaxis(values, 0, axis.axis))


def settle_statistics(model: Any, x: Any) -> None:
    """Normalize by these inputs, so that signals reach the output of a deep model."""
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = 0.0
    model(x, training=True)


def assert_leaves_no_trace(model: Any) -> Draft:
    draft = Draft.of(randomized(model))
    model = draft.restore()
    channels = trace(model)
    removed = half_of_each_group(channels)
    zeroed(model, channels, removed)
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    settle_statistics(model, x)
    zeros = Draft.of(model)
    smaller = cut_out(zeros, model, channels, removed)
    expected = zeros.restore()(x).numpy()
    assert np.ptp(expected, axis=0).max() > 3e-4  # else nothing of the input has reached the output
    np.testing.assert_allclose(smaller.restore()(x).numpy(), expected, rtol=1e-5, atol=1e-5)
    assert smaller.restore().count_params() < model.count_params()
    return smaller


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda topology: topology.__name__)
def test_channels_of_zeros_leave_no_trace(topology: Callable[[Any, Any], Any]) -> None:
    model = model_of(topology)
    assert model.input_shape[1:] == SHAPE
    assert_leaves_no_trace(model)


@pytest.mark.parametrize("name", ZOO)
def test_channels_of_zeros_leave_no_trace_in_the_zoo(name: str) -> None:
    shape, options = ZOO[name]
    assert_leaves_no_trace(importlib.import_module(f"models.{name}").build(shape, 4, **options))


def test_a_sequential_model_is_cut_as_well() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    first = layers.Conv2D(4, 3, input_shape=(6, 6, 1))
    assert_leaves_no_trace(keras.Sequential([first, layers.Flatten(), layers.Dense(5), layers.Dense(2)]))


@pytest.mark.parametrize(
    ("topology", "expected"),
    [
        # By hand: which layers' filters go together, and how many of each.
        ("residual", [({"a", "c"}, 6), ({"b"}, 4)]),
        ("fire", [({"squeeze"}, 4), ({"e1"}, 6), ({"e3"}, 6), ({"after"}, 5)]),
        ("squeeze_excite", [({"a", "c"}, 6), ({"b"}, 4)]),
        ("spatial_attention", [({"a"}, 6)]),
        ("shared_layer", [({"a", "b"}, 6), ({"again"}, 6)]),
    ],
)
def test_filters_that_go_together_are_found(topology: str, expected: list[tuple[set[str], int]]) -> None:
    by_name = {function.__name__: function for function in TOPOLOGIES}
    channels = trace(model_of(by_name[topology]))
    found = [
        ({name for name, (_, along) in channels.widths.items() if np.isin(group.channels, along).all()}, group)
        for group in groups(channels)
    ]
    named = [(sorted(names - {"reshape"}), len(group.channels)) for names, group in found]
    assert sorted(named) == sorted((sorted(names), count) for names, count in expected)


def test_a_channel_before_a_flattening_is_a_stripe_of_features() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input((3, 2, 1))
    x = layers.Flatten()(layers.Conv2D(4, 1, name="conv")(inputs))
    channels = trace(keras.Model(inputs, layers.Dense(2, name="dense")(x)))
    [reads] = [axis for axis in channels.axes if axis.layer == "dense" and not axis.makes]
    assert reads.channels.reshape(6, 4).tolist() == [channels.outputs["conv"].tolist()] * 6


def test_a_branch_that_adds_nothing_leaves_no_trace() -> None:
    from models.resnet8 import build

    model = randomized(build((16, 16, 3), 4, filters=4))
    model.get_layer("stack1_conv2_bn").gamma.assign(np.zeros(4))
    model.get_layer("stack1_conv2_bn").beta.assign(np.zeros(4))
    draft = Draft.of(model)
    model = draft.restore()
    [branch] = find_branches(model)
    assert branch.add == "stack1_add"
    channels = trace(model)
    smaller = cut_out(draft, model, channels, np.zeros(len(channels.fixed), bool), [branch]).restore()
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(smaller(x).numpy(), draft.restore()(x).numpy(), rtol=1e-5, atol=1e-5)
    left = {layer.name for layer in smaller.layers}
    assert not left & {"stack1_add", "stack1_conv1", "stack1_conv2_bn"}
    assert "stack2_add" in left


def test_all_branches_of_a_chain_may_go_at_once() -> None:
    from models.mobilenet_v2 import build

    draft = Draft.of(build((32, 32, 3), 4, alpha=0.1))
    model = draft.restore()
    branches = find_branches(model)
    channels = trace(model)
    smaller = cut_out(draft, model, channels, np.zeros(len(channels.fixed), bool), branches).restore()
    assert len(branches) == 11  # one more than usual: at this width the first block too is an identity
    assert not [layer for layer in smaller.layers if type(layer).__name__ == "Add"]
    assert smaller(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 4)


def test_a_branch_that_others_look_into_stays() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input((6, 6, 4))
    x = layers.Conv2D(4, 1)(inputs)
    y = layers.Conv2D(4, 1)(x)
    total = layers.Add()([x, layers.ReLU()(y)])
    assert find_branches(keras.Model(inputs, layers.Flatten()(layers.ReLU()(total))))
    assert not find_branches(keras.Model(inputs, layers.Concatenate()([y, layers.ReLU()(total)])))
    assert not find_branches(keras.Model(inputs, total))
