"""The order of an epoch: a permutation, the same for all, without structure."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.loader import EpochOrder, Mixture, OrderOptions
from shardtools.loader.order.epoch import cut_pieces
from shardtools.loader.order.permutation import TABLE_SIZE, Permutation, feistel

MAX_EXCESS = 3.5
"""Standard deviations by which a chi-square statistic may pass its degrees of freedom; the draws are fixed."""


def excess(counts: np.ndarray, expected: np.ndarray | float, freedom: int | None = None) -> float:
    """How far a chi-square statistic is above its mean, in its own standard deviations."""
    freedom = freedom or counts.size - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float((statistic - freedom) / math.sqrt(2 * freedom))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return abs(float(np.corrcoef(first, second)[0, 1]))


def everything(order: EpochOrder | Mixture) -> np.ndarray:
    return order.rows(np.arange(order.num_positions))


def is_permutation(rows: np.ndarray) -> bool:
    return bool((np.sort(rows) == np.arange(len(rows))).all())


@given(size=st.integers(2, 5000), stream=st.integers(0, 2**64 - 1))
@settings(max_examples=60)
def test_the_network_and_the_table_are_permutations(size: int, stream: int) -> None:
    positions = np.arange(size)

    assert is_permutation(feistel(positions, size, stream))
    assert is_permutation(Permutation(size, stream)(positions))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 255, 256, 257, TABLE_SIZE, TABLE_SIZE + 1, 2**17, 2**17 + 1])
def test_the_network_is_a_permutation_around_powers_of_two(size: int) -> None:
    assert is_permutation(feistel(np.arange(size), size, 5))
    assert is_permutation(Permutation(size, 5)(np.arange(size)))


@given(
    size=st.sampled_from([2**31 - 1, 2**32, 2**32 + 1, 10**12, 2**61 - 1, 2**62]),
    stream=st.integers(0, 2**64 - 1),
    start=st.integers(0, 2**31),
)
@settings(max_examples=30)
def test_a_huge_permutation_neither_leaves_its_range_nor_repeats(size: int, stream: int, start: int) -> None:
    first = np.arange(start % (size - 2000), start % (size - 2000) + 2000)
    positions = np.unique(np.concatenate([first, (first * 7919) % size]))

    places = Permutation(size, stream)(positions)

    assert places.min() >= 0
    assert places.max() < size
    assert len(np.unique(places)) == len(positions)
    assert (Permutation(size, stream)(positions[::-1]) == places[::-1]).all()


def test_a_permutation_without_elements_or_with_one() -> None:
    assert Permutation(0, 1)(np.empty(0, np.int64)).tolist() == []
    assert Permutation(1, 1)(np.zeros(1, np.int64)).tolist() == [0]
    with pytest.raises(ValueError, match="0 to"):
        Permutation(2**62 + 1, 1)


def test_all_orders_of_four_samples_are_equally_likely() -> None:
    counts = Counter(tuple(everything(EpochOrder(OrderOptions(seed=1), epoch=e, num_samples=4))) for e in range(12_000))

    assert len(counts) == math.factorial(4)
    assert excess(np.array(list(counts.values())), 500) < MAX_EXCESS


@pytest.mark.parametrize("method", ["table", "network"])
def test_every_place_is_equally_likely_for_every_position(method: str) -> None:
    size, rounds = 11, 4000
    positions = np.arange(size)
    counts = np.zeros((size, size))
    for stream in range(rounds):
        key = stream * 0x9E3779B97F4A7C15 % 2**64
        places = Permutation(size, key)(positions) if method == "table" else feistel(positions, size, key)
        counts[positions, places] += 1

    # Rows and columns each add up to `rounds`, so (size - 1) squared of the numbers are free.
    statistic = ((counts - rounds / size) ** 2 / (rounds / size)).sum() * (size - 1) / size
    assert (statistic - (size - 1) ** 2) / math.sqrt(2 * (size - 1) ** 2) < MAX_EXCESS


def test_a_large_permutation_has_no_visible_structure() -> None:
    size = 1_281_167
    positions = np.arange(200_000)
    places = EpochOrder(OrderOptions(seed=3), epoch=0, num_samples=size).rows(positions)
    again = EpochOrder(OrderOptions(seed=3), epoch=1, num_samples=size).rows(positions)

    assert excess(np.histogram(places, bins=500, range=(0, size))[0], 400) < MAX_EXCESS
    assert excess(np.bincount(places % 16), len(places) / 16) < MAX_EXCESS
    assert correlation(places[:-1], places[1:]) < 0.01
    assert correlation(positions, places) < 0.01
    assert correlation(places, again) < 0.01
    assert (np.abs(np.diff(places)) == 1).sum() < 5, "neighbours stay neighbours by chance only"
    assert (places == again).sum() < 5


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def rows(seed: int, epoch: int) -> list[int]:
        return everything(EpochOrder(OrderOptions(seed=seed), epoch=epoch, num_samples=50)).tolist()

    assert rows(1, 2) == rows(1, 2)
    assert len({tuple(rows(seed, epoch)) for seed in range(4) for epoch in range(4)}) == 16


def test_the_order_is_the_one_of_every_release() -> None:
    small = everything(EpochOrder(OrderOptions(seed=7), epoch=3, num_samples=12)).tolist()
    large = EpochOrder(OrderOptions(seed=7), epoch=3, num_samples=10**9).rows(np.arange(4)).tolist()

    assert small == [0, 8, 5, 11, 3, 1, 10, 9, 6, 2, 4, 7]
    assert large == [467691219, 568689319, 214436886, 809932921]


def starts_of(sizes: list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(sizes)))


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    block_size=st.integers(1, 200),
    piece_size=st.none() | st.integers(1, 40),
    epoch=st.integers(0, 3),
)
@settings(max_examples=80)
def test_blocks_are_read_whole_and_hold_each_sample_once(
    sizes: list[int], block_size: int, piece_size: int | None, epoch: int
) -> None:
    starts = starts_of(sizes)
    options = OrderOptions(shuffle="blocks", block_size=block_size, piece_size=piece_size)
    order = EpochOrder(options, epoch=epoch, num_samples=sum(sizes), shard_starts=starts)
    rows = everything(order)

    assert is_permutation(rows)
    assert (order.rows(np.arange(len(rows))[::-1]) == rows[::-1]).all(), "any position can be asked for alone"
    for block, (start, stop) in enumerate(pairwise(order.block_starts.tolist())):
        ranges = order.block_ranges(block)
        held = np.concatenate([np.arange(first, end) for first, end in ranges])
        assert sorted(rows[start:stop]) == held.tolist(), "a block's ranges are its rows, rising"
        assert stop - start >= block_size or stop == len(rows)
        largest = max(sizes) if piece_size is None else piece_size
        assert stop - start < block_size + largest
        shard_of_first = np.searchsorted(starts, ranges[:, 0], side="right")
        assert (ranges[:, 1] <= starts[shard_of_first]).all(), "no range crosses from one shard into the next"


def test_blocks_mix_different_shards_in_each_epoch() -> None:
    starts = starts_of([10] * 40)

    def first_block(epoch: int) -> tuple[int, ...]:
        options = OrderOptions(shuffle="blocks", block_size=40)
        order = EpochOrder(options, epoch=epoch, num_samples=400, shard_starts=starts)
        return tuple(order.block_ranges(0)[:, 0].tolist())

    assert len({first_block(epoch) for epoch in range(10)}) == 10
    assert len(set(np.concatenate([first_block(epoch) for epoch in range(40)]))) > 35


def test_shards_are_cut_evenly() -> None:
    assert cut_pieces(starts_of([10, 3, 1]), 4).tolist() == [0, 3, 6, 10, 13, 14]
    assert cut_pieces(starts_of([10, 3, 1]), None).tolist() == [0, 10, 13, 14]


def test_no_shuffle_is_the_table() -> None:
    order = EpochOrder(OrderOptions(shuffle="none"), epoch=9, num_samples=7)

    assert everything(order).tolist() == list(range(7))
    with pytest.raises(OptionError, match="blocks"):
        order.block_ranges(0)


def test_weighted_draws_follow_the_weights_and_say_that_samples_repeat() -> None:
    weights = np.array([0, 1, 2, 0, 5, 0.5, 0], np.float32)
    options = OrderOptions(seed=2, shuffle="weighted", num_draws=50_000)
    order = EpochOrder(options, epoch=0, num_samples=7, weights=weights)
    counts = np.bincount(everything(order), minlength=7)
    drawn = weights > 0

    assert order.num_positions == 50_000
    assert not order.exactly_once
    assert (counts[~drawn] == 0).all()
    assert excess(counts[drawn], 50_000 * weights[drawn] / weights.sum()) < MAX_EXCESS
    assert order.rows(np.array([17, 3, 17])).tolist() == everything(order)[[17, 3, 17]].tolist()
    assert len(set(order.repeats(np.arange(100)).tolist())) == 100
    assert EpochOrder(OrderOptions(), epoch=0, num_samples=7).repeats(np.arange(7)).tolist() == [0] * 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shuffle": "some"}, "shuffle is one of global, blocks, none, weighted, found 'some'"),
        ({"shuffle": "blocks", "block_size": 0}, "block_size is at least 1, found 0"),
        ({"shuffle": "blocks", "piece_size": 0}, "piece_size is at least 1"),
        ({"num_draws": 5}, "num_draws is for shuffle='weighted'"),
        ({"shuffle": "blocks"}, "give shard_starts"),
        ({"shuffle": "weighted"}, "needs a weight for each of 5 samples, found none"),
    ],
)
def test_wrong_options_are_refused(change: dict[str, int], words: str) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        EpochOrder(OrderOptions(**change), epoch=0, num_samples=5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("starts", [[], [0], [0, 4], [1, 5], [0, 3, 3, 5], [0, 4, 3, 5]])
def test_shard_starts_must_fit(starts: list[int]) -> None:
    with pytest.raises(OptionError, match="rises from 0 to the number of samples"):
        EpochOrder(OrderOptions(shuffle="blocks"), epoch=0, num_samples=5, shard_starts=np.array(starts, np.int64))


def test_an_order_of_blocks_needs_their_size() -> None:
    with pytest.raises(OptionError, match="needs a block_size, found None: give one, or call resolve_sizes"):
        EpochOrder(OrderOptions(shuffle="blocks"), epoch=0, num_samples=5, shard_starts=np.array([0, 5]))


@pytest.mark.parametrize("weights", [[1, -1], [1, math.nan], [math.inf, 1], [0, 0]])
def test_weights_must_be_numbers(weights: list[float]) -> None:
    with pytest.raises(OptionError, match="finite, at least 0 and not all 0"):
        EpochOrder(OrderOptions(shuffle="weighted"), epoch=0, num_samples=2, weights=np.array(weights, np.float32))


def test_epochs_positions_and_sizes_out_of_range() -> None:
    order = EpochOrder(OrderOptions(), epoch=0, num_samples=5)

    for positions in ([-1], [5], [0, 5]):
        with pytest.raises(IndexError, match="positions are 0 to 4"):
            order.rows(np.array(positions))
    with pytest.raises(OptionError, match="at least 1 sample"):
        EpochOrder(OrderOptions(), epoch=0, num_samples=0)
    with pytest.raises(OptionError, match="epoch is at least 0"):
        EpochOrder(OrderOptions(), epoch=-1, num_samples=5)
    assert order.rows(np.empty(0, np.int64)).tolist() == []
