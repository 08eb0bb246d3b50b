"""Calibration examples: refused where no range could come of them, and what people should know of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_NAMED = 5


def refuse_unusable(examples: NDArray[np.float32], input_shape: tuple[int | None, ...]) -> None:
    """A DataError where examples are none, do not fit the model, are not finite, or are one and the same number.

    Args:
        examples: (n, ...).
        input_shape: of one example, without batch; None where the model leaves a size open.
    """
    shape = examples.shape[1:]
    fits = len(shape) == len(input_shape) and all(
        want in (None, got) for got, want in zip(shape, input_shape, strict=True)
    )
    if not len(examples) or not fits:
        raise DataError(
            f"The calibration data is {len(examples)} examples of shape {shape}.",
            expected=f"at least one example of shape {input_shape}, as the model takes it",
            mend="give examples as the model sees them, after all preprocessing",
        )
    bad = np.argwhere(~np.isfinite(examples))
    if len(bad):
        first = tuple(int(place) for place in bad[0])
        raise DataError(
            f"The calibration data holds {len(bad)} values that are not finite: the first, in example {first[0]} at "
            f"{list(first[1:])}, is {examples[first]}.",
            expected="finite numbers: a range that reaches to infinity has no steps",
            mend="mend or drop these examples in the training data",
        )
    if examples.min() == examples.max():
        raise DataError(
            f"Every value of the calibration data is {examples.min():g}.",
            expected="examples that differ, as those do that the model will see",
            mend="look at the data's settings, such as `divide_by`, and at the files themselves",
        )


def warnings_of(examples: NDArray[np.float32]) -> list[str]:
    """Sentences on examples that give ranges, but poor ones: a single one, and channels that never change.

    Args:
        examples: (n, ..., channels).
    """
    found = []
    if len(examples) == 1:
        found.append("calibration: a single example gives every range, and whatever exceeds it will be clipped")
    channels = examples.reshape(-1, examples.shape[-1]) if examples.ndim > 1 else examples[:, None]
    still = np.flatnonzero(channels.min(axis=0) == channels.max(axis=0)) if len(channels) > 1 else np.array([], int)
    if still.size:
        shown = ", ".join(f"{place} (always {channels[0, place]:g})" for place in still[:MOST_NAMED])
        more = f" and {still.size - MOST_NAMED} more" if still.size > MOST_NAMED else ""
        kind = "channel never changes" if still.size == 1 else "channels never change"
        found.append(
            f"calibration: {still.size} of {channels.shape[1]} input {kind}: {shown}{more}; "
            "nothing was learnt of the values that will come there"
        )
    return found
