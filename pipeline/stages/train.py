"""train: fit the weights to the training split, in float."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.stage import Stage
from pipeline.stages._training import TrainingSettings, fit

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

_LOST = "training in float would undo it; put 'train' before it"


class Train(TrainingSettings, Stage):
    """Plain training; sets the float baseline that everything later is compared with."""

    refuses: ClassVar[dict[str, str]] = {**dict.fromkeys(("sparse", "clustered", "qat", "bias_corrected"), _LOST)}

    epochs: int = Field(10, ge=1, description="Passes over the training split.")

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed

        started = time.perf_counter()
        fix_seed(seed)
        model = draft.restore()
        trained = fit(model, self, data, stage="train", seed=seed, progress=progress, draft=draft)
        step = Step(
            "train", self.model_dump(mode="json"), time.perf_counter() - started, trained.metrics, trained.curves
        )
        return draft.then(model, step, self.traits_after(draft.traits))
