"""prune: set the weights that matter least to zero while training goes on."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from pipeline.draft import Draft, Step
from pipeline.errors import ModelError
from pipeline.stage import TRAITS, Stage
from pipeline.stages import _shares, _weight_importance
from pipeline.stages._kernels import Kernel, kernels_of, layers_named, refuse_unknown_layers
from pipeline.stages._masks import Blocks, Pattern, Single, zeros_for
from pipeline.stages._preserve import after_every_batch
from pipeline.stages._proof import kept_groups_share, refuse_dead_layers, refuse_fewer, share_of_zeros
from pipeline.stages._prune_settings import PruneSettings
from pipeline.stages._pruner import CountedMasks, GroupedMasks, Pruner, Ramp, alive_scores
from pipeline.stages._sensitivity import loss_increases, validation_loss
from pipeline.stages._training import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.stages._masks import Mask
    from pipeline.stages._shares import Counts
    from pipeline.stages._weight_importance import Score

MASK_UPDATES = {"magnitude_l1": 60, "magnitude_l2": 60, "random": 60, "gradient": 12, "taylor": 12}
"""How often the masks are made anew on the way to the full sparsity: gradients cost as much as training steps."""

SENSITIVITY_LEVELS = (0.5, 0.7, 0.85, 0.95)


class Prune(PruneSettings, Stage):
    """Pruning with the gradual schedule of Zhu and Gupta, "To prune, or not to prune" (2017).

    The schedule is fitted to the steps that really happen, so the sparsity is reached however short the run,
    and it is counted in the weights before the stage says that it is done. Why the masks are ours: docs/adr/0008.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"sparse"})
    keeps: ClassVar[frozenset[str]] = TRAITS - {"clustered"}
    refuses: ClassVar[dict[str, str]] = {
        "qat": "pruning would tear down the quantization that was trained; put 'prune' before 'qat'",
        "clustered": "pruning would break the clusters; put 'prune' before 'cluster'",
    }

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed

        started = time.perf_counter()
        fix_seed(seed)
        model = draft.restore()
        kernels = self._chosen(model)
        score = self._score(model, data, seed)
        masks_of, notes = self._masks_of(model, kernels, score, data, seed, progress)
        ramp = self._ramp(self.total_steps(data))
        pruner = Pruner(kernels, score, masks_of, ramp)
        pruner.begin()
        trained = fit(
            model,
            self,
            data,
            stage="prune",
            seed=seed,
            progress=progress,
            callbacks=(after_every_batch(pruner.step),),
            draft=draft,
            settled_after=max(0, math.ceil(ramp.end_step / self.steps_per_epoch(data)) - 1),
        )
        refuse_dead_layers("prune", [] if self.max_layer_sparsity == 1 else kernels_of(model))
        self._refuse_too_dense(kernels)
        step = Step(
            "prune",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            {**trained.metrics, "sparsity": share_of_zeros([kernel.values() for kernel in kernels])},
            trained.curves,
            self._promises(model, kernels),
            {**notes, **self._notes(model, kernels)},
        )
        return draft.then(model, step, self.traits_after(draft.traits))

    def _chosen(self, model: Any) -> list[Kernel]:
        """The kernels that are pruned."""
        skipped = layers_named("stages.prune.skip_layers", self.skip_layers, [layer.name for layer in model.layers])
        kernels = [kernel for kernel in kernels_of(model) if kernel.layer not in skipped and self._fits(kernel)]
        if isinstance(self.sparsity, dict):
            refuse_unknown_layers("stages.prune.sparsity", self.sparsity, [kernel.layer for kernel in kernels])
            kernels = [kernel for kernel in kernels if kernel.layer in self.sparsity]
        if not kernels:
            raise ModelError("The model has no layer left that pruning can work on.", mend="drop the stage 'prune'")
        return kernels

    def _fits(self, kernel: Kernel) -> bool:
        if self.pattern != "unstructured" and kernel.stored_axes is None:
            return False
        named = isinstance(self.sparsity, dict) and kernel.layer in self.sparsity
        return named or self.depthwise or kernel.name != "depthwise_kernel"

    def _ramp(self, total_steps: int) -> Ramp:
        """The schedule, whose last step is one that is really taken."""
        if self.ramp == "constant" or self.pattern == "m_by_n":
            return Ramp(end_step=0)
        rising_steps = max(1, int(total_steps * self.ramp_fraction))
        every = max(1, rising_steps // MASK_UPDATES[self.importance])
        return Ramp(rising_steps // every * every, every)

    def _score(self, model: Any, data: Dataset, seed: int) -> Score:
        if self.importance == "random":
            return _weight_importance.chance(seed)
        power: Literal[1, 2] = 2 if self.importance in ("magnitude_l2", "taylor") else 1
        if self.importance.startswith("magnitude"):
            return _weight_importance.magnitude(power)
        batches = data.training_batches(self.batch_size, seed).take(self.importance_batches)
        return _weight_importance.gradient(model, data.task.loss(model), batches, power)

    def _masks_of(
        self, model: Any, kernels: list[Kernel], score: Score, data: Dataset, seed: int, progress: Progress
    ) -> tuple[CountedMasks | GroupedMasks, dict[str, Any]]:
        """What makes the masks, and what was found out for it."""
        if self.pattern == "m_by_n":
            return GroupedMasks(*self.m_by_n), {}
        if self.scope != "sensitivity":
            return self._counted(self._counts(kernels)), {}
        layers: dict[str, list[Kernel]] = {}
        for kernel in kernels:
            layers.setdefault(kernel.layer, []).append(kernel)
        levels = [*(one for one in SENSITIVITY_LEVELS if one < self.max_layer_sparsity), self.max_layer_sparsity]

        found = alive_scores(score(kernels), [kernel.values() != 0 for kernel in kernels])
        scores_of = {id(kernel): one for kernel, one in zip(kernels, found, strict=True)}

        def masks_at(some: Sequence[Kernel], level: float) -> Sequence[Mask]:
            scores = [scores_of[id(kernel)] for kernel in some]
            return self._counted(_shares.by_share([level] * len(some)))(some, scores, 1.0)

        harm = loss_increases(layers, levels, masks_at, validation_loss(model, data, seed), progress)
        sizes = [sum(kernel.variable.shape.num_elements() for kernel in some) for some in layers.values()]
        shares = _shares.equal_harm(sizes, levels, np.asarray(list(harm.values())), self.one_sparsity)
        by_layer = dict(zip(layers, shares, strict=True))
        counts = _shares.by_share([by_layer[kernel.layer] for kernel in kernels])
        return self._counted(counts), {"sensitivity": {"levels": levels, "loss_increase": harm}}

    def _counts(self, kernels: list[Kernel]) -> Counts:
        if self.threshold is not None:
            units = [float(kernel.values().std()) if self.threshold_unit == "std" else 1.0 for kernel in kernels]
            return _shares.by_threshold([self.threshold * unit for unit in units], self.max_layer_sparsity)
        if self.scope == "global":
            return _shares.by_rank(self.one_sparsity, self.max_layer_sparsity)
        return _shares.by_share([self.share_of(kernel.layer) for kernel in kernels])

    def _counted(self, counts: Counts) -> CountedMasks:
        return CountedMasks(self._units(), counts)

    def _units(self) -> Pattern:
        return Blocks(*self.block_size, self.block_pooling) if self.pattern == "block" else Single()

    def _refuse_too_dense(self, kernels: list[Kernel]) -> None:
        """Count the zeros that the settings ask for.

        Raises:
            BrokenPromise: there are fewer.
        """
        found = [self._zero_units(kernel) for kernel in kernels]
        units = [self._units().pool(kernel.values(), kernel.stored_axes).size for kernel in kernels]
        if self.pattern == "m_by_n":
            return refuse_fewer("all kernels", kept_groups_share(kernels, *self.m_by_n), 1.0)
        if self.threshold is not None:
            return refuse_fewer("all kernels", sum(found), 1)
        if self.scope == "layer":
            for kernel, zeros, size in zip(kernels, found, units, strict=True):
                refuse_fewer(f"layer '{kernel.layer}'", zeros, zeros_for(size, self.share_of(kernel.layer)))
            return None
        # Each kernel's count was rounded once.
        return refuse_fewer("all kernels", sum(found), zeros_for(sum(units), self.one_sparsity) - len(kernels))

    def _zero_units(self, kernel: Kernel) -> int:
        largest = Blocks(*self.block_size, "max") if self.pattern == "block" else Single()
        return int((largest.pool(np.abs(kernel.values()), kernel.stored_axes) == 0).sum())

    def _promises(self, model: Any, kernels: list[Kernel]) -> dict[str, float]:
        """What the final bytes must show: numbers that `pipeline/verify.py` measures there."""
        promises = {"min_sparsity": share_of_zeros([weight for weight in model.get_weights() if weight.ndim > 1])}
        if self.max_layer_sparsity < 1:
            promises["max_dead_layers"] = 0
        if self.pattern == "m_by_n":
            promises["min_pattern_share"] = kept_groups_share(kernels, *self.m_by_n)
        if self.pattern == "block":
            units = sum(self._units().pool(kernel.values(), kernel.stored_axes).size for kernel in kernels)
            promises["min_pattern_share"] = sum(map(self._zero_units, kernels)) / units
        return promises

    def _notes(self, model: Any, kernels: list[Kernel]) -> dict[str, Any]:
        """The sparsity of each layer; the layers that stayed dense; the pattern and where it lies."""
        pruned: dict[str, list[Any]] = {}
        for kernel in kernels:
            pruned.setdefault(kernel.layer, []).append(kernel.values())
        dense = dict.fromkeys(kernel.layer for kernel in kernels_of(model) if kernel.layer not in pruned)
        notes: dict[str, Any] = {
            "sparsity": {layer: round(share_of_zeros(weights), 6) for layer, weights in pruned.items()},
            "left_dense": list(dense),
        }
        if self.pattern != "unstructured":
            sizes = self.block_size if self.pattern == "block" else self.m_by_n
            notes["pattern"] = {"kind": self.pattern, "sizes": list(sizes), "layers": list(pruned)}
        return notes
