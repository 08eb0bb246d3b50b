"""The one place that picks tf_keras and quiets TensorFlow. Importing it takes seconds: import it where needed."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

_WANTED = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "1"}
# `process.py` takes these back for the user's own code: there, tf.keras is what it is in the user's shell.
SET_HERE = frozenset(name for name in _WANTED if name not in os.environ)
os.environ.update({name: _WANTED[name] for name in SET_HERE})


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what C++ code writes to descriptor 2 from people: TensorFlow greets before any log level is read."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


with quiet_stderr():
    import tensorflow as tf
    import tf_keras as keras

tf.get_logger().setLevel("ERROR")
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = ["find_devices", "fix_seed", "keras", "keras3", "quantize_scope", "quiet_stderr", "tf", "tfmot"]


def keras3() -> Any:
    """Keras 3, which only reads what others saved; another second to import. `keras` above is tf_keras, Keras 2."""
    # The user's own settings may name a backend that is not installed, or whose tensors are not TensorFlow's.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_stderr():
        import keras as standalone

    return standalone


def tfmot() -> Any:
    """The TensorFlow Model Optimization Toolkit; another second to import."""
    with quiet_stderr():
        import tensorflow_model_optimization

    return tensorflow_model_optimization


def quantize_scope() -> contextlib.AbstractContextManager[Any]:
    """The names that a quantization-aware model's JSON needs to be read."""
    from pipeline.quantize_configs import custom_objects

    scope: contextlib.AbstractContextManager[Any] = tfmot().quantization.keras.quantize_scope(custom_objects())
    return scope


def fix_seed(seed: int) -> None:
    """Make what follows repeat bit for bit on this machine."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    find_devices()


@functools.cache
def find_devices() -> None:
    """Have TensorFlow look for GPUs, as the first tensor does: without any it complains, whatever the log level."""
    with quiet_stderr():
        tf.constant(0)
