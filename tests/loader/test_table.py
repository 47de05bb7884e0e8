"""The table of samples: the manifest's rows as columns, in one order, kept or made anew."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardtools.dataset import (
    PlanFile,
    ShardWriter,
    commit_dataset,
    open_dataset,
    replace_part,
    store_plan_file,
)
from shardtools.dataset import (
    commit as commit_module,
)
from shardtools.dataset.opening import list_parts
from shardtools.errors import (
    DatasetError,
    FormatVersionError,
    OptionError,
    ShardtoolsError,
    StorageError,
)
from shardtools.loader import NO_CLASS, SampleTable, hash_keys, read_all, read_split, read_view
from shardtools.sample import Sample
from shardtools.storage import open_storage
from tests.helpers.pictures import drawing, encode, jpeg
from tests.helpers.s3_server import S3Server

PNG = encode(drawing(1, (20, 10)), "PNG")


def sample(key: str, number: int, **changes: Any) -> Sample:
    """A JPEG, a PNG for each fifth, no picture for each seventh, no label for each sixth."""
    if number % 7 == 3:
        return Sample(key=key, image_bytes=None, status="undecodable", reason="the file is empty")
    fields: dict[str, Any] = {"image_bytes": jpeg(number % 11), "image_format": "jpg", "width": 48, "height": 36}
    if number % 5 == 2:
        fields = {"image_bytes": PNG, "image_format": "png", "width": 20, "height": 10}
    if number % 6 != 5:
        fields |= {"class_index": number % 4, "wnid": f"n{number % 4:08d}"}
    return Sample(key=key, **{**fields, **changes})


def write(url: str | Path, shards: dict[tuple[str, int], list[Sample]], *, commit: bool = True) -> str:
    storage = open_storage(url)
    facts: dict[str, Any] = {"kind": "real", "plan_id": "plan-1", "scale": 1}
    store_plan_file(storage, PlanFile(**facts, settings={}, notes={}, num_shards=len(shards), num_rows=1))
    for (split, index), samples in shards.items():
        with ShardWriter(storage, split=split, shard_index=index) as writer:
            for entry in samples:
                writer.add(entry)
            writer.commit()
    if commit:
        commit_dataset(storage, part_paths=list_parts(storage), **facts)
    return str(url)


def samples(prefix: str, start: int, stop: int) -> list[Sample]:
    return [sample(f"{prefix}{'x' * (number % 4)}{number}", number) for number in range(start, stop)]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    shards = {("train", 0): samples("a", 0, 20), ("train", 1): samples("a", 20, 33), ("val", 0): samples("v", 0, 9)}
    return write(tmp_path_factory.mktemp("table") / "real", shards)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its first keys are those of `real`."""
    shards = {("train", 0): samples("a", 0, 6), ("train", 1): samples("g", 6, 30)}
    return write(tmp_path_factory.mktemp("table") / "generated", shards)


def manifest(urls: list[str], split: str | None) -> list[dict[str, Any]]:
    """What the table should hold, from the parts themselves."""
    return [
        {**row, "dataset": number}
        for number, url in enumerate(urls)
        for table in open_dataset(url).tables()
        for row in table.to_pylist()
        if row["status"] == "ok" and split in (None, row["split"])
    ]


def agrees(table: SampleTable, rows: list[dict[str, Any]]) -> bool:
    assert len(table) == len(rows)
    assert table.key_strings(np.arange(len(rows))) == [row["key"] for row in rows]
    assert (table.key_hash == hash_keys(pa.array([row["key"] for row in rows]))).all()
    for name in ("dataset", "sample_index", "member_offset", "num_bytes"):
        assert getattr(table, name).tolist() == [row[name] for row in rows], name
    assert [table.shards[number] for number in table.shard] == [(row["dataset"], row["shard"]) for row in rows]
    assert [bytes(digest).hex() for digest in table.sha256] == [row["sha256"] for row in rows]
    assert [table.image_formats[number] for number in table.image_format] == [row["image_format"] for row in rows]
    for name, unknown in (("width", 0), ("height", 0), ("class_index", NO_CLASS)):
        expected = [unknown if row[name] is None else row[name] for row in rows]
        assert getattr(table, name).tolist() == expected, name
    return True


@pytest.mark.parametrize("split", ["train", None])
def test_the_table_is_the_manifest(real: str, generated: str, split: str | None) -> None:
    table = read_split([real, generated], split) if split else read_all([real, generated])

    assert agrees(table, manifest([real, generated], split))
    assert table.weight is None
    assert table.datasets == (real, generated)
    assert table.class_index.min() == NO_CLASS


def test_a_row_leads_to_the_bytes_of_its_sample(real: str) -> None:
    table = read_split([real], "train")

    for row in range(len(table)):
        _, path = table.shards[table.shard[row]]
        content = open_storage(real).read_range(path, int(table.member_offset[row]), int(table.num_bytes[row]))
        assert hashlib.sha256(content).digest() == bytes(table.sha256[row])


def test_starts_of_shards_and_datasets(real: str, generated: str) -> None:
    table = read_split([real, generated], "train")
    shard_starts, dataset_starts = table.shard_starts.tolist(), table.dataset_starts.tolist()

    assert [len(set(table.shard[a:b])) for a, b in pairwise(shard_starts)] == [1] * 4
    assert shard_starts[-1] == len(table)
    assert dataset_starts == [0, len(read_split([real], "train")), len(table)]


def test_merged_manifests_give_the_same_table(real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merged = shutil.copytree(real, tmp_path / "merged")
    (merged / "dataset.json").unlink()
    monkeypatch.setattr(commit_module, "COMPACT_FROM_PARTS", 1)
    monkeypatch.setattr(commit_module, "_ROWS_PER_GROUP", 15)
    storage = open_storage(merged)
    commit_dataset(storage, kind="real", plan_id="plan-1", scale=1, part_paths=list_parts(storage))

    assert open_dataset(merged).manifest_paths == ("compact/manifest-000000.parquet",)
    for split in ("train", "val"):
        assert agrees(read_split([str(merged)], split), manifest([real], split))
    assert agrees(read_all([str(merged)]), manifest([real], None))


def test_images_made_again_come_after_those_of_their_shard(tmp_path: Path) -> None:
    """A part whose rows lie in two tars in turn: the order is that of tars, so that each is read from front to back."""
    url = write(tmp_path / "again", {("train", 0): samples("a", 0, 10)}, commit=False)
    storage = open_storage(url)
    with ShardWriter(storage, split="train", shard_index=0, attempt=2) as writer:
        writer.add(sample("axxx3", 0))
        again, new_shards = writer.publish_shard()
    part = open_dataset(url, incomplete=True).read_part("manifest/train-000000.parquet")
    rows = part.table.to_pylist()
    rows[3] = again.to_pylist()[0]
    table = pa.Table.from_pylist(rows, schema=part.table.schema)
    replace_part(storage, "train", 0, table, [*part.shards, *new_shards])
    commit_dataset(storage, kind="real", plan_id="plan-1", scale=1, part_paths=list_parts(storage))

    found = read_split([url], "train")

    assert found.key_strings(np.arange(len(found)))[-1] == "axxx3"
    assert found.shards == ((0, "shards/train-000000.tar"), (0, "shards/train-000000-attempt2.tar"))
    assert found.shard.tolist() == [0] * 9 + [1]
    assert found.sample_index.tolist() == [*range(9), 0]


def test_manifests_in_another_order_give_the_same_table(real: str, tmp_path: Path) -> None:
    turned = shutil.copytree(real, tmp_path / "turned")
    info = json.loads((turned / "dataset.json").read_text())
    info["parts"].reverse()
    (turned / "dataset.json").write_text(json.dumps(info))

    assert read_all([str(turned)]).digest == read_all([real]).digest


def test_s3_gives_the_same_table(s3_environment: S3Server, real: str) -> None:
    url = s3_environment.url("loader/real")
    remote = open_storage(url)
    for stored in open_storage(real).list():
        remote.write(stored.path, open_storage(real).read(stored.path))

    assert agrees(read_split([url], "train"), manifest([real], "train"))
    assert read_view([url], "select key from samples where status = 'ok'").digest == read_all([real]).digest


def test_the_digest_is_of_rows_labels_and_weights_and_not_of_the_place(real: str, tmp_path: Path) -> None:
    table = read_split([real], "train")
    moved = str(shutil.copytree(real, tmp_path / "moved"))
    rows = np.arange(len(table))
    others = [
        table.take(rows[1:]),
        table.take(rows, class_index=table.class_index + 1),
        table.take(rows, weight=np.full(len(rows), 2, np.float32)),
        read_split([real], "val"),
    ]

    assert read_split([moved], "train").digest == table.digest == table.take(rows).digest
    assert len({table.digest, *(other.digest for other in others)}) == 5
    assert len(table.digest) == 16


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda real: read_split([], "train"), "at least one dataset"),
        (lambda real: read_split([real, real], "train"), "is given twice"),
        (lambda real: read_split([real], "test"), "has no split 'test': it has train, val"),
    ],
)
def test_datasets_and_splits_that_are_not_there(real: str, read: Callable[[str], Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        read(real)


def test_a_split_without_images_and_an_unfinished_dataset_are_refused(tmp_path: Path) -> None:
    failed = Sample(key="a", image_bytes=None, status="black", reason="dark")
    empty = write(tmp_path / "empty", {("train", 0): [failed]})
    unfinished = write(tmp_path / "unfinished", {("train", 0): [sample("a", 0)]}, commit=False)

    with pytest.raises(OptionError, match="has no image with status ok"):
        read_split([empty], "train")
    with pytest.raises(OptionError, match="at least one sample, found none"):
        read_all([empty])
    for read in (lambda: read_split([unfinished], "train"), lambda: read_view([unfinished], "select key from samples")):
        with pytest.raises(DatasetError, match="is not finished"):
            read()


def test_a_key_in_two_shards_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A commit of this release refuses it; those of before did not.
    monkeypatch.setattr(commit_module, "find_repeated_keys", lambda *_: None)
    url = write(tmp_path / "twice", {("train", 0): [sample("a", 0)], ("train", 1): [sample("b", 0), sample("a", 1)]})

    with pytest.raises(DatasetError, match=r"a key comes once in a dataset, found 'a' 2 times in .*twice"):
        read_split([url], "train")


def test_a_missing_or_damaged_part_is_an_error_of_the_dataset(real: str, tmp_path: Path) -> None:
    copy = shutil.copytree(real, tmp_path / "damaged")
    part = copy / "manifest/train-000001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"train-000001.parquet is not the file that was committed"):
        read_split([str(copy)], "train")
    part.unlink()
    with pytest.raises(DatasetError, match=r"train-000001.parquet is missing though the dataset lists it"):
        read_split([str(copy)], "train")
    assert len(read_split([str(copy)], "val")) == 8


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("sha256", "g" * 64, "without a sha256 of 64 digits"),
        ("sha256", "0" * 63, "without a sha256 of 64 digits"),
        ("sha256", None, "without a sha256 of 64 digits"),
        ("num_bytes", None, "an image without num_bytes"),
        ("shard", "shards/other.tar", "expected a shard of the dataset, found 'shards/other.tar'"),
        ("shard", None, "expected a shard of the dataset, found None"),
        ("image_format", None, "expected an image format, found None"),
        ("key", None, "without key"),
        ("member_offset", -512, "member_offset is 0 or more, found -512"),
        ("num_bytes", 2**62, r"has member_offset \d+ and num_bytes 4611686018427387904, .*tar has \d+ bytes"),
    ],
)
def test_rows_that_cannot_be_are_refused(tmp_path: Path, column: str, value: Any, words: str) -> None:
    url = write(tmp_path / "odd", {("train", 0): samples("a", 0, 3)}, commit=False)
    storage = open_storage(url)
    part = open_dataset(url, incomplete=True).read_part("manifest/train-000000.parquet")
    rows = part.table.to_pylist()
    rows[1][column] = value
    replace_part(storage, "train", 0, pa.Table.from_pylist(rows, schema=part.table.schema), part.shards)

    with pytest.raises(DatasetError, match=words) as caught:
        # What a commit looks at is refused by it already.
        commit_dataset(storage, kind="real", plan_id="plan-1", scale=1, part_paths=list_parts(storage))
        read_split([url], "train")
    assert "\n" not in str(caught.value)


def test_a_table_can_be_kept(real: str, generated: str, tmp_path: Path) -> None:
    first = read_split([real, generated], "train", cache_folder=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    stamp = kept.stat().st_mtime_ns
    again = read_split([real, generated], "train", cache_folder=tmp_path / "cache")

    assert agrees(again, manifest([real, generated], "train"))
    assert again.digest == first.digest
    assert again.datasets == first.datasets
    assert again.shards == first.shards
    assert kept.stat().st_mtime_ns == stamp
    read_split([real, generated], "train", cache_folder=tmp_path / "cache")
    read_split([real], "train", cache_folder=tmp_path / "cache")
    read_split([real], "val", cache_folder=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_ranks_that_keep_a_table_at_the_same_time_share_one(real: str, tmp_path: Path) -> None:
    barrier = threading.Barrier(4)

    def read(_: int) -> str:
        barrier.wait()
        return read_split([real], "train", cache_folder=tmp_path / "cache").digest

    with ThreadPoolExecutor(4) as ranks:
        digests = list(ranks.map(read, range(4)))
    assert len(set(digests)) == 1
    assert [path.name.startswith("table-") for path in (tmp_path / "cache").iterdir()] == [True]


def test_a_table_that_cannot_be_kept_is_an_error(real: str, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StorageError, match="cannot write the table to"):
        read_split([real], "train", cache_folder=tmp_path / "cache")


@given(
    name=st.sampled_from(["table.json", "keys", "key_end", "key_hash", "shard"]),
    position=st.integers(0, 4000),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
@settings(max_examples=80)
def test_a_damaged_table_is_read_or_refused(
    real: str, tmp_path_factory: pytest.TempPathFactory, name: str, position: int, value: int, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "table"
    read_split([real], "val").save(folder)
    content = bytearray((folder / name).read_bytes())
    content[position % len(content)] = value
    (folder / name).write_bytes(content[: position % len(content)] if cut else content)

    try:
        table = SampleTable.load(folder)
    except ShardtoolsError as error:
        assert "\n" not in str(error)
    else:
        assert len(table.key_strings(np.arange(len(table)))) == len(table) == 8


def test_a_table_of_another_version_is_refused(real: str, tmp_path: Path) -> None:
    read_split([real], "val").save(tmp_path / "table")
    facts = json.loads((tmp_path / "table/table.json").read_text())
    (tmp_path / "table/table.json").write_text(json.dumps({**facts, "version": 99}))

    with pytest.raises(FormatVersionError, match="has version 99 of a loader's table, this release reads 1"):
        SampleTable.load(tmp_path / "table")
    with pytest.raises(DatasetError, match="is no intact table of a loader"):
        SampleTable.load(tmp_path / "nothing")


def test_no_room_for_the_table_is_said(real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))

    with pytest.raises(StorageError, match=r"needs a place for temporary files, .*missing failed: No such file"):
        read_split([real], "train")


def test_reading_a_split_imports_neither_pandas_nor_duckdb(real: str) -> None:
    """Where pandas is installed, a single conversion of Arrow's would import it: seconds before the first batch."""
    script = (
        "import sys; from shardtools.loader import read_split;"
        f"read_split([{real!r}], 'train').digest;"
        "print([name for name in ('pandas', 'duckdb') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
