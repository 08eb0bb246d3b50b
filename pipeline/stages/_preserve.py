"""Keeps zeros at zero, and equal weights equal, while a model trains on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.stages._kernels import is_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Masks:
    """Masks over weights, applied all at once in one call of TensorFlow's."""

    def __init__(self, variables: Sequence[Any]) -> None:
        from pipeline._tf import tf

        self._masks = [tf.Variable(tf.ones_like(one), trainable=False) for one in variables]

        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def apply() -> None:
            for variable, mask in zip(variables, self._masks, strict=True):
                variable.assign(variable * mask)

        self.apply = apply
        """Multiplies every weight with its mask."""

    def set(self, masks: Sequence[NDArray[Any]]) -> None:
        """Take other masks, one a weight, each in the weight's shape; what is false is zero at the next `apply`."""
        for variable, mask in zip(self._masks, masks, strict=True):
            variable.assign(mask.astype(np.float32))


def keep_zeros(model: Any) -> Any:
    """A Keras callback that keeps what is zero now in the model's kernels at zero.

    The zeros are set anew after every batch: the optimizer may move them, whatever momentum it holds, but no batch ever
    sees them moved. For drafts with the trait "sparse", in every stage that trains them on.

    Args:
        model: a Keras model with the weights that training begins with. Kernels inside wrappers (`QuantizeWrapper`)
            are found too.
    """
    sparse = [one for one in model.trainable_weights if is_kernel(one) and (one.numpy() == 0).any()]
    masks = Masks(sparse)
    masks.set([one.numpy() != 0 for one in sparse])
    return after_every_batch(masks.apply)


def keep_clusters(model: Any) -> Any:
    """A Keras callback that keeps equal what is equal now in each of the model's kernels; zeros stay zeros.

    After every batch each weight takes the mean of all that began with its value: the shared values are trained, the
    sharing itself stays. So it is whatever quantizer the model holds: the same weight in the same channel is rounded to
    the same integer. For drafts with the trait "clustered", in every stage that trains them on.

    Args:
        model: a Keras model with the weights that training begins with, in wrappers or not.
    """
    from pipeline._tf import tf

    shared = []
    for variable in filter(is_kernel, model.trainable_weights):
        values, places = np.unique(variable.numpy(), return_inverse=True)
        # Where hardly a weight has its like, nothing is clustered.
        if 2 * values.size <= variable.numpy().size:
            shared.append((variable, tf.constant(places.reshape(-1)), tf.constant((values != 0).astype(np.float32))))

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def apply() -> None:
        for variable, places, nonzero in shared:
            means = tf.math.unsorted_segment_mean(tf.reshape(variable, [-1]), places, nonzero.shape[0]) * nonzero
            variable.assign(tf.reshape(tf.gather(means, places), variable.shape))

    return after_every_batch(apply)


def after_every_batch(act: Any) -> Any:
    """A Keras callback that calls `act` without arguments after every batch and once at the end."""
    from pipeline._tf import keras

    class AfterEveryBatch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        # Keras then does not fetch the losses for it after every batch.
        _supports_tf_logs = True

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            act()

        def on_train_end(self, logs: Any = None) -> None:
            # Early stopping may have brought back weights of an earlier epoch.
            act()

    return AfterEveryBatch()
