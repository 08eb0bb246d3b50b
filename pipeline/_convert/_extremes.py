"""The least and the largest value of every tensor over the calibration examples.

TensorFlow's calibrator tells them too, but too wide: it looks at what went into an operator once more when that has
run. An addition or a multiplication may have written over its input by then, and the input gets the range of the output
as well (https://github.com/tensorflow/tensorflow/issues/127842): to 1 - z in a GRU, which lies between 0 and 1, it gave
-0.85 … 0.96. Here every tensor has memory of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline._convert._ranges import Ranges
from pipeline._convert._runs import runs
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray


DEAD = (0.0, 1.0)
"""The range of what is zero in all examples. Without one its scale in int16 would be zero, which LiteRT refuses."""


def with_extremes(calibrated: bytes, examples: NDArray[np.float32]) -> bytes:
    """A calibrated float `.tflite` with the ranges that its tensors have over all examples.

    Args:
        calibrated: with any range at each tensor that shall have one.
        examples: its inputs, (n, ...) float32.

    Raises:
        ModelError: a tensor holds what is not finite.
    """
    ranges = Ranges(calibrated)
    # (n, tensors, 2)
    ends = np.array([_ends(interpreter, ranges.each) for interpreter in runs(calibrated, examples)])
    lows, highs = ends[..., 0].min(axis=0), ends[..., 1].max(axis=0)
    found = dict(zip(ranges.each, zip(lows.tolist(), highs.tolist(), strict=True), strict=True))
    for index, limits in found.items():
        if not np.isfinite(limits).all():
            raise _not_finite(ranges.names[index], limits)
    for group in ranges.groups.values():
        if not any(any(found[index]) for index in group):
            found.update(dict.fromkeys(group, DEAD))
    return ranges.rewritten(found)


def _ends(interpreter: Any, indices: Any) -> list[tuple[float, float]]:
    tensors = (interpreter.get_tensor(index) for index in indices)
    return [(values.min(), values.max()) for values in tensors]


def _not_finite(name: str, limits: tuple[float, float]) -> ModelError:
    return ModelError(
        f"In float, '{name}' reaches from {limits[0]:g} to {limits[1]:g} over the calibration examples.",
        expected="finite numbers: a range that has no end has no steps",
        mend="look at the weights, which may have grown without limit in training, and at divisions and logarithms",
    )
