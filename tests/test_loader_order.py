"""The order of an epoch: a permutation, the same for all, without structure; mixtures; batches of any ranks."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.loader import BatchPlan, EpochOrder, MixOptions, Mixture, OrderOptions
from shardtools.loader.mixing import turns
from shardtools.loader.order import cut_pieces
from shardtools.loader.permutation import TABLE_SIZE, Permutation, feistel

BATCH = {"batch_size": 3, "world_size": 2}
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


@given(
    num_positions=st.integers(1, 200),
    batch_size=st.integers(1, 24),
    split=st.sampled_from([1, 2, 3, 4, 6, 12]),
    last=st.sampled_from(["pad", "drop", "short"]),
    start=st.integers(0, 200),
)
@settings(max_examples=150)
def test_a_step_has_the_same_positions_for_any_number_of_ranks(
    num_positions: int, batch_size: int, split: int, last: str, start: int
) -> None:
    """12 samples a step by one rank, or by `split` ranks."""
    start = min(start, num_positions)
    if start == 0 and last == "drop" and num_positions < 12 * batch_size:
        return
    alone = BatchPlan(num_positions=num_positions, batch_size=12 * batch_size, last=last, start=start)
    shared = BatchPlan(
        num_positions=num_positions, batch_size=12 * batch_size // split, world_size=split, last=last, start=start
    )
    delivered: list[int] = []
    repeated: list[int] = []

    assert shared.num_steps == alone.num_steps
    for step in range(alone.num_steps):
        parts = [shared.batch_positions(step, rank) for rank in range(split)]
        together = np.concatenate([part.positions for part in parts])
        assert together.tolist() == alone.batch_positions(step, 0).positions.tolist()
        if last != "short":
            assert {len(part.positions) for part in parts} == {shared.batch_size}
        else:
            assert max(len(part.positions) for part in parts) - min(len(part.positions) for part in parts) <= 1
        for part in parts:
            delivered += part.positions[: len(part.positions) - part.num_repeated].tolist()
            repeated += part.repeated
        assert shared.delivered(step + 1) - start == len(delivered)
    assert delivered + shared.dropped.tolist() == list(range(start, num_positions)), "once each, or said to be dropped"
    assert sorted(repeated) == sorted(shared.repeated.tolist()), "what pads is said"
    assert set(repeated) <= set(range(num_positions))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size is at least 1, found 0"),
        ({"world_size": 0}, "world_size is at least 1"),
        ({"num_positions": 0}, "num_positions is at least 1"),
        ({"last": "keep"}, "last is one of pad, drop, short, found 'keep'"),
        ({"start": 11}, "start is 0 to 10, found 11"),
        ({"last": "drop", "batch_size": 11}, "would drop the whole epoch"),
    ],
)
def test_wrong_batches_are_refused(change: dict[str, int], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        BatchPlan(**{"num_positions": 10, "batch_size": 2, **change})


def test_a_step_or_rank_out_of_range() -> None:
    plan = BatchPlan(num_positions=10, **BATCH)

    for step, rank in ((-1, 0), (2, 0), (0, 2), (0, -1)):
        with pytest.raises(IndexError, match="steps are 0 to 1 and ranks 0 to 1"):
            plan.batch_positions(step, rank)
    assert plan.batch_positions(1, 1).repeated == (0, 1)


@given(ratio=st.lists(st.integers(1, 30), min_size=1, max_size=6))
@settings(max_examples=80)
def test_turns_are_never_off_by_a_whole_one(ratio: list[int]) -> None:
    order = turns(ratio)
    had = np.cumsum(order[:, None] == np.arange(len(ratio)), axis=0)
    share = np.arange(1, len(order) + 1)[:, None] * np.array(ratio) / sum(ratio)

    assert np.abs(had - share).max() < 1
    assert (had[-1] * sum(ratio) == np.array(ratio) * len(order)).all()


def mixture(sizes: list[int], ratio: tuple[int, ...], epoch: int = 0, length: str | int = "first") -> Mixture:
    options = MixOptions(ratio=ratio, length=length)
    return Mixture(options, OrderOptions(), epoch=epoch, source_starts=starts_of(sizes))


def rows_of(sizes: list[int], source: int) -> np.ndarray:
    return np.arange(sizes[source]) + sum(sizes[:source])


@given(
    parts=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5)), min_size=1, max_size=4),
    length=st.sampled_from(["first", "longest", "shortest"]),
    num_epochs=st.integers(1, 3),
)
@settings(max_examples=60)
def test_each_source_of_a_mixture_goes_through_its_own_epochs(
    parts: list[tuple[int, int]], length: str, num_epochs: int
) -> None:
    sizes, ratio = [size for size, _ in parts], tuple(part for _, part in parts)
    epochs = [mixture(sizes, ratio, epoch, length) for epoch in range(num_epochs)]
    found = [epoch.locate(np.arange(epoch.num_positions)) for epoch in epochs]
    once = [
        source
        for source, size in enumerate(sizes)
        if all(np.array_equal(np.sort(mixed.rows[mixed.sources == source]), rows_of(sizes, source)) for mixed in found)
    ]

    assert once, "the source that defines the epoch comes exactly once"
    assert 0 in once or length != "first"
    for source, size in enumerate(sizes):
        rows = np.concatenate([mixed.rows[mixed.sources == source] for mixed in found]) - starts_of(sizes)[source]
        passes = np.concatenate([mixed.source_epochs[mixed.sources == source] for mixed in found])
        assert (passes == np.arange(len(rows)) // size).all(), "one pass after the other, also over epochs"
        for number in range(len(rows) // size):
            assert is_permutation(rows[number * size : (number + 1) * size])
        report = [epoch.passes()[source] for epoch in epochs]
        assert sum(entry.num_drawn for entry in report) == len(rows)
        assert report[-1].end == pytest.approx(len(rows) / size)
        assert report[0].start == 0


def test_batches_of_a_mixture_have_its_proportions() -> None:
    mixed = mixture([1000, 300, 77], (3, 2, 1), length="longest")
    sources = mixed.locate(np.arange(mixed.num_positions)).sources

    for start in range(0, mixed.num_positions - 64, 64):
        counts = np.bincount(sources[start : start + 64], minlength=3)
        assert np.abs(counts - 64 * np.array([3, 2, 1]) / 6).max() < 2
    assert mixed.num_positions == 1999
    assert mixture([1000, 300, 77], (3, 2, 1), length=500).num_positions == 500


def test_sources_of_equal_size_have_different_orders() -> None:
    mixed = mixture([50, 50], (1, 1))
    found = mixed.locate(np.arange(mixed.num_positions))

    assert (found.rows[found.sources == 0] + 50).tolist() != found.rows[found.sources == 1][: len(found.rows)].tolist()
    assert (mixed.rows(np.arange(9)[::-1]) == found.rows[:9][::-1]).all()


def test_a_sample_that_comes_again_in_an_epoch_has_another_number() -> None:
    mixed = mixture([40, 4], (1, 1))
    positions = np.arange(mixed.num_positions)
    pairs = list(zip(mixed.rows(positions).tolist(), mixed.repeats(positions).tolist(), strict=True))

    assert len(set(pairs)) == len(pairs)


def test_a_mixture_can_shuffle_blocks_and_weights() -> None:
    options, starts = MixOptions(ratio=(1, 1)), np.array([0, 6, 12])
    blocks = Mixture(
        options,
        OrderOptions(shuffle="blocks", block_size=2),
        epoch=0,
        source_starts=starts,
        shard_starts=np.array([0, 3, 6, 9, 12]),
    )
    weighted = Mixture(
        options,
        OrderOptions(shuffle="weighted"),
        epoch=0,
        source_starts=starts,
        weights=np.array([0, 1] * 6, np.float32),
    )

    rows = everything(blocks)
    assert sorted(rows[rows < 6]) == list(range(6)), "the first source comes once"
    assert len(set(rows)) == len(rows) == 11
    assert (weighted.rows(np.arange(weighted.num_positions)) % 2 == 1).all()
    assert len(set(weighted.repeats(np.arange(5)).tolist())) == 5


@pytest.mark.parametrize(
    ("ratio", "length", "words"),
    [
        ((), "first", "whole numbers of at least 1"),
        ((1, 0), "first", "leave out sources of 0 parts"),
        ((1, 70_000), "first", "at most 65536"),
        ((1, 1), "second", "length is one of first, longest, shortest or a number"),
        ((1, 1), 0, "length is at least 1"),
        ((1, 1, 1), "first", "one part for each of 2 sources"),
    ],
)
def test_wrong_mixtures_are_refused(ratio: tuple[int, ...], length: str | int, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        mixture([3, 4], ratio, length=length)


def test_an_empty_source_and_a_position_out_of_range_are_refused() -> None:
    with pytest.raises(OptionError, match="source 1 of a mixture is empty"):
        mixture([3, 0], (1, 1))
    with pytest.raises(IndexError, match="positions are 0 to 4"):
        mixture([3, 3], (1, 1)).rows(np.array([5]))
