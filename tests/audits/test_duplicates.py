"""Duplicates: the search against comparing all with all, groups, and what is found in datasets."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shardtools.audits.duplicates import (
    PAIRS_SCHEMA,
    DuplicatesOptions,
    DuplicatesResult,
    connected_groups,
    find_duplicates,
    hamming_join,
    hamming_pairs,
)
from shardtools.audits.duplicates.hamming import SearchMethod, _search, _words, choose_method
from shardtools.audits.quality import QualityOptions, measure_dataset
from shardtools.cli import main
from shardtools.errors import AlreadyExistsError, DatasetError, OptionError, QueryError
from shardtools.overlays import open_overlay, write_overlay
from shardtools.sources import GivenSample, SourceOptions, open_samples
from shardtools.sql import find_query, query
from shardtools.writing import WriteOptions
from tests.audits.test_quality import scene
from tests.helpers.pictures import encode, write_files
from tests.helpers.writing_jobs import write_in_process

# The search.


def hashes(seed: int, count: int) -> np.ndarray:
    """Some hashes, half of them a few bits from another one."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (count, 256), dtype=np.uint8)
    for row in range(1, count, 2):
        bits[row] = bits[rng.integers(0, row)]
        bits[row, rng.choice(256, rng.integers(0, 60), replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def all_with_all(left: np.ndarray, right: np.ndarray, radius: int) -> list[tuple[int, int, int]]:
    distance = np.bitwise_count(left[:, None] ^ right[None]).sum(axis=2)
    return [(one, other, int(distance[one, other])) for one, other in np.argwhere(distance <= radius).tolist()]


def listed(pairs: Any) -> list[tuple[int, int, int]]:
    return list(zip(pairs.left.tolist(), pairs.right.tolist(), pairs.distance.astype(int).tolist(), strict=True))


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 64), st.integers(0, 1))
def test_the_search_finds_what_comparing_all_with_all_finds(seed: int, count: int, radius: int, flips: int) -> None:
    found = hashes(seed, count)
    expected = all_with_all(found, found, radius)
    # The fewest chunks that the radius allows with so many turned bits: where a pair could be missed first.
    method = SearchMethod(num_chunks=max(radius // (flips + 1) + 1, 8), num_flips=flips)
    words = _words(found)
    assert listed(_search(words, words, radius, method, is_self=False)) == expected
    assert listed(hamming_pairs(found, radius)) == [pair for pair in expected if pair[0] < pair[1]]
    others = hashes(seed + 1, 7)
    assert listed(hamming_join(found, others, radius)) == all_with_all(found, others, radius)


def test_two_turned_bits_a_chunk() -> None:
    found = hashes(1, 40)
    method = SearchMethod(num_chunks=11, num_flips=2)
    assert listed(_search(_words(found), _words(found), 32, method, is_self=False)) == all_with_all(found, found, 32)


def test_large_tables_are_not_compared_all_with_all() -> None:
    assert choose_method(1_000_000, 1_000_000, 31) == SearchMethod(num_chunks=16, num_flips=1)
    assert choose_method(100, 100, 31).num_chunks == 0
    assert choose_method(10_000, 10_000, 200).num_chunks == 0


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(OptionError, match=r"uint8 \[N, 32\], found uint8 \[3, 8\]"):
        hamming_pairs(np.zeros((3, 8), np.uint8), 3)
    with pytest.raises(OptionError, match="radius is 0 to 256 bits, found 257"):
        hamming_pairs(np.zeros((3, 32), np.uint8), 257)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 15)), max_size=20))
def test_groups_are_connected(edges: list[tuple[int, int]]) -> None:
    edges = [edge for edge in edges if edge[0] != edge[1]]
    left, right = np.array([edge[0] for edge in edges], np.int64), np.array([edge[1] for edge in edges], np.int64)
    groups = connected_groups(16, left, right)
    sets = [{row} for row in range(16)]
    for one, other in edges:
        joined = sets[one] | sets[other]
        for row in joined:
            sets[row] = joined
    for row in range(16):
        expected = set(np.flatnonzero(groups == groups[row]).tolist()) if groups[row] >= 0 else {row}
        assert sets[row] == expected
    numbered = groups[groups >= 0]
    _, first = np.unique(numbered, return_index=True)
    assert first.tolist() == sorted(first.tolist())


# Datasets.

HOSTILE = "<script>alert(1)</script>'; drop table samples --"


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    return encode(picture, "JPEG", quality=quality)


def write_split(source: Path, out: Path, split: str) -> str:
    wanted = SourceOptions(source=str(source), split=split)
    write_in_process(WriteOptions(source=wanted, out=str(out), samples_per_shard=4))
    return str(out)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A real dataset with a test and a training split, and a generated-like one with copies of the test images."""
    folder = tmp_path_factory.mktemp("leaks")
    pictures = [scene(number, (160, 120)) for number in range(8)]
    mirrored = pictures[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    blank = encode(Image.new("RGB", (50, 50), (9, 9, 9)), "PNG")
    test = {f"{HOSTILE if n == 2 else 'cat'}/test{n}.jpg": jpeg(pictures[n]) for n in range(5)}
    made = {
        "cat/copy0.jpg": jpeg(pictures[0]),
        "dog/near1.jpg": jpeg(pictures[1].resize((100, 80)), 60),
        "cat/near1b.jpg": jpeg(pictures[1], 40),
        "cat/mirror3.jpg": jpeg(mirrored, 80),
        "cat/own6.jpg": jpeg(pictures[6]),
        "cat/own6b.jpg": jpeg(pictures[6]),
        "cat/blank.png": blank,
        "cat/blank2.png": encode(Image.new("RGB", (50, 50), (9, 9, 10)), "PNG"),
    }
    urls = []
    for name, split, files in (("real", "test", test), ("made", "train", made)):
        source = write_files(folder / f"{name}-files" / split, files)
        urls.append(write_split(source, folder / name, split))
    for url in urls:
        measure_dataset(QualityOptions(dataset=url, num_threads=1))
    return urls[0], urls[1]


def find(*urls: str, **options: Any) -> DuplicatesResult:
    return find_duplicates(DuplicatesOptions(datasets=urls, **options))


def named(result: DuplicatesResult) -> set[tuple[str, str, str]]:
    return {(row["key_a"], row["key_b"], row["kind"]) for row in result.pairs.to_pylist()}


LEAKS = {
    ("cat_test0", "cat_copy0", "exact"),
    ("cat_test1", "cat_near1b", "perceptual"),
    ("cat_test1", "dog_near1", "perceptual"),
    ("cat_test3", "cat_mirror3", "mirrored"),
}
WITHIN = {("cat_near1b", "dog_near1", "perceptual"), ("cat_own6", "cat_own6b", "exact")}


def test_copies_are_found_within_and_across_datasets(datasets: tuple[str, str]) -> None:
    real, made = datasets
    result = find(real, made)
    assert result.pairs.schema.equals(PAIRS_SCHEMA)
    assert named(result) == LEAKS | WITHIN
    assert {(row["key_a"], row["key_b"]) for row in result.leaks.to_pylist()} == {pair[:2] for pair in LEAKS}
    assert {row["key_b"]: row["same_label"] for row in result.leaks.to_pylist()}["dog_near1"] is False
    assert (result.num_images, result.num_without_hash) == (13, 2)
    assert result.counts()["exact", real, "test", made, "train"] == 1
    # The other way round the same is found, and the test image is still the one to keep.
    other = find(made, real)
    assert {frozenset(pair[:2]) for pair in named(other)} == {frozenset(pair[:2]) for pair in LEAKS | WITHIN}
    for found in (result, other):
        kept = {row["key"]: row["representative_key"] for row in found.groups.to_pylist()}
        assert (kept["cat_copy0"], kept["dog_near1"], kept["cat_mirror3"]) == ("cat_test0", "cat_test1", "cat_test3")


def test_kinds_and_radius(datasets: tuple[str, str]) -> None:
    assert named(find(*datasets, kinds=("exact",), write=False)) == {
        pair for pair in LEAKS | WITHIN if pair[2] == "exact"
    }
    straight = find(*datasets, kinds=("perceptual",), radius=0, write=False)
    assert {pair[:2] for pair in named(straight)} >= {("cat_own6", "cat_own6b"), ("cat_test0", "cat_copy0")}
    # Blank pictures look alike; without the bound on the hashes' quality they are a pair.
    assert find(*datasets, min_quality=0, write=False).num_without_hash == 0


def test_what_is_written(datasets: tuple[str, str], tmp_path: Path) -> None:
    result = find(*datasets, pairs_file=str(tmp_path / "pairs.parquet"))
    assert pq.read_table(tmp_path / "pairs.parquet").equals(result.pairs)
    real, made = (open_overlay(url, "duplicates").read() for url in datasets)
    assert real.num_rows + made.num_rows == result.groups.num_rows
    assert [open_overlay(url, "duplicate_pairs").info.num_rows for url in datasets] == [4, 2]

    asked = find_query("leakage")
    assert asked.check_overlays(datasets) == ()
    rows = query(asked.sql, datasets, asked.bind({})).to_pylist()
    assert {(row["key"], row["other_key"], row["kind"]) for row in rows} == LEAKS
    asked = find_query("near-duplicates")
    rows = query(asked.sql, datasets, asked.bind({"kind": "exact"})).to_pylist()
    assert {(row["key"], row["other_key"]) for row in rows} == {
        ("cat_test0", "cat_copy0"),
        ("cat_own6", "cat_own6b"),
    }


def test_many_equal_images_are_few_pairs(tmp_path: Path) -> None:
    picture = jpeg(scene(1, (64, 48)))
    source = write_files(tmp_path / "files", {f"cat/{number:02d}.jpg": picture for number in range(40)})
    found = find(write_split(source, tmp_path / "dataset", "train"), kinds=("exact",))
    assert len(found.pairs) == 39
    assert found.groups["num_members"].to_pylist() == [40] * 40


def test_what_is_missing_is_said(datasets: tuple[str, str], tmp_path: Path) -> None:
    source = write_files(tmp_path / "files", {"cat/one.jpg": jpeg(scene(1, (64, 48)))})
    bare = write_split(source, tmp_path / "bare", "val")
    with pytest.raises(DatasetError, match=r"has no overlay 'quality'.*run `shardtools quality"):
        find(bare, datasets[0])
    with pytest.raises(QueryError, match=r"query leakage reads the overlay 'duplicate_pairs', which .* has not: run"):
        find_query("leakage").check_overlays([bare])
    with pytest.raises(OptionError, match="is given twice"):
        find(bare, bare, kinds=("exact",))
    with pytest.raises(OptionError, match="embedding duplicates need features"):
        find(bare, kinds=("embedding",), write=False)
    with pytest.raises(OptionError, match="kinds are some of exact"):
        find(bare, kinds=("hash",))
    rows = pa.table({"key": ["cat_one"], "note": ["mine"]})
    write_overlay(bare, "duplicates", [rows], made_by="a person", settings={})
    with pytest.raises(AlreadyExistsError, match="was written by a person"):
        find(bare, kinds=("exact",))
    assert len(find(bare, kinds=("exact",), replace=True).pairs) == 0


# What a grid of rendered pictures makes by design.


def render_like(out: Path, rows: list[dict[str, Any]]) -> str:
    """A dataset whose rows say that they were rendered; `picture` is the number of what is seen."""
    facts = {"pose": 0.0, "size": 1.0, "position": 0.0, "hue": None, "background_sha256": "b", "camera": "{}"}
    given = [
        GivenSample(
            image=(np.asarray(scene(row["picture"], (160, 120))) * row.get("light", 1.0)).astype(np.uint8),
            label=0,
            key=f"key{number}",
            split=row.get("split", "train"),
            provenance={name: value for name, value in (facts | row).items() if name in (*facts, "mesh_sha256")},
        )
        for number, row in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        source = open_samples(given, Path(folder), origin="rendered")
        write_in_process(WriteOptions(source=source, out=str(out)))
    measure_dataset(QualityOptions(dataset=str(out), num_threads=1))
    return str(out)


def test_the_twins_of_a_grid_are_no_duplicates(tmp_path: Path) -> None:
    chair, armchair = {"picture": 0, "mesh_sha256": "m0"}, {"picture": 1, "mesh_sha256": "m1"}
    url = render_like(
        tmp_path / "rendered",
        [
            chair,  # the canonical picture, here of one grid,
            chair,  # and of another
            {**chair, "picture": 2, "pose": -180.0},
            {**chair, "picture": 2, "pose": 180.0},
            {**armchair, "picture": 3, "hue": 0.0},
            {**armchair, "picture": 3, "hue": 1.0},
        ],
    )
    result = find(url, kinds=("exact", "perceptual"))
    assert (len(result.pairs), len(result.groups), result.num_by_design) == (0, 0, 3)
    assert list(query(find_query("duplicates").sql, [url], parameters={"min_copies": 2}).to_pylist()) == []


def test_views_beside_each_other_are_a_grids_own_and_meshes_that_look_alike_are_not(tmp_path: Path) -> None:
    chair, copied = {"picture": 0, "mesh_sha256": "m0"}, {"picture": 0, "mesh_sha256": "m1"}
    url = render_like(tmp_path / "rendered", [chair, {**chair, "light": 0.95, "pose": 1.0}, copied])
    result = find(url)
    # The copied mesh, with the bytes of the one, and a degree away from the other.
    assert named(result) == {("key0", "key2", "exact"), ("key1", "key2", "perceptual")}
    assert result.num_by_design == 1


def test_a_view_that_shows_another_views_bytes_is_told(tmp_path: Path) -> None:
    stale = {"picture": 0, "mesh_sha256": "m0"}
    url = render_like(tmp_path / "rendered", [stale, {**stale, "pose": 90.0}])
    result = find(url, kinds=("exact",))
    assert (len(result.pairs), result.num_by_design) == (1, 0)
    assert len(query(find_query("duplicates").sql, [url], parameters={"min_copies": 2})) == 1


def test_one_object_on_both_sides_of_a_split_is_a_leak(tmp_path: Path) -> None:
    chair = {"picture": 0, "mesh_sha256": "m0"}
    url = render_like(tmp_path / "rendered", [{**chair, "split": "test"}, {**chair, "light": 0.95, "pose": 1.0}])
    result = find(url)
    assert (len(result.leaks), result.num_by_design) == (1, 0)


def test_the_command_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chair = {"picture": 0, "mesh_sha256": "m0"}
    url = render_like(tmp_path / "rendered", [chair, chair])
    with pytest.raises(SystemExit) as stop:
        main(["duplicates", url, "--kind", "exact", "--fail-on-leak"])
    assert stop.value.code == 0
    assert "1 pair of one rendered object left out: a grid's own" in capsys.readouterr().out
