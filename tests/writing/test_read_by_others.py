"""Other people's readers open what this package writes: webdataset, DALI, Hugging Face datasets, mlcroissant, pandas.

wids is no part of webdataset 1.0 any more. Its index is held against what its last published reader asks for: the
checks that it makes of an index are made here, and its samples are found by its own rule.
"""

from __future__ import annotations

import gc
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shardtools.dataset import ShardWriter, commit_dataset, open_dataset
from shardtools.dataset.opening import list_parts
from shardtools.describe import DescribeOptions, describe
from shardtools.sample import Sample
from shardtools.sources import SourceOptions
from shardtools.sources.parquet.source import open_parquet
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions, write_dataset
from tests.helpers.pictures import jpeg, write_files

# What other people's libraries warn of themselves, none of it about the files they are given.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib[.].*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlcroissant[.].*"),
    pytest.mark.filterwarnings("ignore:The inplace keyword::mlcroissant[.].*"),
]

WNIDS = ("n01440764", "n01443537", "n01484850")
COUNTS = {"train": 25, "val": 7}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of two splits, one file of them damaged, as tars with all that `describe` writes."""
    root = tmp_path_factory.mktemp("photos")
    files = {
        f"{split}/{WNIDS[number % 3]}/{number}.jpg": jpeg(number + 100 * (split == "val"))
        for split, count in COUNTS.items()
        for number in range(count)
    }
    write_files(root / "source", {**files, f"train/{WNIDS[0]}/cut.jpg": jpeg(0)[:-30]})
    source = SourceOptions(source=str(root / "source"))
    write_dataset(WriteOptions(source=source, out=str(root / "d"), samples_per_shard=10, num_processes=1))
    describe(
        root / "d",
        DescribeOptions(
            name="photos",
            license="CC-BY-4.0",
            creator="A. Name",
            url="https://example.org/photos",
            date_published="2026-01-02",
            cite_as="@misc{photos}",
            md5=True,
        ),
    )
    return root / "d"


@pytest.fixture(scope="module")
def rows(dataset: Path) -> dict[str, dict[str, Any]]:
    """Key -> row of the manifest."""
    return {row["key"]: row for table in open_dataset(dataset).tables() for row in table.to_pylist()}


def tars(dataset: Path, split: str) -> list[str]:
    return [str(path) for path in sorted((dataset / "shards").glob(f"{split}-*.tar"))]


def original(row: dict[str, Any]) -> bytes:
    number = int(row["source_path"].rpartition("/")[2].removesuffix(".jpg"))
    return jpeg(number + 100 * (row["split"] == "val"))


def picture(number: int, **changes: Any) -> Sample:
    labels = {"key": f"k{number}", "wnid": WNIDS[number % 3], "class_index": number % 3} | changes
    return Sample(image_bytes=jpeg(number), image_format="jpg", width=48, height=36, mode="RGB", **labels)


def kept(rows: dict[str, dict[str, Any]], split: str) -> dict[str, dict[str, Any]]:
    return {key: row for key, row in rows.items() if row["split"] == split and row["status"] == "ok"}


# webdataset leaves the last tar of a list to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_plain_webdataset(dataset: Path, rows: dict[str, dict[str, Any]]) -> None:
    import webdataset

    for split in COUNTS:
        expected = kept(rows, split)
        found = list(webdataset.WebDataset(tars(dataset, split), shardshuffle=False, empty_check=False))
        assert [sample["__key__"] for sample in found] == list(expected)
        for sample in found:
            row = expected[sample["__key__"]]
            assert sample["jpg"] == original(row)
            assert int(sample["cls"]) == row["class_index"]
            assert json.loads(sample["json"])["wnid"] == row["wnid"]
    gc.collect()


def test_dali_reads_tars_by_our_index_as_by_its_own(dataset: Path, tmp_path: Path) -> None:
    from nvidia.dali import fn, pipeline_def

    names = tars(dataset, "train")
    ours = [name.removesuffix(".tar") + ".idx" for name in names]
    theirs = [str(tmp_path / f"{number}.idx") for number in range(len(names))]
    for name, index in zip(names, theirs, strict=True):
        subprocess.run([sys.executable, "-m", "wds2idx", name, index], check=True, capture_output=True)
    assert [Path(name).read_text() for name in ours] == [Path(name).read_text() for name in theirs]

    @pipeline_def(batch_size=5, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline() -> Any:
        images, labels, facts = fn.readers.webdataset(paths=names, index_paths=ours, ext=["jpg", "cls", "json"])
        return fn.decoders.image(images, device="cpu"), labels, facts

    built = pipeline()
    built.build()
    by_place = {row["key"]: row for table in open_dataset(dataset).tables() for row in table.to_pylist()}
    expected = [row for row in by_place.values() if row["split"] == "train" and row["status"] == "ok"]
    for start in range(0, len(expected), 5):
        images, labels, facts = built.run()
        for place, row in enumerate(expected[start : start + 5]):
            pixels = np.asarray(Image.open(io.BytesIO(original(row))).convert("RGB")).astype(int)
            assert np.abs(images.at(place).astype(int) - pixels).max() <= 8
            assert int(bytes(labels.at(place))) == row["class_index"]
            assert json.loads(bytes(facts.at(place)))["wnid"] == row["wnid"]


def test_dali_reads_keys_with_blanks(tmp_path: Path) -> None:
    from nvidia.dali import fn, pipeline_def

    storage = open_storage(tmp_path)
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for number in range(3):
            writer.add(picture(number, key=f"sea lion {number}"))
        writer.commit()
    commit_dataset(storage, kind="real", plan_id="p", scale=1, part_paths=list_parts(storage))
    describe(tmp_path)
    names = tars(tmp_path, "train")

    @pipeline_def(batch_size=3, num_threads=1, device_id=None)
    def pipeline() -> Any:
        indexes = [name.removesuffix(".tar") + ".idx" for name in names]
        images, labels = fn.readers.webdataset(paths=names, index_paths=indexes, ext=["jpg", "cls"])
        return images, labels

    built = pipeline()
    built.build()
    images, labels = built.run()
    assert [bytes(images.at(number)) for number in range(3)] == [jpeg(number) for number in range(3)]
    assert [int(bytes(labels.at(number))) for number in range(3)] == [0, 1, 2]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Hugging Face datasets with its caches in a folder of the test."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    datasets.disable_progress_bars()
    yield datasets
    datasets.enable_progress_bars()


def test_datasets_reads_tars(dataset: Path, rows: dict[str, dict[str, Any]], hub: Any, tmp_path: Path) -> None:
    files = {split: tars(dataset, split) for split in COUNTS}
    for split in COUNTS:
        found = hub.load_dataset("webdataset", data_files=files, split=split, cache_dir=str(tmp_path / "cache"))
        expected = kept(rows, split)
        assert [sample["__key__"] for sample in found] == list(expected)
        for sample in found:
            row = expected[sample["__key__"]]
            assert sample["cls"] == row["class_index"]
            assert np.array_equal(np.asarray(sample["jpg"]), np.asarray(Image.open(io.BytesIO(original(row)))))


def test_datasets_reads_the_folder_by_its_card(
    dataset: Path, rows: dict[str, dict[str, Any]], hub: Any, tmp_path: Path
) -> None:
    found = hub.load_dataset(str(dataset), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in found.items()} == {"train": 25, "val": 7}
    assert set(found["val"]["__key__"]) == set(kept(rows, "val"))
    streamed = hub.load_dataset(str(dataset), split="train", streaming=True)
    assert next(iter(streamed))["jpg"].size == (48, 36)


def test_datasets_reads_the_manifest(dataset: Path, rows: dict[str, dict[str, Any]], hub: Any, tmp_path: Path) -> None:
    files = sorted(str(path) for path in (dataset / "manifest").glob("*.parquet"))
    found = hub.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert {row["key"]: row for row in found} == rows


def test_what_datasets_writes_is_a_source(hub: Any, tmp_path: Path) -> None:
    numbers = range(12)
    features = hub.Features(
        {"image": hub.Image(), "label": hub.ClassLabel(names=list(WNIDS)), "text": hub.Value("string")}
    )
    columns = {
        "image": [{"bytes": jpeg(number), "path": f"{number}.jpg"} for number in numbers],
        "label": [number % 3 for number in numbers],
        "text": [f"text {number}" for number in numbers],
    }
    hub.Dataset.from_dict(columns, features=features).to_parquet(
        str(tmp_path / "validation-00000-of-00001.parquet"), batch_size=5
    )
    options = SourceOptions(source=str(tmp_path))
    source = open_parquet(open_storage(tmp_path), ["validation-00000-of-00001.parquet"], options, None, tmp_path)
    samples = list(source.samples("validation", 0, 12))
    source.close()
    assert [sample.image_bytes for sample in samples] == [jpeg(number) for number in numbers]
    assert [(sample.wnid, sample.class_index) for sample in samples] == [(WNIDS[n % 3], n % 3) for n in numbers]
    assert [sample.key for sample in samples] == [str(number) for number in numbers]
    assert json.loads(samples[3].extra_members["row.json"]) == {"text": "text 3"}


@pytest.fixture(scope="module")
def croissant(dataset: Path) -> Any:
    """The dataset as mlcroissant sees it, which checks the file on opening."""
    with pytest.MonkeyPatch.context() as patch:
        # Read once, when the library is imported.
        patch.setenv("CROISSANT_CACHE", str(dataset.parent / "croissant-cache"))
        import mlcroissant

    return mlcroissant.Dataset(jsonld=str(dataset / "croissant.json"))


def test_mlcroissant_finds_nothing_to_complain_of(croissant: Any) -> None:
    issues = croissant.metadata.ctx.issues
    assert (set(issues.errors), set(issues.warnings)) == (set(), set())
    assert croissant.metadata.ctx.is_v1_1()
    assert croissant.metadata.name in ("photos", {"en": "photos"})


def test_mlcroissant_reads_every_row(croissant: Any, rows: dict[str, dict[str, Any]]) -> None:
    records = {record["samples/key"].decode(): record for record in croissant.records("samples")}
    assert set(records) == set(rows)
    for key, row in rows.items():
        for column, value in row.items():
            found = records[key][f"samples/{column}"]
            assert (found.decode() if isinstance(found, bytes) else found) == value or (
                value is None and found != found
            )


def test_mlcroissant_reads_classes_and_splits(croissant: Any) -> None:
    classes = list(croissant.records("classes"))
    assert [(one["classes/class_index"], one["classes/wnid"]) for one in classes] == list(enumerate(WNIDS))
    assert [one["splits/name"] for one in croissant.records("splits")] == ["train", "val"]


def test_mlcroissant_keeps_rows_without_a_label(croissant: Any, tmp_path: Path) -> None:
    import mlcroissant

    storage = open_storage(tmp_path)
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        for one in (picture(0), picture(1, wnid=None, class_index=None), picture(2)):
            writer.add(one)
        writer.commit()
    commit_dataset(storage, kind="real", plan_id="p", scale=1, part_paths=list_parts(storage))
    describe(tmp_path)
    records = list(mlcroissant.Dataset(jsonld=str(tmp_path / "croissant.json")).records("samples"))
    assert [record["samples/key"] for record in records] == [b"k0", b"k1", b"k2"]
    assert [record["samples/wnid"] for record in records] == [WNIDS[0].encode(), None, WNIDS[2].encode()]


def test_the_wids_index_as_its_reader_takes_it(dataset: Path, rows: dict[str, dict[str, Any]]) -> None:
    for split, count in COUNTS.items():
        content = json.loads((dataset / f"wids-{split}.json").read_text())
        assert content["__kind__"] == "wids-shard-index-v1"
        assert content["wids_version"] == 1
        assert "base" not in content and content["name"] == f"photos-{split}"
        lengths = [shard["nsamples"] for shard in content["shardlist"]]
        assert sum(lengths) == count
        samples = [
            name
            for shard in content["shardlist"]
            for name in wids_samples(dataset / shard["url"], shard["nsamples"], shard["filesize"], shard["md5sum"])
        ]
        assert samples == list(kept(rows, split))


def wids_samples(path: Path, num_samples: int, num_bytes: int, md5: str) -> list[str]:
    """Keys of a tar, members grouped as wids does it: by all that comes before the first dot of the name."""
    assert path.stat().st_size == num_bytes
    assert hashlib.md5(path.read_bytes()).hexdigest() == md5
    keys: list[str] = []
    with tarfile.open(path) as archive:
        for name in archive.getnames():
            match = re.match(r"^((?:.*/)?.*?)(\..*)$", name)
            assert match is not None
            if not keys or keys[-1] != match[1]:
                keys.append(match[1])
    assert len(keys) == num_samples
    return keys
