"""What stands between a Keras model and int8: loops that crash the converter, and an operator that stays float."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.draft import Draft

MOST_STEPS = 128
"""Steps of a recurrent layer that are unrolled: each has operators of its own, some 14 of them and 8 kB in a GRU."""

RECURRENT = frozenset({"GRU", "LSTM", "RNN", "SimpleRNN"})

LOOPS = frozenset({"If", "StatelessIf", "StatelessWhile", "While"})


def unrolled(draft: Draft) -> Draft:
    """The draft with its recurrent layers unrolled: the int8 converter takes no loop, it crashes on one.

    LSTM has an operator of its own in TensorFlow Lite, but that one keeps its state from one input to the next, and
    whoever runs the model would have to reset it.
    """
    architecture = json.loads(draft.architecture)
    layers = [config for config in _configs(architecture) if config.get("class_name") in RECURRENT]
    if all(layer["config"].get("unroll", True) for layer in layers):
        return draft
    for layer in layers:
        layer["config"]["unroll"] = True
    _refuse_long_windows(draft)
    return replace(draft, architecture=json.dumps(architecture))


def input_shape(draft: Draft) -> tuple[int | None, ...]:
    """The shape of one example as a draft's first input takes it; None for sizes that it leaves open."""
    # Read, not restored: to build a deep model takes seconds.
    layers = (node["config"] for node in _configs(json.loads(draft.architecture)) if "config" in node)
    return next(tuple(layer["batch_input_shape"][1:]) for layer in layers if "batch_input_shape" in layer)


def refuse_loops(graph: Any) -> None:
    """A ModelError where a traced graph has a loop or a branch: the int8 converter ends the whole process on one."""
    loops = [operator.name for operator in graph.get_operations() if operator.type in LOOPS]
    if loops:
        raise ModelError(
            f"The model holds a loop or a branch, '{loops[0]}', which TensorFlow Lite cannot have in int8.",
            expected="layers whose graph is the same for every input; recurrent ones are unrolled here",
            mend="replace the layer that makes it, such as one of `ConvLSTM` or with a Python loop over a tensor",
        )


def write_plainly(model: Any) -> None:
    """Compute ELU, maximum and minimum, in a live model, out of operators that the converter takes to int8.

    TensorFlow Lite's own ELU stays float, or stops the converter. Its MAXIMUM and MINIMUM need one scale for all that
    goes in and comes out: where a tensor that goes in is read elsewhere too, the converter stops, or squeezes the
    tensor into the range of what comes out. So there is no minimum in the ELU either.
    """
    from pipeline._tf import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.ELU):
            layer.call = functools.partial(_elu, alpha=layer.alpha)
        elif isinstance(layer, keras.layers.Maximum):
            layer._merge_function = functools.partial(functools.reduce, _maximum)
        elif isinstance(layer, keras.layers.Minimum):
            layer._merge_function = functools.partial(functools.reduce, _minimum)
        elif getattr(layer, "activation", None) is keras.activations.elu:
            layer.activation = _elu


def _elu(x: Any, alpha: Any = 1.0) -> Any:
    from pipeline._tf import tf

    positive = tf.nn.relu(x)
    return positive + alpha * (tf.exp(x - positive) - 1.0)


def _maximum(a: Any, b: Any) -> Any:
    from pipeline._tf import tf

    return b + tf.nn.relu(a - b)


def _minimum(a: Any, b: Any) -> Any:
    from pipeline._tf import tf

    return a - tf.nn.relu(a - b)


def _configs(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a JSON tree."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _configs(child)


def _refuse_long_windows(draft: Draft) -> None:
    for layer in draft.restore().layers:
        if any(type(part).__name__ in RECURRENT and not part.unroll for part in layer._flatten_layers()):
            shape = layer.input_shape[0] if isinstance(layer.input_shape, list) else layer.input_shape
            steps = shape[-2]
            if steps is None or steps > MOST_STEPS:
                raise ModelError(
                    f"The layer '{layer.name}' runs over {steps or 'an unknown number of'} steps, "
                    "and in int8 each step becomes operators of its own.",
                    expected=f"a window of a fixed length of at most {MOST_STEPS} steps",
                    mend="shorten the window, or put a strided convolution or a pooling layer before it",
                )
