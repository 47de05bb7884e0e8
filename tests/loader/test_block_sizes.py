"""Sizes of blocks that nobody gave: out of the samples' bytes, and of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shardtools.arrays import from_texts
from shardtools.errors import PlanMismatchError
from shardtools.loader import (
    BLOCK_BYTES,
    PIECE_BYTES,
    Loader,
    LoaderState,
    MixOptions,
    OrderOptions,
    SampleTable,
    hash_keys,
    resolve_sizes,
)
from shardtools.loader.reading.block_sizes import bytes_per_sample
from shardtools.loader.reading.options import ReadOptions
from shardtools.loader.table.samples import TableWriter
from tests.helpers.loader_datasets import options, photos, write

BLOCKS = OrderOptions(shuffle="blocks")
MIB = 1024 * 1024


def table_of(*datasets: list[tuple[int, int, int]]) -> SampleTable:
    """Shard, offset and length of each sample of each dataset; no bytes belong to them."""
    names = tuple(f"dataset{number}" for number in range(len(datasets)))
    rows = [(number, *place) for number, places in enumerate(datasets) for place in places]
    shards = sorted({(number, f"{number}-{shard}.tar") for number, shard, _, _ in rows})
    writer = TableWriter(datasets=names, shards=shards, image_formats=("jpg",))
    keys, count = from_texts([f"k{index}" for index in range(len(rows))]), len(rows)
    zeros = dict.fromkeys(("sample_index", "class_index", "width", "height", "image_format", "weight"), np.zeros(count))
    writer.append(
        {
            **zeros,
            "key_hash": hash_keys(keys),
            "dataset": np.array([number for number, *_ in rows]),
            "shard": np.array([shards.index((number, f"{number}-{shard}.tar")) for number, shard, _, _ in rows]),
            "member_offset": np.array([offset for _, _, offset, _ in rows], np.int64),
            "num_bytes": np.array([length for *_, length in rows], np.int64),
            "sha256": np.zeros((count, 32), np.uint8),
        },
        keys,
    )
    return writer.finish(has_weight=False)


def photographs(count: int, num_bytes: int, *, gap: int = 0, per_shard: int = 500) -> list[tuple[int, int, int]]:
    return [(number // per_shard, number % per_shard * (num_bytes + gap), num_bytes) for number in range(count)]


def test_a_block_and_a_piece_have_a_stated_number_of_bytes() -> None:
    table = table_of(photographs(3000, 100_000, gap=1536))
    found = resolve_sizes(BLOCKS, table)
    # The last sample of a shard has no gap behind it.
    assert bytes_per_sample(table) == pytest.approx(101_536 - 1536 / 500)
    assert found == OrderOptions(shuffle="blocks", block_size=BLOCK_BYTES // 101_533, piece_size=PIECE_BYTES // 101_533)
    # Default memory holds two, also if they are a quarter larger than the average.
    assert ReadOptions().read_ahead_bytes / 2 >= 1.25 * BLOCK_BYTES + PIECE_BYTES


def test_what_a_view_leaves_out_counts_as_far_as_it_is_read() -> None:
    every_tenth = table_of([place for place in photographs(1000, 100_000) if place[1] % 1_000_000 == 0])
    assert bytes_per_sample(every_tenth) == pytest.approx(100_000 + 512 * 1024 * 98 / 100)
    whole = table_of(photographs(1000, 10_000))
    assert bytes_per_sample(whole) == 10_000
    assert resolve_sizes(BLOCKS, whole.take(np.arange(0, 1000, 2))).block_size == pytest.approx(
        BLOCK_BYTES / 20_000, rel=0.01
    )


def test_the_dataset_with_the_largest_samples_decides() -> None:
    small, large = photographs(900, 20_000), photographs(90, 1_000_000)
    alone = resolve_sizes(BLOCKS, table_of(large))
    assert resolve_sizes(BLOCKS, table_of(small, large)) == alone
    assert (alone.block_size, alone.piece_size) == (100, 8)
    # A view may leave a dataset without samples.
    assert resolve_sizes(BLOCKS, table_of(small, large).take(np.arange(900, 990))) == alone


@pytest.mark.parametrize("places", [[(0, 0, 300 * MIB)], [(0, -5, 2**62), (0, 2**62, 1)], [(0, 7, 0), (0, 3, -9)]])
def test_huge_and_damaged_samples_give_sizes_too(places: list[tuple[int, int, int]]) -> None:
    found = resolve_sizes(BLOCKS, table_of(places))
    assert found.block_size is not None and found.block_size >= 1
    assert found.piece_size is not None and found.piece_size >= 1


def test_what_was_given_stays() -> None:
    table = table_of(photographs(10, 100_000))
    for given in (
        OrderOptions(),
        OrderOptions(shuffle="none"),
        OrderOptions(shuffle="blocks", block_size=7),
        OrderOptions(shuffle="blocks", block_size=7, piece_size=3),
    ):
        assert resolve_sizes(given, table) is given
    half = resolve_sizes(OrderOptions(shuffle="blocks", piece_size=3), table)
    assert (half.block_size, half.piece_size) == (BLOCK_BYTES // 100_000, 3)


def test_the_state_has_the_sizes_and_the_order_knows_nothing_of_the_machine(tmp_path: Path) -> None:
    dataset = write(photos(tmp_path / "train", 24), tmp_path / "dataset")
    with Loader(options(dataset, order=BLOCKS)) as loader:
        state = loader.state()
        sizes = resolve_sizes(BLOCKS, loader.table)
        expected = [key for batch in loader.epoch(0) for key in batch.keys]
    assert state.options["order.block_size"] == sizes.block_size
    assert state.options["order.piece_size"] == sizes.piece_size
    memory = ReadOptions(read_ahead_bytes=1000)
    with Loader(options(dataset, order=BLOCKS, read=memory, num_threads=2, batch_size=8)) as loader:
        loader.load_state(LoaderState.from_json(state.to_json()))
        assert [key for batch in loader.epoch(0) for key in batch.keys] == expected
    # The same numbers, given, are the same order; others are refused by name.
    with Loader(options(dataset, order=sizes)) as loader:
        loader.load_state(state)
        assert [key for batch in loader.epoch(0) for key in batch.keys] == expected
    other = OrderOptions(shuffle="blocks", block_size=5)
    refused = pytest.raises(PlanMismatchError, match=rf"order\.block_size {sizes.block_size}, found 5")
    with Loader(options(dataset, order=other)) as loader, refused:
        loader.load_state(state)
    assert "order.block_size" in json.loads(state.to_json())["options"]


def test_a_mixture_has_blocks_without_sizes_too(tmp_path: Path) -> None:
    first = write(photos(tmp_path / "a" / "train", 16), tmp_path / "first")
    second = write(photos(tmp_path / "b" / "train", 16, first=100), tmp_path / "second")
    with Loader(options(first, second, order=BLOCKS, mix=MixOptions(ratio=(1, 1)), last="short")) as loader:
        keys = [key for batch in loader.epoch(0) for key in batch.keys]
        assert isinstance(loader.state().options["order.block_size"], int)
    assert sorted(key for key in keys if key[-4:] < "0100") == sorted(
        f"class{number % 4}_photo{number:04d}" for number in range(16)
    )
