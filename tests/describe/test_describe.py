"""Descriptions of datasets: every field of every file, the same bytes each time, odd names, refusals."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shardtools.cli import main
from shardtools.dataset import ShardWriter, commit_dataset, open_dataset
from shardtools.dataset.opening import list_parts
from shardtools.describe import DescribeOptions, describe
from shardtools.describe.croissant import MAX_SHARD_OBJECTS, croissant, license_address
from shardtools.describe.dali import dali_index
from shardtools.describe.facts import count_rows
from shardtools.errors import DatasetError, NotFoundError, OptionError, ShardError
from shardtools.manifest import COLUMNS, ShardFile
from shardtools.shards import Member, TarSample
from shardtools.storage import open_storage
from tests.helpers.described_datasets import CLASSES, SAID, described, front_matter, make, sample
from tests.helpers.s3_server import S3Server


def test_what_is_written(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in Path(make(tmp_path / "d")).rglob("*") if path.is_file()}
    result, files = described(tmp_path / "d", SAID)
    assert list(files) == [
        "shards/train-000000.idx", "shards/train-000001.idx", "shards/val-000000.idx",
        "wids-train.json", "wids-val.json", "croissant.json", "README.md",
    ]  # fmt: skip
    assert [one.num_bytes for one in result.files] == [len(content) for content in files.values()]
    assert (result.num_images, result.name, result.missing, result.notes) == (11, "Tiny photos", (), ())
    assert {path: path.read_bytes() for path in before} == before
    assert described(tmp_path / "d", SAID) == (result, files)
    # Nothing of the place is in the files.
    (tmp_path / "d").rename(tmp_path / "elsewhere")
    assert described(tmp_path / "elsewhere", SAID)[1] == files


def test_what_nobody_said_is_left_out(tmp_path: Path) -> None:
    make(tmp_path)
    result, files = described(tmp_path)
    assert result.missing == ("license", "creator", "url", "date_published", "cite_as")
    assert result.name == "real-0123456789abcdef"
    content = json.loads(files["croissant.json"])
    assert not {"license", "url", "creator", "datePublished", "citeAs"} & set(content)
    assert content["description"] == ("11 images (real) of 3 classes, 0.01 MB, by split: train 8, val 3.")
    assert "license" not in front_matter(files["README.md"])
    assert "## About" not in files["README.md"].decode()


def test_the_wids_index(tmp_path: Path) -> None:
    make(tmp_path)
    _, files = described(tmp_path, DescribeOptions(name="n", description="d"))
    content = json.loads(files["wids-train.json"])
    tars = [tmp_path / "shards/train-000000.tar", tmp_path / "shards/train-000001.tar"]
    assert content == {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": "n-train",
        "info": "d",
        "shardlist": [
            {"url": f"shards/{tar.name}", "nsamples": count, "filesize": tar.stat().st_size}
            for tar, count in zip(tars, (5, 3), strict=True)
        ],
    }
    _, files = described(tmp_path, DescribeOptions(md5=True))
    shardlist = json.loads(files["wids-train.json"])["shardlist"]
    assert [one["md5sum"] for one in shardlist] == [hashlib.md5(tar.read_bytes()).hexdigest() for tar in tars]


def test_the_dali_index(tmp_path: Path) -> None:
    make(tmp_path)
    _, files = described(tmp_path)
    path = tmp_path / "shards/train-000001.tar"
    lines = files["shards/train-000001.idx"].decode().splitlines()
    assert lines[0] == "v1.2 3"
    with tarfile.open(path) as archive:
        members = [(info.name, info.offset_data, info.size) for info in archive]
    words = [word for line in lines[1:] for word in line.split(" ")]
    assert words == [
        word for name, offset, size in members for word in (name.partition(".")[2], str(offset), str(size), name)
    ]


def test_names_that_an_index_line_cannot_hold() -> None:
    def tar_sample(key: str, extension: str) -> TarSample:
        return TarSample(key, {extension: Member(f"{key}.{extension}", 512, 7)})

    assert dali_index([tar_sample("a", "jpg")]) == b"v1.2 1\njpg 512 7 a.jpg\n"
    assert dali_index([tar_sample("a", "jpg"), tar_sample("b c", "png")]) == b"v1.1 2\njpg 512 7\npng 512 7\n"
    assert dali_index([tar_sample("a\u00a0b", "jpg")]) == b"v1.1 1\njpg 512 7\n"
    assert dali_index([tar_sample("a", "x jpg")]) is None
    assert dali_index([]) is None


def test_a_tar_without_an_index_is_noted(tmp_path: Path) -> None:
    make(tmp_path, {("train", 0): [sample(0, extra_members={"a b": b"x"})], ("train", 1): [sample(1, key="a b")]})
    result, files = described(tmp_path)
    assert result.notes == ("shards/train-000000.tar has no DALI index: an extension in it has a blank",)
    assert files["shards/train-000001.idx"].startswith(b"v1.1 1\n")


def test_croissant_names_every_file_column_and_class(tmp_path: Path) -> None:
    make(tmp_path)
    _, files = described(tmp_path, SAID)
    content = json.loads(files["croissant.json"])
    assert content["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert content["license"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert (content["datePublished"], content["version"]) == ("2026-01-02", "1.0.0")
    objects = [one for one in content["distribution"] if one["@type"] == "cr:FileObject"]
    assert {one["contentUrl"]: one["sha256"] for one in objects} == {
        str(path.relative_to(tmp_path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (*tmp_path.glob("manifest/*"), *tmp_path.glob("shards/*.tar"))
    }
    records = {one["@id"]: one for one in content["recordSet"]}
    assert [field["name"] for field in records["samples"]["field"]] == list(COLUMNS)
    assert [field["description"] for field in records["samples"]["field"]] == [text for _, text in COLUMNS.values()]
    assert records["classes"]["data"][2] == {
        "classes/class_index": 2, "classes/wnid": CLASSES[2], "classes/name": CLASSES[2],
    }  # fmt: skip
    assert records["classes"]["data"][0]["classes/name"] == "tench, Tinca tinca"
    assert records["splits"]["data"] == [{"splits/name": "train"}, {"splits/name": "val"}]


def test_many_shards_are_described_by_their_names(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = open_dataset(tmp_path)
    facts = count_rows(dataset)
    assert dataset.info is not None
    many = tuple(ShardFile(path=f"shards/train-{number:06d}.tar", num_bytes=1, sha256="0") for number in range(3000))
    info = replace(dataset.info, shards=many)
    content = json.loads(croissant(info, facts, DescribeOptions(), name="n", description="d"))
    tars = [one for one in content["distribution"] if "x-tar" in one["encodingFormat"]]
    assert len(tars) == MAX_SHARD_OBJECTS + 1
    assert tars[-1]["includes"] == ["shards/*.tar"]


def test_a_merged_manifest_is_described_in_place_of_its_parts(tmp_path: Path) -> None:
    make(tmp_path, {("train", number): [sample(0, key=f"k{number}")] for number in range(66)})
    content = json.loads(described(tmp_path)[1]["croissant.json"])
    manifests = [one for one in content["distribution"] if "parquet" in one["encodingFormat"]]
    assert [one["@id"] for one in manifests] == ["compact/manifest-000000.parquet", "manifest"]
    assert manifests[1]["includes"] == ["compact/manifest-000000.parquet"]


@pytest.mark.parametrize(
    "labels",
    [[(0, "a"), (0, "b")], [(0, "a"), (1, "a")], [(0, None), (1, "a")], [(None, "a"), (1, "b")]],
    ids=["index twice", "name twice", "no name", "no index"],
)
def test_labels_that_no_enumeration_can_list(tmp_path: Path, labels: list[tuple[int | None, str | None]]) -> None:
    samples = [sample(number, class_index=index, wnid=wnid) for number, (index, wnid) in enumerate(labels)]
    make(tmp_path, {("train", 0): samples})
    _, files = described(tmp_path)
    content = json.loads(files["croissant.json"])
    assert [one["@id"] for one in content["recordSet"]] == ["splits", "samples"]
    assert "classes/" not in files["croissant.json"].decode()


@pytest.mark.parametrize(
    ("layout", "suffix", "tool"),
    [("beton", ".beton", "ffcv"), ("mds", ".mds", "streaming"), ("litdata", ".bin", "litdata")],
)
def test_other_formats_get_no_tar_indexes(tmp_path: Path, layout: str, suffix: str, tool: str) -> None:
    storage = open_storage(tmp_path)
    with ShardWriter(storage, split="train", shard_index=0, layout=layout, max_samples=2) as writer:
        for number in range(2):
            writer.add(sample(number))
        writer.commit()
    commit_dataset(storage, kind="real", plan_id="p", scale=1, part_paths=list_parts(storage), layout=layout)
    _, files = described(tmp_path)
    assert list(files) == ["croissant.json", "README.md"]
    content = json.loads(files["croissant.json"])
    assert any(one["@id"].endswith(suffix) and one["sha256"] for one in content["distribution"] if "sha256" in one)
    assert f"{tool}" in files["README.md"].decode()
    assert front_matter(files["README.md"])["configs"][0]["data_files"] == [
        {"split": "train", "path": "manifest/train-*.parquet"}
    ]


def test_a_folder_of_image_files(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    with ShardWriter(storage, split="val", shard_index=0, layout="imagefolder") as writer:
        writer.add(sample(0))
        writer.commit()
    commit_dataset(storage, kind="real", plan_id="p", scale=1, part_paths=list_parts(storage), layout="imagefolder")
    _, files = described(tmp_path)
    assert list(files) == ["croissant.json", "README.md"]
    assert front_matter(files["README.md"])["configs"][0]["data_files"] == [{"split": "val", "path": "val/**"}]
    assert 'ImageFolder("val")' in files["README.md"].decode()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no dataset"):
        describe(tmp_path / "nothing")
    storage = open_storage(tmp_path / "half")
    with ShardWriter(storage, split="train", shard_index=0) as writer:
        writer.add(sample(0))
        writer.commit()
    with pytest.raises(DatasetError, match="is not finished"):
        describe(tmp_path / "half")


def test_a_tar_that_is_not_what_the_manifest_says(tmp_path: Path) -> None:
    make(tmp_path)
    first, second = (tmp_path / f"shards/train-00000{number}.tar" for number in range(2))
    whole = first.read_bytes()
    first.write_bytes(whole[:-512])
    with pytest.raises(DatasetError, match=r"train-000000.tar has \d+ bytes, dataset.json says \d+: run shardtools"):
        describe(tmp_path)
    # As long as it should be, with one sample less.
    with tarfile.open(first) as archive:
        gone = archive.getmembers()[-3].offset
    first.write_bytes(whole[:gone] + bytes(len(whole) - gone))
    with pytest.raises(DatasetError, match="holds 4 samples, the manifest has 5 rows for it: run shardtools verify"):
        describe(tmp_path)
    first.write_bytes(whole[:600] + b"\xff" * (len(whole) - 600))
    with pytest.raises(ShardError, match=r"train-000000.tar"):
        describe(tmp_path)
    first.write_bytes(whole)
    second.unlink()
    with pytest.raises(NotFoundError, match=r"train-000001.tar"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"name": ""}, "--name is one line of text"),
        ({"name": "a\nb"}, "--name is one line of text"),
        ({"creator": "\ud800"}, "--creator is one line of text"),
        ({"url": "example.org"}, "--url is an address"),
        ({"date_published": "2026-13-01"}, "--date-published has the form YYYY-MM-DD"),
        ({"date_published": "20260101"}, "--date-published has the form YYYY-MM-DD"),
        ({"version": "1"}, "--dataset-version has the form MAJOR.MINOR.PATCH"),
    ],
)
def test_options_out_of_form(option: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        DescribeOptions(**option)


def test_licenses() -> None:
    assert license_address("MIT") == "https://spdx.org/licenses/MIT"
    assert license_address("https://example.org/terms") == "https://example.org/terms"


def test_a_bucket_gets_the_same_files(s3_environment: S3Server, tmp_path: Path) -> None:
    make(tmp_path)
    url = s3_environment.url("described")
    make(url)
    _, here = described(tmp_path, SAID)
    result = describe(url, SAID)
    storage = open_storage(url)
    assert {one.path: storage.read(one.path) for one in result.files} == here


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["describe", str(tmp_path), "--name", "photos", "--license", "MIT", "--json"])
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["name"], printed["num_images"]) == ("photos", 11)
    assert printed["files"][-1]["path"] == "README.md"
    with pytest.raises(SystemExit) as ended:
        main(["describe", str(tmp_path), "--license", "MIT"])
    text = capsys.readouterr().out
    assert "3 DALI indexes beside the tars in shards/" in text
    assert "worth saying too: --creator, --url, --date-published, --cite-as" in text
    with pytest.raises(SystemExit) as ended:
        main(["describe", str(tmp_path), "--dataset-version", "one"])
    assert ended.value.code == 2
    assert "shardtools: --dataset-version" in capsys.readouterr().err
