"""prune_filters: remove whole filters, units and residual branches: smaller and faster without special kernels."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.cost import total_macs
from pipeline.draft import Draft, Step
from pipeline.stage import TRAITS, Stage
from pipeline.stages._filter_cut import Measure, Ranked, Rules, widths
from pipeline.stages._filter_plan import Limits
from pipeline.stages._importance import BATCHES, Criterion
from pipeline.stages._int8_latency import Stopwatch, stopwatch
from pipeline.stages._kernels import layers_named
from pipeline.stages._sparse_cut import Zeros, as_sparse_as, keep_zeros, share_of_zeros
from pipeline.stages._training import Trained, TrainingSettings, fit

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

Share = Annotated[float, Field(gt=0, lt=1)]

_GOALS = ("keep_parameters", "keep_macs", "keep_latency")

BISECTIONS = 6
"""How often the way to a goal of latency is halved."""


class PruneFilters(TrainingSettings, Stage):
    """Structured pruning: channels are followed through the whole model, and go where they matter least for their cost.

    The groups of channels that only go together are those of DepGraph (Fang et al., arXiv 2301.12900). The loss of a
    cut is -log of the share of a group's importance that is left, divided by what the cut saves; the cheapest goes
    first, over all layers. A residual branch around which an identity leads goes as a whole where its share in the sum
    is cheaper than the channels.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"filters_removed"})
    keeps: ClassVar[frozenset[str]] = TRAITS
    refuses: ClassVar[dict[str, str]] = {
        "qat": "the ranges that were trained belong to the filters that would go; put 'prune_filters' before 'qat'",
        "clustered": "fine-tuning would break the clusters; put 'prune_filters' before 'cluster'",
    }

    keep_parameters: Share | None = Field(None, description="Share of the parameters that stays.")
    keep_macs: Share | None = Field(None, description="Share of the multiply-accumulates that stays.")
    keep_latency: Share | None = Field(
        None,
        description="Share of the int8 latency on this machine that stays. It is measured, so two runs may differ.",
    )
    importance: Criterion = Field(
        "taylor",
        description="What shows that a filter matters: l1, the norm of its weights; batchnorm, its scale in the batch "
        "normalization behind it; taylor, the change of the loss without it, by gradients on training data.",
    )
    skip_layers: tuple[str, ...] = Field(
        (), description="Layers whose filters all stay, by name or by a pattern such as `stage1_*`."
    )
    remove_branches: bool = Field(True, description="Whether whole residual branches may go.")
    min_filters: int = Field(4, ge=1, description="No layer gets fewer filters.")
    round_to: int = Field(
        8, ge=1, description="Layers of at least twice as many filters keep a multiple of this; kernels like 8."
    )
    steps: int = Field(1, ge=1, description="On the way to the goal, cut and fine-tune so many times.")
    epochs: int = Field(4, ge=1, description="Passes over the training split after each cut.")
    learning_rate: float = Field(5e-4, gt=0, description="At the start of each fine-tuning; lower than in training.")

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        given = [name for name in _GOALS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_GOALS)} ({' and '.join(given) or 'none'} given)")
        return self

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed

        started = time.perf_counter()
        fix_seed(seed)
        zeros = Zeros.of(draft.restore()) if "sparse" in draft.traits else None
        now, runs = draft, []
        reached: dict[str, float] = {}
        for number in range(1, self.steps + 1):
            now, reached = self._cut(now, draft, number, data, seed, progress)
            now, trained = self._fine_tuned(now, draft, zeros, data, seed + number, progress)
            runs.append(trained)
        model = now.restore()
        step = Step(
            "prune_filters",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            metrics=runs[-1].metrics | _costs(draft.restore(), "_before") | _costs(now.restore()) | reached,
            curves=_joined(runs),
            promises={"min_sparsity": share_of_zeros(now.restore())} if zeros else {},
            notes=_what_went(draft, now),
        )
        return draft.then(model, step, self.traits_after(draft.traits))

    def _cut(
        self, now: Draft, before: Draft, number: int, data: Dataset, seed: int, progress: Progress
    ) -> tuple[Draft, dict[str, float]]:
        """The draft after one cut, whose goal lies as far on the way as the cut, not yet trained; and what was measured
        of it."""
        rules = self._rules(before)
        batches = list(data.training_batches(self.batch_size, seed + number).take(BATCHES))
        ranked = Ranked(now, rules, batches, data.task.loss)
        if self.keep_latency is not None and number == self.steps:
            with stopwatch(before, data, seed) as watch:
                return self._as_fast(ranked, watch, self.keep_latency, progress)
        measure: Measure = "parameters" if self.keep_parameters is not None else "macs"
        # On the way to a latency, MACs show it well enough: an inference never gets faster than they get fewer.
        share = self.keep_parameters or self.keep_macs or self.keep_latency or 1.0
        whole = _costs(before.restore())[measure]
        plan = ranked.plan(measure, whole * share ** (number / self.steps))
        if plan.cost > whole * share ** (number / self.steps):
            raise ranked.unreachable(self._goal(), plan.cost / whole)
        progress.note(f"prune_filters: {plan.cost / whole:.1%} of the {measure} stay")
        return ranked.cut(plan), {}

    def _rules(self, whole: Draft) -> Rules:
        known = [layer.name for layer in whole.restore().layers]
        skipped = layers_named("stages.prune_filters.skip_layers", self.skip_layers, known)
        return Rules(self.importance, tuple(skipped), self.remove_branches, Limits(self.min_filters, self.round_to))

    def _as_fast(
        self, ranked: Ranked, watch: Stopwatch, goal: float, progress: Progress
    ) -> tuple[Draft, dict[str, float]]:
        """The largest cut draft that is as fast as asked, found by halving the way between all and the least."""
        whole = ranked.cost("time")
        plan = ranked.plan("time", 0.0)
        fastest = ranked.cut(plan)
        share = watch.share(fastest)
        if share > goal:
            raise ranked.unreachable(self._goal(), share)
        least, most = plan.cost / whole, 1.0
        for _ in range(BISECTIONS):
            middle = (least + most) / 2
            draft = ranked.cut(ranked.plan("time", whole * middle))
            found = watch.share(draft)
            if found <= goal:
                fastest, share, least = draft, found, middle
            else:
                most = middle
        progress.note(f"prune_filters: {share:.1%} of the latency stays")
        return fastest, {"latency_share": share}

    def _fine_tuned(
        self, now: Draft, before: Draft, zeros: Zeros | None, data: Dataset, seed: int, progress: Progress
    ) -> tuple[Draft, Trained]:
        model = now.restore()
        callbacks: tuple[Any, ...] = ()
        if zeros is not None:
            as_sparse_as(zeros, model)
            callbacks = (keep_zeros(model),)
        trained = fit(
            model,
            self,
            data,
            stage="prune_filters",
            seed=seed,
            progress=progress,
            callbacks=callbacks,
            draft=before,
        )
        return Draft.of(model, now.traits), trained

    def _goal(self) -> str:
        name = next(name for name in _GOALS if getattr(self, name) is not None)
        return f"stages.prune_filters.{name}={getattr(self, name)}"


def _costs(model: Any, when: str = "") -> dict[str, float]:
    return {f"parameters{when}": float(model.count_params()), f"macs{when}": float(total_macs(model))}


def _joined(runs: list[Trained]) -> dict[str, list[float]]:
    """The curves of all fine-tunings, one behind the other."""
    return {name: [value for run in runs for value in run.curves[name]] for name in runs[0].curves}


def _what_went(before: Draft, after: Draft) -> dict[str, Any]:
    """For the report: `filters` of each layer that got fewer, "32 → 20", and the additions where branches ended."""
    old, new = widths(before), widths(after)
    left = {layer.name for layer in after.restore().layers}
    additions = [layer.name for layer in before.restore().layers if type(layer).__name__ == "Add"]
    return {
        "filters": {name: f"{old[name]} → {count}" for name, count in new.items() if count != old[name]},
        "branches_removed": [name for name in additions if name not in left],
    }
