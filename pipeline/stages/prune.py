"""prune: set the smallest weights to zero while training goes on (TFMOT magnitude pruning)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.errors import BrokenPromise, ModelError
from pipeline.stage import TRAITS, Stage
from pipeline.stages._training import TrainingSettings, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

MASK_UPDATES = 60
"""How often the masks are made anew on the way to the full sparsity."""


class Prune(TrainingSettings, Stage):
    """Magnitude pruning after Zhu and Gupta, "To prune, or not to prune" (2017), layer by layer.

    The schedule is fitted to the steps that really happen, so the sparsity is reached however short the run,
    and it is counted in the weights before the stage says that it is done.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"sparse"})
    keeps: ClassVar[frozenset[str]] = TRAITS - {"clustered"}
    refuses: ClassVar[dict[str, str]] = {
        "qat": "pruning would tear down the quantization that was trained; put 'prune' before 'qat'",
        "clustered": "pruning would break the clusters; put 'prune' before 'cluster'",
    }

    epochs: int = Field(4, ge=1, description="Passes over the training split.")
    sparsity: float = Field(0.8, gt=0, lt=1, description="Share of each layer's weights that become zero.")
    ramp: Literal["polynomial", "constant"] = Field(
        "polynomial", description="polynomial rises from zero with a cubic; constant prunes at once."
    )
    ramp_fraction: float = Field(0.6, gt=0, le=1, description="Share of the steps in which the ramp rises.")
    skip_layers: tuple[str, ...] = Field((), description="Names of layers that are left dense.")

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed, tfmot

        started = time.perf_counter()
        fix_seed(seed)
        dense = draft.restore()
        names = self._prunable(dense)
        masked = _masked(dense, names, self._ramp(self.total_steps(data)))
        pruning_step = tfmot().sparsity.keras.UpdatePruningStep()
        trained = fit(masked, self, data, stage="prune", seed=seed, progress=progress, callbacks=(pruning_step,))
        model = tfmot().sparsity.keras.strip_pruning(masked)
        metrics = {**trained.metrics, "sparsity": self._reached(model, names)}
        step = Step(
            "prune",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            metrics,
            trained.curves,
            promises={"min_sparsity": _share_of_zeros([w for w in model.get_weights() if w.ndim > 1])},
        )
        return draft.then(model, step, self.traits_after(draft.traits))

    def _prunable(self, model: Any) -> list[str]:
        known = [layer.name for layer in model.layers]
        unknown = sorted(set(self.skip_layers) - set(known))
        if unknown:
            raise ModelError(
                f"stages.prune.skip_layers names layers that the model does not have: {', '.join(unknown)}.",
                expected=f"some of: {', '.join(known)}",
            )
        names = [layer.name for layer in model.layers if layer.name not in self.skip_layers and _kernels(layer)]
        if not names:
            raise ModelError("The model has no layer left that pruning can work on.", mend="drop the stage 'prune'")
        return names

    def _ramp(self, total_steps: int) -> Any:
        """The schedule, whose last mask update falls on a step that is really taken (TFMOT counts from 1)."""
        from pipeline._tf import tfmot

        schedules = tfmot().sparsity.keras
        if self.ramp == "constant":
            return schedules.ConstantSparsity(self.sparsity, begin_step=1, end_step=1, frequency=1)
        rising_steps = max(1, int(total_steps * self.ramp_fraction))
        frequency = max(1, rising_steps // MASK_UPDATES)
        end_step = rising_steps // frequency * frequency
        return schedules.PolynomialDecay(0.0, self.sparsity, begin_step=0, end_step=end_step, frequency=frequency)

    def _reached(self, model: Any, names: list[str]) -> float:
        """The sparsity over all pruned weights; every layer's is held against the settings."""
        pruned = {name: _kernels(model.get_layer(name)) for name in names}
        for name, kernels in pruned.items():
            for kernel in kernels:
                zeros = int((kernel == 0).sum())
                # TFMOT rounds the weights to keep to a whole number, and always keeps one.
                if zeros < min(round(kernel.size * self.sparsity), kernel.size - 1) - 1:
                    raise BrokenPromise(
                        f"Pruning left {zeros / kernel.size:.1%} zeros in layer '{name}'.",
                        expected=f"{self.sparsity:.1%}",
                        mend="this is a fault of edgesmith: please report it with the recipe",
                    )
        return _share_of_zeros([kernel for kernels in pruned.values() for kernel in kernels])


def _kernels(layer: Any) -> list[NDArray[Any]]:
    """The weights of a layer that TFMOT prunes."""
    from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import PruneRegistry

    if not PruneRegistry.supports(layer):
        return []
    return [kernel.numpy() for kernel in PruneRegistry.make_prunable(layer).get_prunable_weights()]


def _masked(dense: Any, names: list[str], ramp: Any) -> Any:
    """A copy of the model whose named layers carry pruning masks."""
    from pipeline._tf import keras, tfmot

    def wrap(layer: Any) -> Any:
        if layer.name not in names:
            return layer.__class__.from_config(layer.get_config())
        return tfmot().sparsity.keras.prune_low_magnitude(layer, pruning_schedule=ramp)

    masked = keras.models.clone_model(dense, clone_function=wrap)
    for copy, original in zip(masked.layers, dense.layers, strict=True):
        (copy.layer if original.name in names else copy).set_weights(original.get_weights())
    return masked


def _share_of_zeros(kernels: list[NDArray[Any]]) -> float:
    return sum(int((kernel == 0).sum()) for kernel in kernels) / sum(kernel.size for kernel in kernels)
