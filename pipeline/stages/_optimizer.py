"""The optimizers and schedules of Keras as settings: what a recipe may ask of them, and what cannot be."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

OptimizerName = Literal[
    "adam", "adamw", "adamax", "nadam", "sgd", "rmsprop", "adagrad", "adadelta", "adafactor", "ftrl", "lion"
]
ScheduleName = Literal[
    "constant", "cosine", "cosine_restarts", "exponential", "polynomial", "piecewise", "reduce_on_plateau"
]

_CLASSES = {"adamw": "AdamW", "rmsprop": "RMSprop", "sgd": "SGD"}
"""What Keras calls those whose names are more than capitalized."""

_SETTINGS_OF: dict[str, frozenset[str]] = {
    "constant": frozenset(),
    "cosine": frozenset({"warmup_epochs", "end_share"}),
    "cosine_restarts": frozenset({"cycle_epochs", "cycle_growth", "cycle_share", "end_share"}),
    "exponential": frozenset({"decay_rate", "decay_epochs", "staircase"}),
    "polynomial": frozenset({"power", "end_share"}),
    "piecewise": frozenset({"at_epochs", "shares"}),
    "reduce_on_plateau": frozenset({"factor", "patience", "min_delta", "end_share"}),
}


class ScheduleSettings(Settings):
    """How the learning rate's schedule goes. Each schedule has some of these; rates are shares of `learning_rate`."""

    warmup_epochs: float | None = Field(
        None, ge=0, description="cosine: epochs in which the rate first rises from zero; default 0."
    )
    end_share: Share | None = Field(
        None, description="cosine, cosine_restarts, polynomial, reduce_on_plateau: the lowest rate; default 0."
    )
    cycle_epochs: Positive | None = Field(
        None, description="cosine_restarts: epochs until the first restart; default a third of the run."
    )
    cycle_growth: float | None = Field(
        None, ge=1, description="cosine_restarts: how much longer each cycle is than the one before; default 2."
    )
    cycle_share: Share | None = Field(
        None, description="cosine_restarts: the height of each cycle against the one before; default 1."
    )
    decay_rate: float | None = Field(
        None, gt=0, le=1, description="exponential: what is left of the rate after decay_epochs; default 0.9."
    )
    decay_epochs: Positive | None = Field(None, description="exponential: default 1.")
    staircase: bool | None = Field(None, description="exponential: fall at whole decay_epochs only; default false.")
    power: Positive | None = Field(None, description="polynomial: 1 is a straight line, which is the default.")
    at_epochs: tuple[Positive, ...] | None = Field(
        None, description="piecewise: the epochs after which the rate changes."
    )
    shares: tuple[Share, ...] | None = Field(
        None, description="piecewise: the rate before the first change and after each; one more than at_epochs."
    )
    factor: float | None = Field(
        None, gt=0, lt=1, description="reduce_on_plateau: what the rate is multiplied with; default 0.5."
    )
    patience: int | None = Field(
        None, ge=1, description="reduce_on_plateau: epochs without a lower validation loss until then; default 3."
    )
    min_delta: float | None = Field(
        None, ge=0, description="reduce_on_plateau: the least fall of the validation loss that counts; default 0.0001."
    )

    def given(self) -> dict[str, Any]:
        """The settings that are there."""
        return {name: value for name, value in self if value is not None}


class OptimizerSettings(Settings):
    """What moves the weights, and how far."""

    optimizer: OptimizerName = Field(
        "adam", description="One of Keras'. sgd has a momentum of 0.9 unless `momentum` says otherwise."
    )
    momentum: float | None = Field(
        None, ge=0, lt=1, description="Of sgd and rmsprop; default 0.9 for sgd and 0 for rmsprop."
    )
    nesterov: bool = Field(False, description="Nesterov's momentum, for sgd.")
    weight_decay: float | None = Field(
        None,
        ge=0,
        description="Share of each weight that goes in each step, times the learning rate, apart from the gradient "
        "(Loshchilov and Hutter, 2017); default none, for adamw Keras' 0.004.",
    )
    clip_norm: Positive | None = Field(None, description="The largest norm of the gradient of one weight tensor.")
    clip_global_norm: Positive | None = Field(None, description="The largest norm of all gradients together.")
    clip_value: Positive | None = Field(None, description="The largest absolute value in a gradient.")
    learning_rate: float = Field(1e-3, gt=0, description="At the start.")
    learning_rate_schedule: ScheduleName = Field(
        "cosine",
        description="How it changes over the run: cosine falls to zero (Loshchilov and Hutter, 2016), polynomial "
        "along a straight line, exponential by a tenth an epoch; cosine_restarts begins anew, piecewise goes in steps "
        "that are given, reduce_on_plateau halves it when the validation loss stays.",
    )
    schedule: ScheduleSettings = Field(ScheduleSettings(), description="How the schedule goes, where not by default.")

    @model_validator(mode="after")
    def _settings_of_this_optimizer(self) -> Self:
        if self.momentum is not None and self.optimizer not in ("sgd", "rmsprop"):
            raise ValueError(f"momentum is a setting of sgd and rmsprop; {self.optimizer} has its own")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov changes the momentum of sgd: it needs optimizer: sgd, and a momentum above 0")
        clips = [name for name in ("clip_norm", "clip_global_norm", "clip_value") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"{' and '.join(clips)} exclude each other: give one of them")
        return self

    @model_validator(mode="after")
    def _settings_of_this_schedule(self) -> Self:
        name, known = self.learning_rate_schedule, _SETTINGS_OF[self.learning_rate_schedule]
        foreign = sorted(self.schedule.given().keys() - known)
        if foreign:
            has = f"has {', '.join(sorted(known))}" if known else "has no settings"
            raise ValueError(f"schedule.{foreign[0]} is no setting of learning_rate_schedule: {name}, which {has}")
        if name == "piecewise":
            _refuse_uneven_pieces(self.schedule)
        return self


def _refuse_uneven_pieces(schedule: ScheduleSettings) -> None:
    epochs, shares = schedule.at_epochs, schedule.shares
    if not epochs or not shares:
        raise ValueError("learning_rate_schedule: piecewise needs schedule.at_epochs and schedule.shares")
    if any(one >= other for one, other in pairwise(epochs)):
        raise ValueError("schedule.at_epochs must rise from each to the next")
    if len(shares) != len(epochs) + 1:
        raise ValueError(
            f"schedule.shares must have one value more than at_epochs ({len(epochs)}), and has {len(shares)}"
        )


def optimizer_for(settings: OptimizerSettings, steps_per_epoch: int, total_steps: int) -> Any:
    """A Keras optimizer with its schedule.

    Args:
        settings: which, and how.
        steps_per_epoch: batches in an epoch.
        total_steps: batches in the run.
    """
    from pipeline._tf import keras

    cls = getattr(keras.optimizers, _CLASSES.get(settings.optimizer, settings.optimizer.capitalize()))
    return cls(_rate(settings, steps_per_epoch, total_steps), **_options(settings))


def _options(settings: OptimizerSettings) -> dict[str, Any]:
    """What is given beside the rate; what is not set is left to Keras."""
    momentum = 0.9 if settings.optimizer == "sgd" and settings.momentum is None else settings.momentum
    named = {
        "momentum": momentum,
        "nesterov": settings.nesterov or None,
        "weight_decay": settings.weight_decay,
        "clipnorm": settings.clip_norm,
        "global_clipnorm": settings.clip_global_norm,
        "clipvalue": settings.clip_value,
    }
    return {name: value for name, value in named.items() if value is not None}


def _rate(settings: OptimizerSettings, steps_per_epoch: int, total_steps: int) -> Any:
    """The learning rate, as a number or as one of Keras' schedules over steps."""
    from pipeline._tf import keras

    schedules, rate, given = keras.optimizers.schedules, settings.learning_rate, settings.schedule.given()

    def steps(name: str, default_epochs: float) -> int:
        return max(1, round(float(given.get(name, default_epochs)) * steps_per_epoch))

    end = given.get("end_share", 0.0)
    match settings.learning_rate_schedule:
        case "cosine" if given.get("warmup_epochs"):
            warmup = steps("warmup_epochs", 0)
            return schedules.CosineDecay(
                0.0, max(1, total_steps - warmup), end, warmup_target=rate, warmup_steps=warmup
            )
        case "cosine":
            return schedules.CosineDecay(rate, total_steps, end)
        case "cosine_restarts":
            first = steps("cycle_epochs", total_steps / steps_per_epoch / 3)
            return schedules.CosineDecayRestarts(
                rate, first, given.get("cycle_growth", 2.0), given.get("cycle_share", 1.0), end
            )
        case "exponential":
            return schedules.ExponentialDecay(
                rate, steps("decay_epochs", 1), given.get("decay_rate", 0.9), given.get("staircase", False)
            )
        case "polynomial":
            return schedules.PolynomialDecay(rate, total_steps, rate * end, given.get("power", 1.0))
        case "piecewise":
            places = [max(1, round(epoch * steps_per_epoch)) for epoch in given["at_epochs"]]
            return schedules.PiecewiseConstantDecay(places, [rate * share for share in given["shares"]])
    return rate


def plateau_callback(settings: OptimizerSettings, settled_after: int) -> Any:
    """Keras' callback that lowers the rate when the validation loss stays where it is.

    Args:
        settings: how much, and when.
        settled_after: epochs in which the model is still being changed, so that its loss says nothing.
    """
    from pipeline._tf import keras

    given = settings.schedule.given()

    class Plateau(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch >= settled_after:
                super().on_epoch_end(epoch, logs)

    return Plateau(
        monitor="val_loss",
        factor=given.get("factor", 0.5),
        patience=given.get("patience", 3),
        min_delta=given.get("min_delta", 1e-4),
        min_lr=settings.learning_rate * given.get("end_share", 0.0),
    )
