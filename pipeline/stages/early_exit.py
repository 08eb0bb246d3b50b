"""early_exit: a head that decides the easy examples early, so that only the others take the whole path."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.draft import Draft, Step
from pipeline.settings import Settings
from pipeline.stage import Stage
from pipeline.stages._exit_places import Place, chosen_place, place_after, places_of
from pipeline.stages._joint import joined
from pipeline.stages._preserve import keep_clusters, keep_zeros
from pipeline.stages._training import Trained, TrainingSettings, fit

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task

AUTO = "auto"


class Head(Settings):
    """What the early head is made of, between the features and a dense layer that gives the scores."""

    filters: int = Field(
        8, ge=0, description="A convolution of so many filters over three places, in steps of two; 0 for none."
    )
    pool_to: int = Field(
        6, ge=1, description="Features are pooled down to about as many places along each axis (height, width, time)."
    )
    units: int = Field(0, ge=0, description="A dense layer of so many units before the scores; 0 for none.")


class EarlyExit(TrainingSettings, Stage):
    """A dynamic network after Teerapittayanon et al., "BranchyNet" (2016).

    The head is trained alone: the model that it branches off from keeps its weights, and with them its accuracy. With
    `train_trunk` both are trained together, as in the paper: the features then serve the head, too. The
    result is two files: `model.tflite` gives early scores and features, `model.rest.tflite` takes the features to the
    final scores. On the device the second is asked only where the first is less sure than a threshold; that is chosen
    on the validation split, once both files are quantized, and stands in `cascade.json`.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"early_exit"})
    refuses: ClassVar[dict[str, str]] = {
        "early_exit": "the model has an early exit already; drop the second 'early_exit'",
        "qat": "its head would be quantized otherwise than the rest; drop 'qat', and the model is quantized after "
        "training",
    }

    epochs: int = Field(5, ge=1, description="Passes over the training split, for the head alone or with train_trunk.")
    train_trunk: bool = Field(
        False,
        description="Train the model on together with its head; the zeros and equal weights that it has stay so.",
    )
    early_weight: float = Field(
        0.5, gt=0, lt=1, description="With train_trunk, the head's share of the loss; the full path has the rest."
    )
    after: str = Field(AUTO, description="The layer behind which the head branches off; auto: as `share` says.")
    share: float = Field(
        0.35, gt=0, lt=1, description="auto: the last place that takes at most this share of the model's MACs."
    )
    head: Head = Field(Head(), description="What the head is made of.")
    max_drop: float = Field(
        0.003, ge=0, le=1, description="The most accuracy that may be lost against the full path. 0.01 is one point."
    )
    max_macs: float = Field(
        1.0, gt=0, le=1, description="The most MACs that an example may take on average, as a share of the full path's."
    )
    threshold: float | None = Field(
        None, gt=0, le=1, description="The least confidence to leave early with; default: chosen to keep max_drop."
    )

    @model_validator(mode="after")
    def _has_no_teacher_for_both(self) -> Self:
        if self.train_trunk and self.guidance is not None:
            raise ValueError("a teacher guides the head alone: drop train_trunk, or the guidance")
        return self

    def refuses_trait(self, trait: str) -> str:
        if trait == "bias_corrected" and self.train_trunk:
            return "training its model on would undo it; drop train_trunk, or 'correct_bias'"
        return super().refuses_trait(trait)

    def refuses_task(self, task: Task) -> str:
        if task.task_name() != "classification":
            return f"an early exit needs classes to be sure of, and '{task.task_name()}' has none"
        if getattr(task, "output", "") == "single":
            return "an early exit needs a score for each class; set task.classification.output to one_per_class"
        return ""

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed, keras

        started = time.perf_counter()
        fix_seed(seed)
        model = draft.restore()
        place = self._place(model)
        layers = self._layers(place, data.num_outputs)
        scores = place.output
        for layer in layers:
            scores = layer(scores)
        train = self._train_both if self.train_trunk else self._train_head
        trained = train(model, scores, draft, data, seed, progress)
        both = keras.Model(model.inputs, [scores, *model.outputs], name=model.name)
        step = Step(
            "early_exit",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            trained.metrics,
            trained.curves,
            promises={"max_cascade_drop": self.max_drop, "max_average_macs": self.max_macs},
            notes={"after": place.layer, "head": [layer.name for layer in layers]},
        )
        return draft.then(both, step, self.traits_after(draft.traits))

    def _place(self, model: Any) -> Place:
        places = places_of(model)
        if self.after == AUTO:
            return chosen_place(places, self.share, model)
        return place_after(places, self.after, model)

    def _layers(self, place: Place, num_outputs: int) -> list[Any]:
        """The layers of the head, for features (batch, ..., channels)."""
        from pipeline._tf import keras

        layers, axes = keras.layers, place.output.shape[1:-1]
        found = []
        if self.head.filters and len(axes) in (1, 2):
            convolution = layers.Conv1D if len(axes) == 1 else layers.Conv2D
            # It strides, for what it gives is pooled anyway.
            settings = {"strides": 2, "padding": "same", "activation": "relu", "name": "early_exit_conv"}
            found.append(convolution(self.head.filters, 3, **settings))
            axes = [-(-size // 2) for size in axes]
        sizes = [max(1, -(-size // self.head.pool_to)) for size in axes]
        if len(sizes) in (1, 2) and max(sizes) > 1:
            # Of the largest: XNNPACK has no average pooling in int8.
            pooling = layers.MaxPooling1D if len(sizes) == 1 else layers.MaxPooling2D
            found.append(pooling(sizes[0] if len(sizes) == 1 else tuple(sizes), name="early_exit_pool"))
        if len(place.output.shape) > 2:
            found.append(layers.Flatten(name="early_exit_flatten"))
        if self.head.units:
            found.append(layers.Dense(self.head.units, activation="relu", name="early_exit_dense"))
        # Logits, whatever the model ends in: as chances in int8, all that is surer than 99.6 % would look alike.
        return [*found, layers.Dense(num_outputs, name="early_exit_scores")]

    def _train_both(
        self, model: Any, scores: Any, draft: Draft, data: Dataset, seed: int, progress: Progress
    ) -> Trained:
        from pipeline._tf import keras

        both = keras.Model(model.inputs, [*model.outputs, scores])
        keep = {"sparse": keep_zeros, "clustered": keep_clusters}
        return fit(
            both,
            self,
            data,
            stage="early_exit",
            seed=seed,
            progress=progress,
            callbacks=tuple(made(both) for trait, made in keep.items() if trait in draft.traits),
            learner=lambda trained: joined(trained, data.task, self.early_weight),
        )

    def _train_head(
        self, model: Any, scores: Any, draft: Draft, data: Dataset, seed: int, progress: Progress
    ) -> Trained:
        from pipeline._tf import keras

        head = keras.Model(model.inputs, scores)
        trainable = {layer.name: layer.trainable for layer in model.layers}
        model.trainable = False
        trained = fit(head, self, data, stage="early_exit", seed=seed, progress=progress, draft=draft)
        for layer in model.layers:
            layer.trainable = trainable[layer.name]
        return trained
