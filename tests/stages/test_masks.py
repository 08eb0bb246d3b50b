"""Masks and counts, in numpy: exactly as many weights go as are asked for, whatever ties or does not divide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline._promises import kept_groups, zero_blocks
from pipeline.stages import _shares
from pipeline.stages._masks import GONE, Blocks, Single, m_by_n_mask, smallest_removed, zeros_for

# Few different numbers, so that ties are the rule.
SCORES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=1, max_side=40), elements=st.sampled_from([0, 0.5, 1, 2])
)
STORED_AXES = {2: (1, 0), 3: (2, 0, 1), 4: (3, 0, 1, 2)}
KERNELS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=6), elements=st.sampled_from([0, 0.5, 1, 2])
)
SHARES = st.floats(0.01, 0.99)


def stored(array: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.transpose(array, STORED_AXES[array.ndim])


@given(SCORES, st.data())
def test_exactly_the_smallest_go(scores: NDArray[np.float32], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, scores.size))
    kept = smallest_removed(scores, count)
    assert (~kept).sum() == count
    if 0 < count < scores.size:
        assert scores[~kept].max() <= scores[kept].min()


@given(st.integers(1, 5000), st.floats(0, 0.999))
def test_one_unit_always_stays(units: int, share: float) -> None:
    assert 0 <= zeros_for(units, share) < units
    assert abs(zeros_for(units, share) - units * share) <= 1


@given(KERNELS, st.integers(1, 5), st.integers(1, 4), st.sampled_from(["avg", "max"]), SHARES)
def test_blocks_go_whole_and_are_found_again_in_the_stored_order(
    scores: NDArray[np.float32], height: int, width: int, pooling: str, share: float
) -> None:
    axes = STORED_AXES[scores.ndim]
    blocks = Blocks(height, width, pooling)  # type: ignore[arg-type]  # one of the two
    pooled = blocks.pool(scores, axes)
    count = zeros_for(pooled.size, share)
    mask = blocks.spread(smallest_removed(pooled, count), scores.shape, axes)
    assert mask.shape == scores.shape
    assert zero_blocks(stored(~mask), height, width) == (count, pooled.size)


def test_a_block_s_score_is_the_mean_or_the_largest_of_what_lies_in_it() -> None:
    scores = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)  # (inputs, outputs)
    assert Blocks(2, 2, "avg").pool(scores, (1, 0)).tolist() == [3, 4.5, 7.5, 9]
    assert Blocks(2, 2, "max").pool(scores, (1, 0)).tolist() == [5, 6, 8, 9]
    scores[:2, :2] = GONE
    assert Blocks(2, 2, "avg").pool(scores, (1, 0))[0] == GONE


@given(KERNELS, st.integers(1, 4), st.integers(1, 4))
def test_of_every_group_m_go_and_no_more_than_needed(scores: NDArray[np.float32], m: int, more: int) -> None:
    n = m + more
    mask = m_by_n_mask(scores, STORED_AXES[scores.ndim], m, n)
    good, groups = kept_groups(stored(~mask), m, n)
    assert good == groups
    inputs = scores.shape[-2]
    full, rest = divmod(inputs, n)
    expected = (full * (n - m) + min(rest, n - m)) * scores.size // inputs
    assert mask.sum() == expected


def test_of_a_group_the_largest_stay() -> None:
    kernel = np.array([[4], [1], [3], [2], [5], [1]], np.float32)
    assert m_by_n_mask(kernel, (1, 0), 2, 4)[:, 0].tolist() == [True, False, True, False, True, True]


@given(st.lists(SCORES, min_size=1, max_size=5), SHARES, st.floats(0.1, 1))
def test_one_ranking_takes_the_least_of_all_and_no_kernel_beyond_its_limit(
    scores: list[NDArray[np.float32]], share: float, most: float
) -> None:
    counts = _shares.by_rank(share, most)(scores, 1.0)
    limits = [int(most * one.size) for one in scores]
    assert all(count <= limit for count, limit in zip(counts, limits, strict=True))
    assert sum(counts) == min(zeros_for(sum(one.size for one in scores), share), sum(limits))
    kept = [smallest_removed(one, count) for one, count in zip(scores, counts, strict=True)]
    gone = [one[~mask].max() for one, mask in zip(scores, kept, strict=True) if not mask.all()]
    free = [
        one[mask].min() for one, mask, count, limit in zip(scores, kept, counts, limits, strict=True) if count < limit
    ]
    if gone and free:
        assert max(gone) <= min(free)


@given(st.lists(SCORES, min_size=1, max_size=4), st.floats(0.1, 3), st.floats(0, 1))
def test_a_threshold_takes_what_lies_below_it(
    scores: list[NDArray[np.float32]], threshold: float, height: float
) -> None:
    counts = _shares.by_threshold([threshold] * len(scores), 1.0)(scores, height)
    assert counts == [int((one < threshold * height).sum()) for one in scores]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=6),
    st.floats(0.05, 0.95),
    st.integers(0, 2**16),
)
def test_equal_harm_adds_up(sizes: list[int], share: float, seed: int) -> None:
    levels = [0.5, 0.8, 0.95]
    harm = np.random.default_rng(seed).normal(0.1, 0.5, (len(sizes), 3))
    shares = _shares.equal_harm(sizes, levels, harm, share)
    assert all(0 <= one <= 0.95 for one in shares)
    assert np.dot(sizes, shares) == pytest.approx(share * sum(sizes), rel=1e-6)


def test_equal_harm_spares_the_layer_that_suffers() -> None:
    harm = np.array([[0.1, 0.2, 0.3], [1.0, 2.0, float("nan")]])
    shares = _shares.equal_harm([100, 100], [0.5, 0.8, 0.95], harm, 0.5)
    assert shares[0] > 0.8 > 0.2 > shares[1]


def test_single_weights_are_their_own_units() -> None:
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    kept = smallest_removed(Single().pool(scores, None), 4)
    assert Single().spread(kept, (2, 3), None).tolist() == [[False] * 3, [False, True, True]]
