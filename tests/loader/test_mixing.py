"""Batches of any number of ranks, and mixtures of several sources."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.loader import BatchPlan, MixOptions, Mixture, OrderOptions
from shardtools.loader.order.mixing import turns
from tests.loader.test_order import everything, is_permutation, starts_of

BATCH = {"batch_size": 3, "world_size": 2}


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
