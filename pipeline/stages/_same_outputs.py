"""Measures whether an edited model still says what it said, before the edit is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import BrokenPromise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset

EXAMPLES = 64


def proof_inputs(data: Dataset, seed: int) -> NDArray[np.float32]:
    """Validation inputs, and as many in which their values are shuffled over all places, (n, ...) float32.

    The shuffled ones look like nothing that was learned, and yet have no value that the model may not take.
    """
    real, _ = next(data.validation.batches(EXAMPLES))
    shuffled = np.random.default_rng(seed).permutation(real.reshape(-1)).reshape(real.shape)
    return np.concatenate([real, shuffled])


def outputs(model: Any, x: NDArray[np.float32]) -> list[NDArray[Any]]:
    """What a Keras model gives, one array an output, (n, ...)."""
    found = model(x, training=False)
    return [one.numpy() for one in (found if isinstance(found, list | tuple) else [found])]


def largest_difference(before: Any, after: Any, x: NDArray[np.float32]) -> float:
    """The largest difference of any output of two Keras models, in units of the range of the first one's output."""
    pairs = zip(outputs(before, x), outputs(after, x), strict=True)
    return max(float(np.abs(old - new).max() / (np.ptp(old) or np.abs(old).max() or 1.0)) for old, new in pairs)


def refuse_other_outputs(stage: str, found: float, most: float) -> None:
    """Refuse an edit that changed what the model says.

    Args:
        stage: that edited it.
        found: the largest difference, in units of the output's range.
        most: what rounding may do.

    Raises:
        BrokenPromise: it is more, or no number.
    """
    if not found <= most:
        raise BrokenPromise(
            f"After stages.{stage} the outputs differ by {found:.2g} of their range; the model is left as it was.",
            expected=f"at most {most:g}, the rounding of 32 bits",
            mend=f"drop the stage '{stage}'; look for weights or statistics that are huge or no numbers",
        )
