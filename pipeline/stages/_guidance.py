"""A teacher beside the targets: soft targets and matching features, for every stage that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from pipeline.errors import ModelError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.draft import Draft
    from pipeline.task import Task


class Guidance(Settings):
    """Soft targets after Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015); features
    after Romero et al., "FitNets" (2014)."""

    teacher: Literal["float", "before"] = Field(
        "float",
        description="float: the model before any compression, or the teacher that 'distil' named; before: the model as "
        "the stage finds it.",
    )
    temperature: float = Field(4.0, gt=0, description="Softens both outputs; 1 leaves them as they are.")
    alpha: float = Field(0.7, ge=0, le=1, description="Share of the teacher in the loss; the targets have the rest.")
    features: dict[str, str] = Field(
        default_factory=dict, description="Layers whose outputs are drawn to those of the teacher: {ours: teacher's}."
    )
    feature_weight: float = Field(1.0, gt=0, description="Weight of the features beside the rest of the loss.")


def teacher_of(draft: Draft, guidance: Guidance) -> Any:
    """The Keras model that guides the training of a draft."""
    chosen = draft if guidance.teacher == "before" or draft.teacher is None else draft.teacher
    return chosen.restore()


def guided(student: Any, teacher: Any, task: Task, guidance: Guidance) -> Any:
    """A Keras model that is the student, and learns from the teacher as well once it is compiled and fitted.

    Args:
        student: what is trained; its weights change.
        teacher: from the same inputs to outputs of the same shape; it stays as it is.
        task: knows how two outputs are compared.
        guidance: how much, and which features.

    Raises:
        ModelError: the teacher's outputs, or a feature, do not fit the student's.
    """
    if student.output_shape != teacher.output_shape or student.input_shape != teacher.input_shape:
        raise ModelError(
            f"The teacher goes from {teacher.input_shape} to {teacher.output_shape}, the student from "
            f"{student.input_shape} to {student.output_shape}.",
            expected="a teacher with the inputs and outputs of the student",
        )
    return _guided_class()(student, teacher, task, guidance)


def _guided_class() -> Any:
    from pipeline._tf import keras, tf

    class Guided(keras.Model):  # type: ignore[misc]  # Keras has no types
        """The student, with a training step that asks the teacher."""

        def __init__(self, student: Any, teacher: Any, task: Task, guidance: Guidance) -> None:
            super().__init__()
            teacher.trainable = False
            self.student, self.alpha = student, guidance.alpha
            self.soft_loss = task.soft_loss(student, teacher, guidance.temperature)
            self.matching = _Matching(student, teacher, guidance)
            self.guidance_loss = keras.metrics.Mean("guidance_loss")

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return self.student(inputs, training=training)

        def train_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            taught, taught_features = self.matching.teacher(x)
            with tf.GradientTape() as tape:
                outputs, features = self.matching.student(x)
                hard = self.compiled_loss(y, outputs, regularization_losses=self.losses)
                soft = self.soft_loss(outputs, taught)
                total = (1 - self.alpha) * hard + self.alpha * soft + self.matching.loss(features, taught_features)
            self.optimizer.minimize(total, self.student.trainable_variables + self.matching.variables, tape)
            self.compiled_metrics.update_state(y, outputs)
            self.guidance_loss.update_state(soft)
            return {metric.name: metric.result() for metric in self.metrics}

        def test_step(self, batch: Any) -> dict[str, Any]:
            # The teacher is not asked about the validation split: a figure of zero would say that it had been.
            figures = super().test_step(batch)
            return {name: figure for name, figure in figures.items() if name != self.guidance_loss.name}

    return Guided


class _Matching:
    """Pairs of features, and the projections that bring the student's to as many channels as the teacher's has."""

    def __init__(self, student: Any, teacher: Any, guidance: Guidance) -> None:
        from pipeline._tf import keras

        pairs = [(_feature(student, ours), _feature(teacher, theirs)) for ours, theirs in guidance.features.items()]
        for (ours, theirs), (mine, other) in zip(guidance.features.items(), pairs, strict=True):
            if mine.shape[1:-1] != other.shape[1:-1]:
                raise ModelError(
                    f"The features of '{ours}' have shape {tuple(mine.shape[1:])}, the teacher's of '{theirs}' "
                    f"{tuple(other.shape[1:])}.",
                    expected="the same shape but for the channels",
                )
        self._weight = guidance.feature_weight
        self._student = keras.Model(student.inputs, [student.outputs[0], *(mine for mine, _ in pairs)])
        self._teacher = keras.Model(teacher.inputs, [teacher.outputs[0], *(other for _, other in pairs)])
        self._projections = [keras.layers.Dense(other.shape[-1], use_bias=False) for _, other in pairs]
        for projection, (mine, _) in zip(self._projections, pairs, strict=True):
            projection.build(mine.shape)

    @property
    def variables(self) -> list[Any]:
        """What is trained beside the student."""
        return [weight for projection in self._projections for weight in projection.trainable_variables]

    def student(self, x: Any) -> tuple[Any, list[Any]]:
        """Outputs and features of the student in training."""
        return _parted(self._student(x, training=True))

    def teacher(self, x: Any) -> tuple[Any, list[Any]]:
        """Outputs and features of the teacher."""
        return _parted(self._teacher(x, training=False))

    def loss(self, features: list[Any], taught: list[Any]) -> Any:
        """Mean squared distance of the projected features, summed over the pairs."""
        from pipeline._tf import tf

        pairs = zip(self._projections, features, taught, strict=True)
        # Features of a student that trains in 16 bits are compared in 32.
        distances = [
            tf.reduce_mean(tf.square(projection(tf.cast(mine, other.dtype)) - other))
            for projection, mine, other in pairs
        ]
        return self._weight * tf.add_n(distances) if distances else 0.0


def _parted(outputs: Any) -> tuple[Any, list[Any]]:
    several = isinstance(outputs, list | tuple)
    return (outputs[0], list(outputs[1:])) if several else (outputs, [])


def _feature(model: Any, name: str) -> Any:
    """The output of a layer; a wrapper of TFMOT's counts as the layer inside."""
    by_name = {layer.name: layer for layer in model.layers}
    for known in (name, f"quant_{name}", f"cluster_{name}"):
        if known in by_name:
            return by_name[known].output
    raise ModelError(
        f"guidance.features names the layer '{name}', which the model does not have.",
        expected=f"one of: {', '.join(by_name)}",
    )
