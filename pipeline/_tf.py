"""The one place that picks tf_keras and quiets TensorFlow. Importing it takes seconds: import it where needed."""

from __future__ import annotations

import contextlib
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import tensorflow as tf
import tf_keras as keras

tf.get_logger().setLevel("ERROR")

__all__ = ["fix_seed", "keras", "quantize_scope", "tf", "tfmot"]


def tfmot() -> Any:
    """The TensorFlow Model Optimization Toolkit; another second to import."""
    import tensorflow_model_optimization

    return tensorflow_model_optimization


def quantize_scope() -> contextlib.AbstractContextManager[Any]:
    """The names that a quantization-aware model's JSON needs to be read."""
    scope: contextlib.AbstractContextManager[Any] = tfmot().quantization.keras.quantize_scope()
    return scope


def fix_seed(seed: int) -> None:
    """Make what follows repeat bit for bit on this machine."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
