"""Stage: one step from draft to draft. Its fields are its settings. One file a stage in `stages/`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.draft import Draft
    from pipeline.progress import Progress
    from pipeline.settings import ModelFile
    from pipeline.task import Task

TRAITS = frozenset(
    {"sparse", "clustered", "qat", "filters_removed", "distilled", "early_exit", "equalized", "bias_corrected"}
)

_ONE_OUTPUT = "it works on models of one output, and an early exit makes it two; put 'early_exit' last"


class Stage(Settings, ABC):
    """A step of the recipe. It declares what it does to a draft's traits, so order is checked before any work.

    Class attributes:
        gives: traits that the draft has afterwards.
        keeps: traits that survive it; any other that the draft had is lost.
        refuses: traits that a draft must not have, with the reason that the user is told; two outputs, which come
            with "early_exit", no stage takes.
    """

    gives: ClassVar[frozenset[str]] = frozenset()
    keeps: ClassVar[frozenset[str]] = TRAITS
    refuses: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        """Take the next step.

        Args:
            draft: where the model stands. It is data: `draft.restore()` gives a model to work on.
            data: what to train and validate with.
            seed: fixes every random choice.
            progress: told how far it is.

        Returns:
            A new draft, with this step and its metrics added.

        Raises:
            Diverged: training left the finite numbers.
            BrokenPromise: the step did not reach what its settings ask for.
            ModelError: the model has something that this stage cannot work on.
        """

    def teacher_file(self) -> ModelFile | None:
        """The file of a model that this stage learns from; it is taken in before `apply`, as `draft.teacher`."""
        return None

    def refuses_task(self, task: Task) -> str:
        """Why this stage cannot work for a task; "" where it can."""
        return ""

    @classmethod
    def refusal(cls, trait: str) -> str:
        """Why this stage cannot work on a draft with a trait; "" where it can."""
        return cls.refuses.get(trait, _ONE_OUTPUT if trait == "early_exit" else "")

    def refuses_trait(self, trait: str) -> str:
        """`refusal`, of the stage as it is set."""
        return self.refusal(trait)

    @classmethod
    def stage_name(cls) -> str:
        """The name in recipes: the file's."""
        return cls.__module__.rsplit(".", 1)[-1]

    @classmethod
    def traits_after(cls, before: frozenset[str]) -> frozenset[str]:
        """The traits of a draft once this stage has worked on it."""
        return (before & cls.keeps) | cls.gives
