"""A finished dataset that grows: new shards, a new commit, and the old one still there to read."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shardtools.cli import main
from shardtools.dataset import open_dataset, read_status
from shardtools.errors import DatasetError, OptionError, PlanMismatchError, ShardtoolsError, SourceError
from shardtools.execution import Work, ignore
from shardtools.sources import SourceOptions, open_source
from shardtools.sql import query
from shardtools.storage import open_storage
from shardtools.verify import verify
from shardtools.writing import WriteOptions, discard_unfinished_append
from shardtools.writing.targets import AppendTarget
from shardtools.writing.tasks import make_shard
from tests.helpers.engines import run_here
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process

PER_SHARD = 5


def options(source: Path, out: Path, **others: Any) -> WriteOptions:
    classes = others.pop("classes", "n01440764,n01443537,n01484850")
    return WriteOptions(
        source=SourceOptions(source=str(source), classes=classes), out=str(out), samples_per_shard=PER_SHARD, **others
    )


def digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in ("events", "lease")
    }


def keys(url: Path | str) -> list[str]:
    return [key for table in open_dataset(str(url)).tables() for key in table["key"].to_pylist()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_files(tmp_path / "photos", {f"n01440764/a{n}.jpg": jpeg(n) for n in range(12)})


@pytest.fixture
def more(tmp_path: Path) -> Path:
    files = {f"n01443537/b{n}.jpg": jpeg(50 + n) for n in range(11)} | {"n01443537/cut.jpg": jpeg(1)[:-40]}
    return write_files(tmp_path / "more", files)


@pytest.fixture
def dataset(photos: Path, tmp_path: Path) -> Path:
    write_in_process(options(photos, tmp_path / "out"))
    return tmp_path / "out"


def test_the_old_shards_stay_and_the_old_commit_is_read_by_its_digest(dataset: Path, more: Path) -> None:
    before, old_keys = digests(dataset), keys(dataset)
    write_in_process(options(more, dataset, append=True))

    after = digests(dataset)
    assert {path: after[path] for path in before if path != "dataset.json"} == {
        path: digest for path, digest in before.items() if path != "dataset.json"
    }
    commit = before["dataset.json"]
    assert after[f"commits/{commit[:16]}.json"] == commit
    assert keys(f"{dataset}@{commit[:16]}") == keys(f"{dataset}@{commit[:8]}") == old_keys
    assert keys(dataset)[: len(old_keys)] == old_keys and len(keys(dataset)) == 24
    assert keys(f"{dataset}@{after['dataset.json'][:16]}") == keys(dataset)
    info = open_dataset(dataset).info
    assert info is not None and info.parent == commit
    assert [entry.path[-19:] for entry in info.parts] == [f"train-{n:06d}.parquet"[-19:] for n in range(6)]
    report = verify(dataset)
    assert report.sound and report.finished and report.num_rows == 24
    status = read_status(str(dataset))
    assert status.committed and status.num_rows == status.num_rows_planned == 24 and status.num_shards_planned == 6
    for url, count in ((str(dataset), 24), (f"{dataset}@{commit[:12]}", 12)):
        assert query("select count(*) as n from samples", [url]).to_pylist() == [{"n": count}]


def test_an_earlier_commit_is_named_by_all_its_digits_and_a_damaged_one_hides_nothing_else(
    dataset: Path, more: Path
) -> None:
    commit, old_keys = digests(dataset)["dataset.json"], keys(dataset)
    write_in_process(options(more, dataset, append=True))
    assert keys(f"{dataset}@{commit}") == old_keys
    wrong = "".join("0" if digit != "0" else "1" for digit in commit[16:])
    with pytest.raises(DatasetError, match=f"has no earlier commit {commit[:16]}{wrong}: it has {commit[:16]}"):
        open_dataset(f"{dataset}@{commit[:16]}{wrong}")

    (dataset / f"commits/{commit[:16]}.json").write_bytes(b"{")
    (dataset / "shards/stranger").write_bytes(b"no shard")
    report = verify(dataset)
    assert report.num_rows == 24
    # What the commit alone spoke for is looked at too, and what nobody speaks for is found as ever.
    found = {(problem.kind, problem.path) for problem in report.problems}
    assert ("commit", f"commits/{commit[:16]}.json") in found and any(path == "shards/stranger" for _, path in found)


def test_the_same_append_again_adds_nothing_and_another_one_more(dataset: Path, more: Path, photos: Path) -> None:
    write_in_process(options(more, dataset, append=True))
    before = digests(dataset)
    write_in_process(options(more, dataset, append=True))
    assert digests(dataset) == before

    # The command that began the dataset finds it finished too.
    write_in_process(options(photos, dataset))
    assert digests(dataset) == before

    write_in_process(options(photos, dataset, append=True, key_prefix="again_"))
    assert len(keys(dataset)) == 36 and verify(dataset).sound
    assert "again_n01440764_a0" in keys(dataset)
    assert len(list((dataset / "commits").iterdir())) == 2


@pytest.mark.parametrize("num_tasks", [0, 1, 2])
def test_a_killed_append_goes_on_and_was_never_seen(dataset: Path, more: Path, tmp_path: Path, num_tasks: int) -> None:
    whole = tmp_path / "whole"
    write_in_process(options(tmp_path / "photos", whole))
    write_in_process(options(more, whole, append=True))
    old_keys = keys(dataset)

    begin(options(more, dataset, append=True), tmp_path, num_tasks)

    assert keys(dataset) == old_keys
    problems = {problem.kind for problem in verify(dataset).problems}
    assert problems == ({"unfinished", "orphan"} if num_tasks else {"unfinished"})
    if num_tasks:
        with pytest.raises(PlanMismatchError, match=r"not finished.*--discard-append"):
            write_in_process(options(more, dataset, append=True, key_prefix="x"))
    write_in_process(options(more, dataset, append=True))
    assert digests(dataset) == digests(whole)


def begin(wanted: WriteOptions, tmp_path: Path, num_tasks: int) -> None:
    """An append that stops after some of its shards."""
    storage = open_storage(wanted.out)
    folder = tmp_path / f"index{num_tasks}"
    folder.mkdir()
    source = open_source(wanted.source, folder)
    job = AppendTarget(storage, wanted).begin(source, "killed")
    part = replace(job, tasks=job.tasks[:num_tasks])
    run_here(Work(job=part, make_task=make_shard), 1, ignore, lambda: False)


def test_an_unfinished_append_is_dropped(dataset: Path, more: Path, tmp_path: Path) -> None:
    before = digests(dataset)
    begin(options(more, dataset, append=True), tmp_path, 2)
    assert discard_unfinished_append(str(dataset)) == 2

    after = digests(dataset)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {f"commits/{before['dataset.json'][:16]}.json"}
    assert verify(dataset).sound
    assert discard_unfinished_append(str(dataset)) == 0
    write_in_process(options(more, dataset, append=True, key_prefix="x"))
    assert verify(dataset).sound


def test_what_is_refused(dataset: Path, more: Path, photos: Path, tmp_path: Path) -> None:
    before = digests(dataset)
    with pytest.raises(
        SourceError, match=r"key 'n01440764_a[0-9]+' is in .* already \(and 11 more of 12 in split train\)"
    ):
        write_in_process(options(photos, dataset, append=True, key_prefix=""))
    with pytest.raises(OptionError, match="has layout tar"):
        write_in_process(options(more, dataset, append=True, layout="mds"))
    with pytest.raises(DatasetError, match="no finished dataset to append to"):
        write_in_process(options(more, tmp_path / "nothing", append=True))
    with pytest.raises(DatasetError, match="has no earlier commit 0123456789"):
        open_dataset(f"{dataset}@0123456789")
    assert digests(dataset) == before


def test_one_file_a_split_does_not_grow(photos: Path, more: Path, tmp_path: Path) -> None:
    write_in_process(options(photos, tmp_path / "one", layout="beton", one_file=True))
    with pytest.raises(OptionError, match=r"has one file a split \(--one-file\), which does not grow"):
        write_in_process(options(more, tmp_path / "one", layout="beton", append=True))
    assert verify(tmp_path / "one").sound


def test_a_label_that_means_another_class_there(dataset: Path, more: Path) -> None:
    # Without the class set the folders of the new source count from 0 again.
    with pytest.raises(ShardtoolsError, match=r"label 0 for class n01443537, in the dataset 0 is n01440764"):
        write_in_process(options(more, dataset, append=True, classes=None))
    assert len(keys(dataset)) == 12
    # Nothing was written, so the right command needs no clearing up.
    write_in_process(options(more, dataset, append=True))
    assert len(keys(dataset)) == 24 and verify(dataset).sound


@pytest.mark.parametrize("layout", ["beton", "litdata", "imagefolder"])
def test_other_layouts_grow_too(photos: Path, more: Path, tmp_path: Path, layout: str) -> None:
    out = tmp_path / layout
    write_in_process(options(photos, out, layout=layout))
    write_in_process(options(more, out, layout=layout, append=True))

    report = verify(out)
    assert report.sound and report.num_images == 23


def test_the_command(dataset: Path, more: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["write", str(more), str(dataset), "--append", "--classes", "n01440764,n01443537,n01484850"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--discard-append", "--num-processes", "1"])

    captured = capsys.readouterr()
    assert stop.value.code == 0
    assert "no append to drop" in captured.err and "holds 23 images" in captured.out
