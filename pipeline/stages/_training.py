"""Training as every stage does it: the settings, the loop, and what is watched while it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from pipeline.errors import Diverged
from pipeline.settings import Settings
from pipeline.stages._guidance import Guidance, guided, teacher_of
from pipeline.stages._optimizer import OptimizerSettings, optimizer_for, plateau_callback
from pipeline.stages._twin import Distribution, Precision, copy_weights, devices, follow, scaled, twin_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.dataset import Dataset
    from pipeline.draft import Draft
    from pipeline.progress import Bar, Progress


LOOK_EVERY = 16
"""Batches between two looks at the loss."""


class EarlyStopping(Settings):
    """Stop when the validation loss has not improved for a while, and go back to the best weights."""

    patience: int = Field(3, ge=1, description="Epochs without improvement before training stops.")
    min_delta: float = Field(0.0, ge=0, description="The least fall of the validation loss that counts.")


class TrainingSettings(OptimizerSettings):
    """What can be set wherever weights are trained.

    Class attributes:
        float32_only, one_device_only: why a stage trains in no other way; empty where it does.
    """

    float32_only: ClassVar[str] = ""
    one_device_only: ClassVar[str] = ""

    epochs: int = Field(ge=1, description="Passes over the training split.")
    batch_size: int = Field(64, ge=1, description="Examples a step, over all devices together.")
    early_stopping: EarlyStopping | None = Field(None, description="Off unless given.")
    guidance: Guidance | None = Field(None, description="A teacher's outputs beside the targets; off unless given.")
    precision: Precision = Field(
        "float32",
        description="mixed_bfloat16 and mixed_float16 compute in 16 bits and keep the weights in 32, for processors "
        "that are faster so; the loss is scaled where float16 needs it. The model is float32 afterwards.",
    )
    distribute: Distribution = Field(
        "none",
        description="mirrored: each batch is shared out over all GPUs, or CPU devices, of this machine "
        "(tf.distribute.MirroredStrategy).",
    )
    tensorboard: bool = Field(False, description="Write TensorBoard logs into the output folder.")

    @model_validator(mode="after")
    def _can_be_trained_so(self) -> Self:
        if self.precision != "float32" and self.float32_only:
            raise ValueError(f"precision: {self.precision} cannot be: {self.float32_only}")
        if self.distribute != "none" and self.one_device_only:
            raise ValueError(f"distribute: {self.distribute} cannot be: {self.one_device_only}")
        if self.distribute == "mirrored" and self.guidance is not None:
            raise ValueError("a teacher guides on one device alone: drop 'distribute: mirrored', or the guidance")
        warmup = self.schedule.warmup_epochs or 0
        if warmup >= self.epochs:
            raise ValueError(f"schedule.warmup_epochs ({warmup:g}) must be less than epochs ({self.epochs})")
        return self

    @property
    def trains_apart(self) -> bool:
        """Whether a twin trains in the place of the model."""
        return self.precision != "float32" or self.distribute != "none"

    def steps_per_epoch(self, data: Dataset) -> int:
        """Batches in one pass over the training split."""
        return math.ceil(data.train.size / self.batch_size)

    def total_steps(self, data: Dataset) -> int:
        """Batches in the whole run."""
        return self.steps_per_epoch(data) * self.epochs


@dataclass(frozen=True)
class Trained:
    """What a training run measured: the last value of each curve, and the curves, a value an epoch."""

    metrics: dict[str, float]
    curves: dict[str, list[float]]


def fit(
    model: Any,
    settings: TrainingSettings,
    data: Dataset,
    *,
    stage: str,
    seed: int,
    progress: Progress,
    callbacks: tuple[Any, ...] = (),
    settled_after: int = 0,
    draft: Draft | None = None,
    learner: Callable[[Any], Any] | None = None,
) -> Trained:
    """Train a Keras model on the training split; the validation split is only watched.

    Args:
        model: a tf_keras model; its weights change.
        settings: how.
        data: with what; the task gives loss and metrics.
        stage: named in the progress and in the log.
        seed: fixes the order of the examples.
        progress: a bar that moves a step a batch, and a line of log an epoch.
        callbacks: more Keras callbacks, which act after every batch and at the end, on `model`.
        settled_after: epochs in which the model is still being changed; early stopping looks only at later ones.
        draft: what the training starts from; its teacher guides it where the settings ask for that.
        learner: makes of the model the one that is compiled and fitted in its place, and shares its weights.

    Raises:
        ModelError: the teacher does not fit the model.
        Diverged: the loss is no finite number any more; training stops in that batch.
    """
    with devices(settings.distribute):
        trained = twin_of(model, settings.precision) if settings.trains_apart else model
        fitted = _compiled(trained, settings, data, draft, learner)
    if settings.trains_apart:
        callbacks = (follow(model, trained, callbacks),)
    with progress.bar(stage, settings.total_steps(data)) as bar:
        history = fitted.fit(
            data.training_batches(settings.batch_size, seed),
            validation_data=data.validation_batches(max(settings.batch_size, 256)),
            epochs=settings.epochs,
            callbacks=[_watch(stage, bar, progress), *_optional(settings, stage, progress, settled_after), *callbacks],
            verbose=0,
        ).history
    if settings.trains_apart:
        copy_weights(trained, model)
    curves = {name: [float(value) for value in values] for name, values in history.items()}
    return Trained({name: values[-1] for name, values in curves.items()}, curves)


def _compiled(
    model: Any,
    settings: TrainingSettings,
    data: Dataset,
    draft: Draft | None,
    learner: Callable[[Any], Any] | None,
) -> Any:
    """The model, or the model with its teacher, or what learns in its place; ready for `fit`."""
    optimizer = optimizer_for(settings, settings.steps_per_epoch(data), settings.total_steps(data))
    loss, metrics = data.task.loss(model), data.task.keras_metrics(model)
    if settings.guidance is not None and draft is not None:
        model = guided(model, teacher_of(draft, settings.guidance), data.task, settings.guidance)
    if learner is not None:
        model = learner(model)
    model.compile(scaled(optimizer, settings.precision), loss, metrics)
    return model


def _optional(settings: TrainingSettings, stage: str, progress: Progress, settled_after: int) -> list[Any]:
    from pipeline._tf import keras

    chosen = []
    if settings.early_stopping:
        stop = settings.early_stopping
        chosen.append(
            keras.callbacks.EarlyStopping(
                monitor="val_loss",
                patience=stop.patience,
                min_delta=stop.min_delta,
                restore_best_weights=True,
                start_from_epoch=settled_after,
            )
        )
    if settings.learning_rate_schedule == "reduce_on_plateau":
        chosen.append(plateau_callback(settings, settled_after))
    if settings.tensorboard and progress.log_folder is not None:
        chosen.append(keras.callbacks.TensorBoard(str(progress.log_folder / "tensorboard" / stage)))
    return chosen


def _watch(stage: str, bar: Bar, progress: Progress) -> Any:
    """The callback that moves the bar, keeps the log, and stops a run whose loss is no number any more."""
    from pipeline._tf import keras

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        # Keras then hands over the loss where it lies; fetching it after every batch costs a tenth of the training.
        _supports_tf_logs = True
        epoch = 0
        seen = 0

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.epoch, self.seen = epoch, 0

        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            last = batch + 1 == self.params["steps"]
            if not last and (batch + 1) % LOOK_EVERY:
                return
            # The loss is the mean since the epoch began: once it is no number, it stays none.
            loss = float(logs["loss"])
            if not math.isfinite(loss):
                progress.log("diverged", stage=stage, epoch=self.epoch + 1, batch=batch + 1, loss=str(loss))
                raise Diverged(
                    f"Training diverged in stage '{stage}': the loss became {loss} in epoch {self.epoch + 1}, "
                    f"batch {batch + 1}.",
                    expected="a finite loss",
                    mend=f"lower stages.{stage}.learning_rate, or look for outliers in the data; "
                    "the losses until then stand in training.jsonl",
                )
            bar.advance(batch + 1 - self.seen, f"loss {loss:.4f}")
            self.seen = batch + 1

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            progress.log("epoch", stage=stage, epoch=epoch + 1, **{name: float(value) for name, value in logs.items()})

    return Watch()
