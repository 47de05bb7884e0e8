"""`diff`: what differs between two datasets, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shardtools.cli.diff import command
from shardtools.curation import KINDS, diff_datasets
from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError
from shardtools.manifest import digest
from shardtools.sources import SourceOptions
from shardtools.writing import WriteOptions
from tests.helpers.curated_datasets import apply_here, make_dataset, make_photos
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.writing_jobs import write_in_process


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def dataset(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_dataset(photos, tmp_path_factory.mktemp("dataset") / "a")


def run(*args: str) -> Result:
    return CliRunner().invoke(command, args, standalone_mode=False)


def counts(a: str, b: str) -> dict[str, int]:
    return {kind: difference.count for kind, difference in diff_datasets(a, b).differences.items()}


def test_a_dataset_equals_itself_and_its_copy(dataset: str, photos: Path, tmp_path: Path) -> None:
    copy = make_dataset(photos, tmp_path / "b")

    for other in (dataset, copy):
        result = diff_datasets(dataset, other)
        assert result.equal and (result.num_rows_same, result.num_shards_shared) == (25, 4)
        assert run(dataset, other).return_value == 0
        assert "no row differs" in run(dataset, other).output


def test_dropped_and_relabeled_rows(dataset: str, tmp_path: Path) -> None:
    sql = """
    select key, case when key like '%p03' then 'drop' else 'relabel' end as action, 2 as class_index
    from samples where key in ('train_class0_p03', 'val_class1_v04')
    """
    other = apply_here(dataset, sql, tmp_path / "b").url
    result = diff_datasets(dataset, other)

    assert counts(dataset, other) == {"label": 1, "status": 1}
    assert (result.num_rows_same, result.num_shards_shared, result.num_shards_b) == (23, 2, 4)
    label, status = result.differences["label"], result.differences["status"]
    assert (label.by_split, label.by_class) == ({"val": 1}, {"class1": 1})
    assert [(one.key, one.a, one.b) for one in label.examples] == [("val_class1_v04", "1 class1", "2 class2")]
    assert [(one.key, one.a, one.b) for one in status.examples] == [("train_class0_p03", "ok", "pruned")]


def test_other_pictures_shards_splits_and_facts(dataset: str, photos: Path, tmp_path: Path) -> None:
    files = {path.relative_to(photos).as_posix(): path.read_bytes() for path in photos.rglob("*.jpg")}
    files["train/class0/p00.jpg"] = jpeg(99)
    del files["train/class1/p01.jpg"]
    files["val/class1/new.jpg"] = jpeg(98)
    other = make_dataset(write_files(tmp_path / "photos", files), tmp_path / "b")
    found = counts(dataset, other)

    assert {kind: found[kind] for kind in ("only_a", "only_b", "bytes")} == {"only_a": 1, "only_b": 1, "bytes": 1}
    assert found["moved"] > 0 and "label" not in found
    # The same keys out of other places.
    moved = {name.replace("val/", "test/"): content for name, content in files.items() if name.startswith("val")}
    moved |= {name: content for name, content in files.items() if name.startswith("train")}
    third = make_dataset(write_files(tmp_path / "more", moved), tmp_path / "c")
    assert counts(other, third) == {"only_a": 7, "only_b": 7}
    written = WriteOptions(
        source=SourceOptions(source=str(photos / "val"), split="val"), out=str(tmp_path / "d"), key_prefix="val_"
    )
    write_in_process(written)
    found = counts(dataset, str(tmp_path / "d"))
    # Its keys are those of the split, its paths begin one folder lower.
    assert (found["only_a"], found["facts"]) == (19, 6)
    written = WriteOptions(
        source=SourceOptions(source=str(photos / "val"), split="test"), out=str(tmp_path / "e"), key_prefix="val_"
    )
    write_in_process(written)
    assert counts(str(tmp_path / "d"), str(tmp_path / "e")) == {"split": 6, "moved": 6}


def test_an_earlier_commit(photos: Path, tmp_path: Path) -> None:
    dataset = make_dataset(photos, tmp_path / "a")
    before = digest(open_dataset(dataset).content)
    more = write_files(tmp_path / "more", {f"train/class{n}/m.jpg": jpeg(80 + n) for n in range(3)})
    source = SourceOptions(source=str(more))
    write_in_process(WriteOptions(source=source, out=dataset, append=True, samples_per_shard=5))
    result = diff_datasets(f"{dataset}@{before[:8]}", dataset)

    assert {kind: one.count for kind, one in result.differences.items()} == {"only_b": 3}
    assert (result.num_shards_shared, result.num_shards_a, result.num_shards_b) == (4, 4, 5)
    assert result.a_sha256 == before


def test_the_command(dataset: str, photos: Path, tmp_path: Path) -> None:
    other = apply_here(dataset, "select key from samples where split = 'val'", tmp_path / "b", drop=True).url
    plain = run(dataset, other, "--keys", "1")

    assert plain.return_value == 1
    assert f"status: 6 ({KINDS['status']})\n  by split: val 6\n" in plain.output
    assert plain.output.count("ok -> pruned") == 1
    found = run(dataset, other, "--json")
    report = json.loads(found.output)
    assert (found.return_value, report["equal"], report["num_rows_same"]) == (1, False, 19)
    assert report["differences"]["status"]["by_class"] == {"class0": 2, "class1": 2, "class2": 2}
    for wrong in ((dataset, str(photos)), (str(tmp_path / "none"), dataset)):
        with pytest.raises(DatasetError, match="is no dataset"):
            diff_datasets(*wrong)
