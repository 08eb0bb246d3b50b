"""One cut of `prune_filters`: look at a draft, rank what may go, and take away what a goal asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.cost import layer_costs
from pipeline.errors import ModelError
from pipeline.stages._channels import Channels, Group, groups, trace
from pipeline.stages._filter_plan import Candidate, Limits, Plan, Planner, loss_of_share
from pipeline.stages._importance import Criterion, branch_shares, importance
from pipeline.stages._remaining_cost import RemainingCost, time_rates
from pipeline.stages._surgery import Branch, cut_out, find_branches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.draft import Draft

Measure = Literal["parameters", "macs", "time"]
"""What a goal is about; `time` is an estimate, in MACs."""


@dataclass(frozen=True)
class Rules:
    """What may be cut and how: the settings of `prune_filters` that are about the cut."""

    importance: Criterion
    skip_layers: tuple[str, ...]
    remove_branches: bool
    limits: Limits


class Ranked:
    """A draft, with all that may be cut from it in its order.

    Args:
        draft: the model.
        rules: what may be cut and how.
        batches: (x, what the model is trained towards) as tensors, to measure importance on.
        loss: a function from the model to its Keras loss.

    Raises:
        ModelError: nothing of this model may be cut.
    """

    def __init__(self, draft: Draft, rules: Rules, batches: list[Any], loss: Any) -> None:
        self._draft = draft
        self._limits = rules.limits
        self._model = draft.restore()
        self._channels = trace(self._model, rules.skip_layers)
        self._groups = groups(self._channels)
        branches = find_branches(self._model) if rules.remove_branches else []
        self._branches = [branch for branch in branches if not set(rules.skip_layers) & set(branch.layers)]
        if not self._groups and not self._branches:
            raise _nothing_to_cut(self._channels)
        self._importance = importance(self._model, self._channels, rules.importance, batches, loss(self._model))
        self._weights = [self._weight_of(group, rules.importance) for group in self._groups]
        self._shares = branch_shares(self._model, self._branches, batches)

    def cost(self, measure: Measure) -> float:
        """What the model costs now."""
        return self._remaining(measure).total()

    def plan(self, measure: Measure, goal: float) -> Plan:
        """What must go until the cost is at most `goal`; the plan's own cost says whether it was enough."""
        candidates = [
            Candidate(group, self._importance[group.channels], weight)
            for group, weight in zip(self._groups, self._weights, strict=True)
        ]
        # Fewer parameters are wanted where bytes count, fewer MACs where time does.
        time = self._remaining("parameters" if measure == "parameters" else "time")
        return Planner(candidates, self._branch_losses(), self._remaining(measure), time, self._limits).reach(goal)

    def cut(self, plan: Plan) -> Draft:
        """The draft without what the plan says."""
        removed = np.zeros(len(self._channels.fixed), bool)
        removed[plan.channels] = True
        return cut_out(self._draft, self._model, self._channels, removed, plan.branches)

    def unreachable(self, asked: str, least: float) -> ModelError:
        """The error for a goal that no cut reaches.

        Args:
            asked: the setting and its value.
            least: the share that is left when all has gone that may go.
        """
        blockers = _described(self._model, self._channels.blockers())
        return ModelError(
            f"{asked} cannot be reached: {least:.3f} is left when all filters have gone that may go."
            + (f" These layers could not be followed, and hold others in their place: {blockers}." if blockers else ""),
            expected=f"a goal from {least:.3f} on",
            mend="raise the goal, lower min_filters or round_to, or shorten skip_layers",
        )

    def _remaining(self, measure: Measure) -> RemainingCost:
        if measure == "time":
            return RemainingCost(self._channels, self._model, time_rates(self._model), in_steps=True)
        costs = layer_costs(self._model)
        rates = {cost.name: cost.uses if measure == "macs" else (1,) * len(cost.uses) for cost in costs}
        return RemainingCost(self._channels, self._model, rates)

    def _weight_of(self, group: Group, criterion: Criterion) -> float:
        """Norms say nothing of one layer against another, so all groups count alike; a change of the loss does."""
        return float(self._importance[group.channels].sum()) if criterion == "taylor" else 1.0

    def _branch_losses(self) -> dict[Branch, float]:
        """A branch that has some share in the sum counts as if each group of channels in it lost that share."""
        losses = {}
        for branch, share in zip(self._branches, self._shares, strict=True):
            inside = {number for number, axis in enumerate(self._channels.axes) if axis.layer in branch.layers}
            weights = [w for w, group in zip(self._weights, self._groups, strict=True) if inside & set(group.places)]
            losses[branch] = loss_of_share(share) * (sum(weights) or 1.0)
        return losses


def widths(draft: Draft) -> dict[str, int]:
    """How many filters or units each layer of a draft has that has any."""
    return {name: len(along) for name, (key, along) in trace(draft.restore()).widths.items() if key != "target_shape"}


def _nothing_to_cut(channels: Channels) -> ModelError:
    blockers = channels.blockers()
    return ModelError(
        "No filter of this model can be removed"
        + (f": these layers cannot be followed: {', '.join(blockers)}." if blockers else "."),
        expected="layers with filters or units between the model's inputs and outputs, that skip_layers leaves free",
        mend="drop the stage 'prune_filters', or shorten skip_layers; 'prune' removes single weights of any model",
    )


def _described(model: Any, names: Sequence[str]) -> str:
    return ", ".join(f"{name} ({type(model.get_layer(name)).__name__})" for name in names)
