"""What is told of a layer's quantization error, against numpy on all values at once."""

from __future__ import annotations

import numpy as np
import pytest

from edge_targets._on_device_noise import ERROR_BINS, Histogram, Tally

RNG = np.random.default_rng(0)


def test_sums_over_examples_are_those_over_all_of_them() -> None:
    reference = RNG.normal(1, 2, (6, 5, 3)).astype(np.float32)
    stored = np.clip(np.rint(reference / 0.1) + 7, -128, 127).astype(np.int8)
    tally = Tally([0, 0, 0.1, 7])
    for one, other in zip(reference, stored, strict=True):
        tally.add(one, other)
    found = tally.answer()
    error = reference - (stored.astype(np.float32) - 7) * np.float32(0.1)
    assert found["signal"] == pytest.approx(np.square(reference).sum(), rel=1e-5)
    assert found["noise"] == pytest.approx(np.square(error).sum(), rel=1e-4)
    assert found["mean"] == pytest.approx(error.mean(), abs=1e-6)
    assert found["worst"] == pytest.approx(np.abs(error).max(), rel=1e-5)
    assert found["range"] == pytest.approx([reference.min(), reference.max()])
    assert (sum(found["bins"]), len(found["bins"]), found["channels"]) == (90, ERROR_BINS, 3)


def test_channels_of_which_int8_leaves_nothing_are_counted() -> None:
    reference = RNG.normal(0, 1, (200, 4)).astype(np.float32) * np.array([1000, 1, 0.001, 0], np.float32)
    tally = Tally([0, 0, 8.0, 0])
    tally.add(reference, np.rint(reference / 8))
    found = tally.answer()
    # One of 1000, two that a step of 8 swallows, and one without a signal, which does not count.
    assert (found["channels"], found["lost_channels"]) == (3, 2)
    assert found["channel_spread"] == pytest.approx(np.abs(reference[:, 0]).max() / np.abs(reference[:, 2]).max())
    assert found["channel_noise"] == pytest.approx(2 / 3, abs=0.01)
    # Summed up, the two lost ones are not to be seen.
    assert found["noise"] / found["signal"] < 1e-4


def test_a_shift_of_each_channel_is_told_from_rounding() -> None:
    reference = RNG.normal(0, 1, (500, 2)).astype(np.float32)
    shifted, rounded = Tally([0, 0, 1.0, 0]), Tally([0, 0, 1.0, 0])
    shifted.add(reference, reference + np.array([0.5, -0.5], np.float32))
    rounded.add(reference, np.rint(reference))
    assert shifted.answer()["shift"] == pytest.approx(1)
    assert shifted.answer()["mean"] == pytest.approx(0, abs=1e-6)
    assert rounded.answer()["shift"] < 0.02


def test_a_few_far_out_do_not_belong_to_the_usual_range() -> None:
    reference = RNG.uniform(-1, 1, (100_000, 1)).astype(np.float32)
    reference[:20] = 50
    tally = Tally([0, 0, 1.0, 0])
    tally.add(reference, reference)
    low, high = tally.answer()["usual"]
    assert (low, high) == pytest.approx((-1, 1), abs=0.03)
    assert tally.answer()["range"][1] == 50


def test_a_histogram_grows_without_losing_count() -> None:
    counts = Histogram(32)
    for size in (0.0, 1e-6, 0.3, 40.0, 1e9):
        counts.add(np.array([size, -size / 3]))
    assert counts.counts.sum() == 10
    assert counts.most == 1e9
    assert counts.width * 8 <= counts.most < counts.width * 16
    # Of the two ends of the last pair, each lies in the bin that is its own.
    places = np.flatnonzero(counts.counts)
    assert places.tolist() == [int(-1e9 / 3 // counts.width) + 16, 15, 16, int(1e9 // counts.width) + 16]


def test_counts_are_those_of_all_values_at_once() -> None:
    counts, values = Histogram(32), RNG.normal(0, 1, 3000) * np.repeat([1.0, 3.0, 9.0], 1000)
    for part in np.split(values, 30):
        counts.add(part)
    edges = np.arange(-16, 17) * counts.width
    assert counts.counts.tolist() == np.histogram(values, edges)[0].tolist()


def test_a_channel_that_never_varies_has_nothing_to_lose() -> None:
    tally = Tally([0, 0, 1.0, 0])
    tally.add(np.ones((5, 1), np.float32), np.ones((5, 1), np.int8))
    assert (tally.answer()["channels"], tally.answer()["lost_channels"]) == (1, 0)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_numbers_that_are_none_have_no_details(odd: float) -> None:
    tally = Tally([0, 0, 1.0, 0])
    tally.add(np.array([1.0, odd], np.float32), np.array([1, 1], np.int8))
    assert tally.answer()["noise"] is None
    assert "bins" not in tally.answer()


def test_nothing_at_all_is_no_noise() -> None:
    tally = Tally([0, 0, 1.0, 0])
    tally.add(np.zeros((1, 0), np.float32), np.zeros((1, 0), np.int8))
    assert tally.answer() == {"signal": 0.0, "noise": 0.0}
    tally.add(np.zeros((1, 4), np.float32), np.zeros((1, 4), np.int8))
    assert (tally.answer()["bins"][16], tally.answer()["channels"]) == (4, 0)
