"""Which rows take the place of bad ones, and which ranges of shards a batch is read by: pure functions of the table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.errors import OptionError
from shardtools.loader import NO_CLASS, SampleTable, read_split
from shardtools.loader.reading.integrity import MAX_ATTEMPTS, SAME_CLASS_ATTEMPTS, replace_row
from shardtools.loader.reading.ranges import BlockMap, join_ranges
from tests.helpers.batch_readers import epoch_order, table_of, write


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("ranges") / "dataset", 4, 20)


@pytest.fixture(scope="module")
def table(dataset: str) -> SampleTable:
    return read_split([dataset], "train")


class TestReplaceRow:
    def test_others_of_the_class_come_first_and_none_twice(self, table: SampleTable) -> None:
        for row in (0, 33, 79):
            found = [replace_row(table, row, seed=5, epoch=1, attempt=attempt) for attempt in range(MAX_ATTEMPTS)]
            own_class = found[:SAME_CLASS_ATTEMPTS]
            assert {other % 4 for other in own_class if other is not None} == {row % 4}
            assert len(set(own_class)) == len(own_class)
            assert row not in found and None not in found
            assert replace_row(table, row, seed=5, epoch=1, attempt=MAX_ATTEMPTS) is None

    def test_a_class_of_one_takes_from_all(self, table: SampleTable) -> None:
        labels = np.array(table.class_index)
        labels[7] = 99
        lonely = table.take(np.arange(80), class_index=labels)
        found = [replace_row(lonely, 7, seed=0, epoch=0, attempt=attempt) for attempt in range(MAX_ATTEMPTS)]
        assert len(set(found)) == MAX_ATTEMPTS and 7 not in found

    def test_small_tables_run_out(self, table: SampleTable) -> None:
        assert replace_row(table.take(np.array([3])), 0, seed=0, epoch=0) is None
        pair = table.take(np.array([3, 4]), class_index=np.full(2, NO_CLASS, np.int32))
        assert [replace_row(pair, 0, seed=0, epoch=0, attempt=attempt) for attempt in range(3)] == [1, 1, None]

    def test_rows_of_no_weight_are_never_taken(self, table: SampleTable) -> None:
        weights = np.zeros(80, np.float32)
        weights[[8, 13]] = 1
        weighted = table.take(np.arange(80), weight=weights)
        found = [replace_row(weighted, 0, seed=0, epoch=0, attempt=attempt) for attempt in range(4)]
        assert found[0] == 8 and set(found[1:3]) == {8, 13} and found[3] is None


class TestRanges:
    @given(
        rows=st.lists(st.integers(0, 79), max_size=60),
        gap=st.sampled_from([0, 600, 5000]),
        request=st.sampled_from([1500, 4000, 10**6]),
        chunk=st.sampled_from([1, 1024]),
    )
    @settings(max_examples=80)
    def test_each_row_is_in_its_range(
        self, table: SampleTable, rows: list[int], gap: int, request: int, chunk: int
    ) -> None:
        asked = np.array(rows, np.int64)
        ranges = join_ranges(table, asked, gap_bytes=gap, request_bytes=request, chunk_bytes=chunk)
        starts, ends = table.member_offset[ranges.rows], table.member_offset[ranges.rows] + table.num_bytes[ranges.rows]

        assert ranges.rows.tolist() == sorted(set(rows))
        assert (table.shard[ranges.rows] == ranges.shards[ranges.range_of]).all()
        assert (ranges.starts[ranges.range_of] <= starts).all() and (ends <= ranges.ends[ranges.range_of]).all()
        longest = int(table.num_bytes.max()) + 2 * chunk
        assert (ranges.ends - ranges.starts <= request + longest).all()
        assert set(ranges.range_of.tolist()) == set(range(len(ranges.shards)))
        if chunk == 1 and request == 10**6:
            assert ranges.num_bytes <= table.num_bytes[ranges.rows].sum() + gap * len(ranges.rows)

    def test_neighbors_are_joined_up_to_the_gap(self, table: SampleTable) -> None:
        def count(rows: list[int], gap_bytes: int) -> int:
            return len(join_ranges(table, np.array(rows), gap_bytes=gap_bytes, request_bytes=10**6).shards)

        between = int(table.member_offset[4] - table.member_offset[2] - table.num_bytes[2])
        assert [count([2, 4], between - 1), count([2, 4], between)] == [2, 1]
        assert count(list(range(80)), 10_000) == 4

    def test_samples_inside_of_others(self, dataset: str, table: SampleTable) -> None:
        places = [("a", 0, 5000, bytes(32), 0), ("a", 100, 10, bytes(32), 0), ("a", 4000, 2000, bytes(32), 0)]
        ranges = join_ranges(table_of(dataset, places), np.arange(3), gap_bytes=0, request_bytes=10**6)
        assert (ranges.starts.tolist(), ranges.ends.tolist()) == ([0], [6000])

    def test_blocks_follow_each_other_in_an_epoch(self, table: SampleTable) -> None:
        order = epoch_order(table, shuffle="blocks", block_size=15, piece_size=6)
        blocks = BlockMap(order)(order.rows(np.arange(80)))
        assert blocks.tolist() == (np.searchsorted(order.block_starts, np.arange(80), side="right") - 1).tolist()
        with pytest.raises(OptionError, match="only shuffle='blocks' has blocks"):
            BlockMap(epoch_order(table))
