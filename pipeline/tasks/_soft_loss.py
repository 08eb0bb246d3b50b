"""How far a student's chances are from its teacher's, softened by a temperature (Hinton, Vinyals and Dean, 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.tasks._last_layer import last_activation

_LEAST = 1e-7


def soft_categorical_loss(student: Any, teacher: Any, temperature: float) -> Callable[[Any, Any], Any]:
    """Cross-entropy of two softmaxes over the classes; times the temperature squared, gradients keep their size."""
    from pipeline._tf import tf

    ours_of, theirs_of = _logits(student, "softmax"), _logits(teacher, "softmax")

    def loss(ours: Any, theirs: Any) -> Any:
        targets = tf.nn.softmax(theirs_of(theirs) / temperature)
        apart = tf.nn.softmax_cross_entropy_with_logits(targets, ours_of(ours) / temperature)
        return temperature**2 * tf.reduce_mean(apart)

    return loss


def soft_binary_loss(student: Any, teacher: Any, temperature: float) -> Callable[[Any, Any], Any]:
    """The same for outputs that are each a chance of their own."""
    from pipeline._tf import tf

    ours_of, theirs_of = _logits(student, "sigmoid"), _logits(teacher, "sigmoid")

    def loss(ours: Any, theirs: Any) -> Any:
        targets = tf.sigmoid(theirs_of(theirs) / temperature)
        apart = tf.nn.sigmoid_cross_entropy_with_logits(targets, ours_of(ours) / temperature)
        return temperature**2 * tf.reduce_mean(apart)

    return loss


def _logits(model: Any, activation: str) -> Callable[[Any], Any]:
    """What turns a model's outputs into logits; outputs that are logits already pass."""
    from pipeline._tf import tf

    if last_activation(model) != activation:
        return lambda outputs: outputs
    if activation == "softmax":
        return lambda chances: tf.math.log(tf.maximum(chances, _LEAST))
    return lambda chances: -tf.math.log(1 / tf.clip_by_value(chances, _LEAST, 1 - _LEAST) - 1)
