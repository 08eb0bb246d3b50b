"""Calibration data that gives no range is refused in a sentence; data that gives a poor one is told of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline._convert._examples import refuse_unusable, warnings_of
from pipeline.errors import DataError

GOOD = np.random.default_rng(0).random((4, 3, 2), np.float32)


def with_value(value: float) -> NDArray[np.float32]:
    changed = GOOD.copy()
    changed[2, 1, 0] = value
    return changed


@pytest.mark.parametrize(
    ("examples", "told"),
    [
        (with_value(np.nan), r"1 values that are not finite: the first, in example 2 at \[1, 0\], is nan"),
        (with_value(-np.inf), r"in example 2 at \[1, 0\], is -inf"),
        (GOOD[:0], r"0 examples of shape \(3, 2\)"),
        (GOOD[:, :2], r"4 examples of shape \(2, 2\)"),
        (GOOD[..., None], r"4 examples of shape \(3, 2, 1\)"),
        (np.full_like(GOOD, 7), "Every value of the calibration data is 7"),
    ],
    ids=["nan", "infinite", "none", "size", "rank", "constant"],
)
def test_unusable_examples_are_refused_by_name(examples: NDArray[np.float32], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        refuse_unusable(examples, (3, 2))
    assert (caught.value.exit_code, bool(caught.value.expected), bool(caught.value.mend)) == (2, True, True)


def test_an_open_size_takes_any() -> None:
    refuse_unusable(GOOD, (None, 2))


def test_what_people_should_know_of_poor_examples() -> None:
    still = GOOD.copy()
    still[..., 1] = 0.5
    assert warnings_of(GOOD) == []
    assert "1 of 2 input channel never changes: 1 (always 0.5)" in warnings_of(still)[0]
    assert "a single example gives every range" in warnings_of(GOOD[:1])[0]


def test_many_still_channels_are_counted_and_a_few_are_named() -> None:
    wide = np.zeros((5, 40), np.float32)
    wide[:, 0] = range(5)
    [told] = warnings_of(wide)
    assert "39 of 40 input channels" in told
    assert told.count("always") == 5
