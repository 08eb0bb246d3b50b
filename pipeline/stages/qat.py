"""qat: train with int8 rounding in the loop (TFMOT), keeping the zeros that pruning won."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.errors import ModelError
from pipeline.stage import Stage
from pipeline.stages._training import TrainingSettings, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress


class Qat(TrainingSettings, Stage):
    """Quantization-aware training after Jacob et al. (2017): int8 weights per channel, int8 activations.

    A sparse draft stays sparse (TFMOT's prune-preserving scheme): the traits say so, not the stage before.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"qat"})
    refuses: ClassVar[dict[str, str]] = {"qat": "the model is quantization-aware already; drop the second 'qat'"}

    epochs: int = Field(2, ge=1, description="Passes over the training split.")
    learning_rate: float = Field(3e-4, gt=0, description="At the start; lower than in training.")

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed

        started = time.perf_counter()
        fix_seed(seed)
        model = _quantization_aware(draft)
        masks = _masks(model) if "sparse" in draft.traits else []
        trained = fit(model, self, data, stage="qat", seed=seed, progress=progress)
        for kernel, mask in masks:
            kernel.assign(kernel * mask)
        step = Step("qat", self.model_dump(mode="json"), time.perf_counter() - started, trained.metrics, trained.curves)
        return draft.then(model, step, self.traits_after(draft.traits))


def _quantization_aware(draft: Draft) -> Any:
    from pipeline._tf import tfmot

    quantization = tfmot().quantization.keras
    try:
        annotated = quantization.quantize_annotate_model(draft.restore())
        return quantization.quantize_apply(annotated, _scheme(draft.traits))
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"TFMOT cannot make this model quantization-aware: {error}",
            expected="a flat Sequential or functional model of layers that TFMOT knows",
            mend="drop the stage 'qat': the model is then quantized after training",
        ) from error


def _masks(model: Any) -> list[tuple[Any, NDArray[np.float32]]]:
    """Each kernel that has zeros, with its mask.

    TFMOT masks only what the kernel is read as: the zeros themselves drift while it trains, and its quantizer with the
    mask is not saved with the model. They are set back to zero before the draft is handed on.
    """
    kernels = [weight for weight in model.trainable_weights if weight.shape.rank > 1]
    return [(kernel, (kernel.numpy() != 0).astype(np.float32)) for kernel in kernels if (kernel.numpy() == 0).any()]


def _scheme(traits: frozenset[str]) -> Any:
    """TFMOT's scheme that preserves what the draft already has."""
    from pipeline._tf import tfmot

    combine = tfmot().experimental.combine
    if "clustered" in traits:
        return combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity="sparse" in traits)
    if "sparse" in traits:
        return combine.Default8BitPrunePreserveQuantizeScheme()
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme,
    )

    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()
