"""Runs of a float `.tflite` in which every tensor can be read: what ranges are measured over.

It runs in this process: the converter has just made the model, and has run it itself.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


def runs(model: bytes, examples: NDArray[np.float32]) -> Iterator[Any]:
    """Its interpreter, once for each example, right after it has run.

    Args:
        model: a float `.tflite`, batch 1.
        examples: its inputs, (n, ...) float32.
    """
    interpreter = _interpreter(model)
    [taken] = interpreter.get_input_details()
    for example in examples:
        interpreter.set_tensor(taken["index"], example[None])
        interpreter.invoke()
        yield interpreter


def _interpreter(model: bytes) -> Any:
    from ai_edge_litert import interpreter as litert

    with warnings.catch_warnings(action="ignore"):  # that keeping all tensors takes memory
        interpreter = litert.Interpreter(
            model_content=model,
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    return interpreter
