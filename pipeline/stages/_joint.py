"""Training a model and its early head together, each with its share of the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.task import Task


def joined(both: Any, task: Task, early_weight: float) -> Any:
    """A Keras model that learns by both of another's outputs once it is compiled and fitted.

    The loss is the weighted sum over the exits, as in Teerapittayanon et al., "BranchyNet" (2016). `loss` is that sum;
    `early_loss` and `early_accuracy` are the early head's, other metrics the full path's.

    Args:
        both: from inputs to final scores and early ones, in this order; its weights change.
        task: knows the loss of either; it gives a score for each class.
        early_weight: the early head's share, above 0 and below 1; the final scores have the rest.
    """
    from pipeline._tf import keras

    final_loss, early_loss = (task.loss(keras.Model(both.inputs, output)) for output in both.outputs)
    return _joint_class()(both, final_loss, early_loss, early_weight)


def _joint_class() -> Any:
    from pipeline._tf import keras, tf

    class Joint(keras.Model):  # type: ignore[misc]  # Keras has no types
        """Both exits, with a training step that weighs them."""

        def __init__(self, both: Any, final_loss: Any, early_loss: Any, early_weight: float) -> None:
            super().__init__()
            self.both, self.final_loss, self.head_loss, self.early_weight = both, final_loss, early_loss, early_weight
            self.total = keras.metrics.Mean("loss")
            self.early_loss = keras.metrics.Mean("early_loss")
            self.early_accuracy = keras.metrics.SparseCategoricalAccuracy("early_accuracy")

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            return self.both(inputs, training=training)[0]

        def train_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            with tf.GradientTape() as tape:
                final, early = self.both(x, training=True)
                total = self._seen(y, final, early)
            self.optimizer.minimize(total, self.both.trainable_variables, tape)
            return self._figures()

        def test_step(self, batch: Any) -> dict[str, Any]:
            x, y = batch
            self._seen(y, *self.both(x, training=False))
            return self._figures()

        def _seen(self, y: Any, final: Any, early: Any) -> Any:
            """The loss of a batch, once all that is watched has seen it."""
            head = self.head_loss(y, early)
            rest = self.final_loss(y, final) + sum(self.both.losses)
            total = self.early_weight * head + (1 - self.early_weight) * rest
            self.total.update_state(total)
            self.early_loss.update_state(head)
            self.early_accuracy.update_state(y, early)
            self.compiled_metrics.update_state(y, final)
            return total

        def _figures(self) -> dict[str, Any]:
            watched = [self.total, *self.compiled_metrics.metrics, self.early_loss, self.early_accuracy]
            return {metric.name: metric.result() for metric in watched}

    return Joint
