"""`prune_filters` as a stage: the goal is reached, what matters stays, what cannot be followed is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import convert, verify
from pipeline.cost import layer_costs
from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.progress import Progress
from pipeline.stages._channels import groups, trace
from pipeline.stages._filter_cut import Ranked, Rules
from pipeline.stages._filter_plan import Candidate, Limits, Planner
from pipeline.stages._importance import importance
from pipeline.stages._remaining_cost import RemainingCost
from pipeline.stages._sparse_cut import share_of_zeros
from pipeline.stages._surgery import cut_out
from pipeline.stages.prune_filters import PruneFilters
from pipeline.stages.qat import Qat
from pipeline.stages.train import Train
from tests.stages.tiny import tiny_data

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Four classes of 16x16 images."""
    return tiny_data(256)


@pytest.fixture(scope="module")
def trained(data: Dataset) -> Draft:
    """A small residual net that has learnt its task."""
    from models.resnet8 import build
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    return apply(Train(epochs=5, batch_size=16), Draft.of(build((16, 16, 1), 4, filters=8)), data)


def apply(stage: Any, draft: Draft, data: Dataset) -> Draft:
    after: Draft = stage.apply(draft, data, seed=5, progress=Progress())
    return after


def sequential(*stack: Any) -> Draft:
    from pipeline._tf import keras

    return Draft.of(keras.Sequential([keras.layers.InputLayer((16, 16, 1)), *stack]))


@pytest.mark.parametrize("goal", [{}, {"keep_macs": 0.5, "keep_parameters": 0.5}])
def test_exactly_one_goal_is_asked_for(goal: Any) -> None:
    with pytest.raises(ValidationError, match="exactly one of keep_parameters, keep_macs, keep_latency"):
        PruneFilters(**goal)


@pytest.mark.parametrize("importance", ["l1", "batchnorm", "taylor"])
@pytest.mark.parametrize("measure", ["parameters", "macs"])
def test_the_goal_is_reached_and_little_more(importance: Any, measure: Any, trained: Draft, data: Dataset) -> None:
    batches = list(data.training_batches(64, 0).take(2))
    # Nothing but a batch normalization tells batchnorm of the logits' inputs: all groups of this model have one.
    rules = Rules(importance, (), False, Limits(min_filters=1, round_to=1))
    ranked = Ranked(trained, rules, batches, data.task.loss)
    goal = 0.6 * ranked.cost(measure)
    smaller = ranked.cut(ranked.plan(measure, goal))
    left = Ranked(smaller, rules, batches, data.task.loss).cost(measure)
    assert 0.95 * goal < left <= goal
    if measure == "parameters":
        assert left == smaller.restore().count_params()


def test_cuts_go_to_multiples_where_layers_are_wide_enough() -> None:
    limits = Limits(min_filters=4, round_to=8)
    group = groups(trace(sequential_of_widths(20, 10)))
    wide, narrow = (Candidate(one, np.ones(len(one.channels)), 1.0) for one in group)
    assert limits.next_cuts(wide) == [4, 12]
    assert limits.next_cuts(narrow) == [1, 2]
    wide.removed, narrow.removed = 12, 6
    assert limits.next_cuts(wide) == limits.next_cuts(narrow) == []


def sequential_of_widths(*widths: int) -> Any:
    from pipeline._tf import keras

    layers = keras.layers
    return sequential(layers.Flatten(), *(layers.Dense(width) for width in widths), layers.Dense(4)).restore()


@pytest.mark.parametrize("criterion", ["batchnorm", "taylor"])
def test_what_is_important_is_what_the_model_needs(criterion: Any, trained: Draft, data: Dataset) -> None:
    assert loss_without(trained, criterion, data, most_important=False) < loss_without(
        trained, criterion, data, most_important=True
    )


def test_the_norm_tells_where_no_normalization_takes_it_away(data: Dataset) -> None:
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    layers = keras.layers
    bare = sequential(
        layers.Conv2D(16, 3, 2, activation="relu"), layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(4)
    )
    learnt = apply(Train(epochs=5, batch_size=16), bare, data)
    assert loss_without(learnt, "l1", data, most_important=False) < loss_without(
        learnt, "l1", data, most_important=True
    )


def loss_without(draft: Draft, criterion: Any, data: Dataset, *, most_important: bool) -> float:
    """The validation loss without a quarter of each group's channels, and no training afterwards."""
    model = draft.restore()
    channels = trace(model)
    batches = list(data.training_batches(64, 0).take(4))
    found = importance(model, channels, criterion, batches, data.task.loss(model))
    removed = np.zeros(len(channels.fixed), bool)
    for group in groups(channels):
        order = np.argsort(found[group.channels])
        few = len(order) // 4
        removed[group.channels[order[-few:] if most_important else order[:few]]] = True
    smaller = cut_out(draft, model, channels, removed).restore()
    return float(np.mean([data.task.loss(smaller)(y, smaller(x)) for x, y in data.validation_batches(64)]))


def test_the_stage_cuts_trains_and_says_what_went(trained: Draft, data: Dataset) -> None:
    stage = PruneFilters(keep_macs=0.5, steps=2, epochs=2, batch_size=32, round_to=4, min_filters=2)
    after = apply(stage, trained, data)
    step = after.steps[-1]
    model = after.restore()
    assert after.traits == {"filters_removed"}
    assert step.metrics["macs"] <= 0.5 * step.metrics["macs_before"]
    assert step.metrics["parameters"] == model.count_params() < trained.restore().count_params()
    assert step.metrics["val_accuracy"] > 0.9
    assert len(step.curves["loss"]) == 4
    assert step.notes["filters"]
    for name, change in step.notes["filters"].items():
        old, new = (int(count) for count in change.split(" → "))
        assert new < old == trained.restore().get_layer(name).filters
        assert new == model.get_layer(name).filters
    again = Draft.from_files(after.to_files())
    assert again.sha256 == after.sha256 == apply(stage, trained, data).sha256


def test_after_it_qat_ends_in_int8_alone(trained: Draft, data: Dataset) -> None:
    small = apply(PruneFilters(keep_parameters=0.4, epochs=1, importance="l1"), trained, data)
    aware = apply(Qat(epochs=1), small, data)
    model = convert.to_int8(aware, data.calibration(8, 0))
    [int8_only] = verify.byte_checks(model, verify.layer_table(model), aware)
    assert int8_only.name == "int8_only"
    assert int8_only.status == "pass"
    assert len(model) < 0.7 * len(convert.to_int8(trained, data.calibration(8, 0)))


def test_a_branch_that_adds_little_goes_as_a_whole(trained: Draft, data: Dataset) -> None:
    model = trained.restore()
    for weight in ("gamma", "beta"):
        values = getattr(model.get_layer("stack1_conv2_bn"), weight)
        values.assign(values * 1e-3)
    idle = Draft.of(model)
    after = apply(PruneFilters(keep_macs=0.7, epochs=1, importance="l1"), idle, data)
    assert after.steps[-1].notes["branches_removed"] == ["stack1_add"]
    kept = apply(PruneFilters(keep_macs=0.7, epochs=1, importance="l1", remove_branches=False), idle, data)
    assert kept.steps[-1].notes["branches_removed"] == []
    assert kept.restore().get_layer("stack1_add")


def test_a_sparse_draft_stays_as_sparse(trained: Draft, data: Dataset) -> None:
    model = trained.restore()
    for name in ("stack2_conv1", "stack3_conv1"):
        kernel = model.get_layer(name).kernel
        values = kernel.numpy()
        # Filters of zeros are the first to go, and would take the sparsity with them.
        values[..., : values.shape[-1] // 2] = 0
        kernel.assign(values)
    sparse = Draft.of(model, frozenset({"sparse"}))
    after = apply(PruneFilters(keep_macs=0.6, epochs=1, importance="l1"), sparse, data)
    before, now = share_of_zeros(model), share_of_zeros(after.restore())
    assert now >= before > 0.1
    assert after.traits == {"sparse", "filters_removed"}
    assert after.steps[-1].promises["min_sparsity"] == now


def test_the_least_important_channels_go_first() -> None:
    [group] = groups(trace(sequential_of_widths(4)))
    candidate = Candidate(group, np.asarray([3.0, 1.0, 4.0, 2.0]), 1.0)
    candidate.removed = 2
    assert candidate.gone().tolist() == [group.channels[1], group.channels[3]]
    assert candidate.loss(1) == pytest.approx(-np.log(4 / 7))


def test_a_cut_that_a_larger_one_makes_needless_is_undone() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inputs = layers.Input((4, 4, 2))
    small = layers.Dense(2, name="small")(layers.GlobalAveragePooling2D()(inputs))
    large = layers.Dense(2, name="large")(layers.Flatten()(inputs))
    model = keras.Model(inputs, layers.Dense(4)(layers.Concatenate()([small, large])))
    channels = trace(model)
    rates = {cost.name: cost.uses for cost in layer_costs(model)}
    cost, time = RemainingCost(channels, model, rates), RemainingCost(channels, model, rates)
    # The first unit of `small` is worth nothing, so it goes first; but the goal needs one of `large`, which is enough.
    worth = {tuple(channels.outputs["small"]): [0.0, 1.0], tuple(channels.outputs["large"]): [1.0, 2.0]}
    candidates = [Candidate(one, np.asarray(worth[tuple(one.channels)]), 1.0) for one in groups(channels)]
    goal = cost.total() - (32 + 4)
    plan = Planner(candidates, {}, cost, time, Limits(min_filters=1, round_to=1)).reach(goal)
    assert plan.cost == goal
    assert plan.channels.tolist() == [channels.outputs["large"][0]]


def test_a_latency_is_reached_by_measuring(data: Dataset) -> None:
    from pipeline._tf import keras

    layers = keras.layers
    wide = sequential(
        *(layers.Conv2D(width, 3, activation="relu") for width in (32, 64, 64)), layers.Flatten(), layers.Dense(4)
    )
    after = apply(PruneFilters(keep_latency=0.6, epochs=1), wide, data)
    step = after.steps[-1]
    assert step.metrics["latency_share"] <= 0.6
    assert step.metrics["macs"] < 0.8 * step.metrics["macs_before"]


def test_skipped_layers_keep_their_filters(trained: Draft, data: Dataset) -> None:
    skipped = ("stack2_conv1", "stack3_conv1")
    after = apply(PruneFilters(keep_macs=0.8, epochs=1, skip_layers=("stack[23]_conv1",)), trained, data)
    assert not set(skipped) & set(after.steps[-1].notes["filters"])
    with pytest.raises(ModelError, match="conv7"):
        apply(PruneFilters(keep_macs=0.8, skip_layers=("conv7",)), trained, data)


def test_a_layer_that_cannot_be_followed_is_named(data: Dataset) -> None:
    from pipeline._tf import keras

    layers = keras.layers
    recurrent = [layers.Reshape((16, 16)), layers.Dense(8, name="rows"), layers.LSTM(4, name="memory")]
    with pytest.raises(ModelError, match="cannot be followed: memory"):
        apply(PruneFilters(keep_macs=0.5), sequential(*recurrent, layers.Dense(4)), data)
    # Behind it is a layer that can be cut, but it is too small a part of the model.
    with pytest.raises(ModelError, match=r"keep_macs=0.1 cannot be reached.*memory \(LSTM\)"):
        apply(PruneFilters(keep_macs=0.1), sequential(*recurrent, layers.Dense(6), layers.Dense(4)), data)


def test_batchnorm_without_batch_normalization_is_refused(data: Dataset) -> None:
    from pipeline._tf import keras

    layers = keras.layers
    draft = sequential(layers.Flatten(), layers.Dense(6, name="bare"), layers.Dense(4))
    with pytest.raises(ModelError, match="No batch normalization scales the filters of: bare"):
        apply(PruneFilters(keep_macs=0.5, importance="batchnorm"), draft, data)
