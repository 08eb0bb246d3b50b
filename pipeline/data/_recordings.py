"""Recordings of sensors, piece by piece: what every way to read them gives, and what they are checked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data._user_examples import user_examples
from pipeline.errors import DataError
from pipeline.user_code import UserFunction

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Piece:
    """Samples of one recording that follow each other.

    Attributes:
        values: (t, channels) float32.
        labels: of each sample, (t,): text or numbers.
        group: who it stems from, or which recording it is where nobody is named.
        recording: pieces that follow each other with the same name continue one recording.
        channels: what the channels are called, or empty.
    """

    values: NDArray[np.float32]
    labels: NDArray[Any]
    group: str
    recording: str
    channels: tuple[str, ...] = ()


def usable(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Which numbers are finite and within what 32 bits can hold, elementwise."""
    # NaN compares as False.
    return np.asarray(np.abs(values) <= LARGEST)


def checked_values(values: NDArray[Any], name: str, first: int = 0) -> NDArray[np.float32]:
    """Samples as they are worked with, (t, channels) float32.

    Args:
        values: as they were stored.
        name: of the recording, for messages.
        first: which sample of the recording the first of them is.

    Raises:
        DataError: they are no (time, channels), no numbers, or not finite.
    """
    if values.ndim != 2 or values.shape[1] == 0 or values.dtype.kind not in "iufb":
        raise DataError(
            f"{name} has shape {values.shape} and type {values.dtype}.", expected="numbers, (time, channels)"
        )
    bad = np.argwhere(~usable(values))
    if len(bad):
        sample, channel = bad[0]
        raise DataError(
            f"{name} holds {values[sample, channel]} at sample {first + sample}, channel {channel}.",
            expected="finite numbers that 32 bits can hold",
            mend="repair the recording, or leave it out",
        )
    return values.astype(np.float32)


def python_pieces(function: UserFunction) -> Iterator[Piece]:
    """What a user's generator yields: (series (t, channels), label or labels (t,), subject), or without a subject.

    Raises:
        DataError: a series is no (time, channels) of finite numbers, its labels do not fit it, or the function fails.
    """
    for number, example in enumerate(user_examples(function), start=1):
        name = f"Series {number} of {function}"
        values = checked_values(example.x, name)
        if example.y.shape not in ((), (len(values),)):
            raise DataError(
                f"{name} has {len(values)} samples and labels of shape {example.y.shape}.",
                expected="one label for the series, or one for each sample",
            )
        yield Piece(values, np.broadcast_to(example.y, len(values)), example.group or name, name)
