"""qat: train with int8 rounding in the loop (TFMOT), keeping the zeros and the clusters that were won before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.errors import ModelError
from pipeline.stage import Stage
from pipeline.stages._kernels import layers_named
from pipeline.stages._preserve import keep_clusters, keep_zeros
from pipeline.stages._quantization import Ways, quantization_aware
from pipeline.stages._ranges import start_from_data
from pipeline.stages._training import TrainingSettings, fit

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

FIRST_BATCHES = 4
"""Batches that the ranges start from."""


class Qat(TrainingSettings, Stage):
    """Quantization-aware training after Jacob et al. (2017): int8 weights per channel, int8 activations.

    Layers that TFMOT does not know get a quantize config of ours, or are left to the ranges that the converter measures
    while the others are trained; the step's notes name the way of each layer. A sparse draft stays sparse and a
    clustered one clustered (PQAT, CQAT, PCQAT): the traits say so, not the stage before. TFMOT has schemes for that,
    which know Dense and Conv2D alone and whose drafts cannot be restored; here equal weights of any layer stay equal.
    Layers that `skip_layers` names are quantized after training like those that TFMOT does not know: the final file is
    int8 all the same.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"qat"})
    refuses: ClassVar[dict[str, str]] = {"qat": "the model is quantization-aware already; drop the second 'qat'"}

    float32_only: ClassVar[str] = "int8 is simulated in float32; train in 16 bits before 'qat'"

    epochs: int = Field(2, ge=1, description="Passes over the training split.")
    learning_rate: float = Field(3e-4, gt=0, description="At the start; lower than in training.")
    skip_layers: tuple[str, ...] = Field(
        (),
        description="Layers that are quantized after training only, by name or by a pattern such as `stage1_*`; with "
        "each goes what TensorFlow Lite makes one operator of with it.",
    )

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed

        started = time.perf_counter()
        fix_seed(seed)
        model, ways = self._quantization_aware(draft)
        start_from_data(model, data.training_batches(self.batch_size, seed).take(FIRST_BATCHES).map(lambda x, _: x))
        keepers = {"sparse": keep_zeros, "clustered": keep_clusters}
        callbacks = tuple(keep(model) for trait, keep in keepers.items() if trait in draft.traits)
        trained = fit(model, self, data, stage="qat", seed=seed, progress=progress, callbacks=callbacks, draft=draft)
        seconds = time.perf_counter() - started
        settings = self.model_dump(mode="json")
        step = Step("qat", settings, seconds, trained.metrics, trained.curves, notes=ways.notes())
        return draft.then(model, step, self.traits_after(draft.traits))

    def _quantization_aware(self, draft: Draft) -> tuple[Any, Ways]:
        model = draft.restore()
        skipped = layers_named("stages.qat.skip_layers", self.skip_layers, [layer.name for layer in model.layers])
        try:
            return quantization_aware(model, _scheme(), skipped)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"TFMOT cannot make this model quantization-aware: {error}",
                expected="a flat Sequential or functional model of layers that TFMOT can copy",
                mend="drop the stage 'qat': the model is then quantized after training",
            ) from error


def _scheme() -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme,
    )

    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()
