"""distil: train a smaller model, or the same anew, towards what a larger one says."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.choice import ModelChoice
from pipeline.draft import Draft, Step
from pipeline.stage import Stage
from pipeline.stages._guidance import Guidance
from pipeline.stages._training import TrainingSettings, fit

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.settings import ModelFile

_LOST = "a student starts anew, without it; put 'distil' first, and set 'guidance' in the stages behind it"


class Distil(TrainingSettings, Stage):
    """Knowledge distillation (Hinton, Vinyals and Dean, 2015): the draft, or another model, teaches a student.

    Without a student the same architecture learns anew from itself ("Born-Again Neural Networks", Furlanello et al.,
    2018). The teacher stays with the draft: later stages ask it too where they set `guidance`.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"distilled"})
    keeps: ClassVar[frozenset[str]] = frozenset({"distilled"})
    refuses: ClassVar[dict[str, str]] = {"sparse": _LOST, "clustered": _LOST, "qat": _LOST}

    epochs: int = Field(10, ge=1, description="Passes over the training split.")
    student: ModelChoice | None = Field(
        None, description="A model of the zoo; default: the draft's own architecture, with new weights."
    )
    teacher: ModelChoice | None = Field(
        None, description="A saved model, or a model of the zoo that is trained first; default: the draft."
    )
    teacher_epochs: int = Field(10, ge=1, description="Passes over the training split for a teacher of the zoo.")
    guidance: Guidance = Field(Guidance(), description="How much the teacher counts, and for what.")

    @model_validator(mode="after")
    def _student_of_the_zoo(self) -> Self:
        if self.student is not None and self.student.file is not None:
            raise ValueError("the student must be a model of the zoo; a model of your own goes into 'model'")
        return self

    def teacher_file(self) -> ModelFile | None:
        return self.teacher.file if self.teacher is not None else None

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed

        started = time.perf_counter()
        taught = replace(draft, teacher=self._teacher(draft, data, seed, progress))
        fix_seed(seed)
        student = self._student(draft, data)
        trained = fit(student, self, data, stage="distil", seed=seed, progress=progress, draft=taught)
        metrics = {**trained.metrics, "parameters": float(student.count_params())}
        step = Step("distil", self.model_dump(mode="json"), time.perf_counter() - started, metrics, trained.curves)
        return taught.then(student, step, self.traits_after(draft.traits))

    def _teacher(self, draft: Draft, data: Dataset, seed: int, progress: Progress) -> Draft:
        if self.teacher is None:
            return draft.bare()
        if self.teacher.file is not None:
            assert draft.teacher is not None  # taken in before the stage began, see Stage.teacher_file
            return draft.teacher
        from pipeline._tf import fix_seed

        fix_seed(seed)
        model = self.teacher.build(data)
        plain = self.model_copy(update={"epochs": self.teacher_epochs, "guidance": None})
        fit(model, plain, data, stage="distil: teacher", seed=seed, progress=progress)
        return Draft.of(model)

    def _student(self, draft: Draft, data: Dataset) -> Any:
        from pipeline._tf import keras

        if self.student is not None:
            keras.backend.clear_session()
            return self.student.build(data)
        # A clone has the layers, and weights of its own from their initializers.
        return keras.models.clone_model(draft.restore())
