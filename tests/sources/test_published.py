"""Published sets as sources: splits, labels and traps of each, on stand-ins in their layouts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shardtools.cli import cli
from shardtools.dataset import open_dataset
from shardtools.errors import OptionError
from shardtools.sample import Sample
from shardtools.sources import PUBLISHED_SETS, SourceOptions, find_set
from shardtools.sql import query
from shardtools.storage import open_storage
from shardtools.writing import WriteOptions, write_dataset
from tests.helpers.engines import run_here
from tests.helpers.opened_sources import by_key, everything, opened, refused
from tests.helpers.photo_datasets import content
from tests.helpers.pictures import jpeg, write_files
from tests.helpers.published_sets import (
    make_all,
    make_aptos,
    make_cars,
    make_hpa,
    make_pets,
    read_set,
)
from tests.helpers.s3_server import S3Server
from tests.helpers.writing_jobs import write_in_process


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_all(tmp_path_factory.mktemp("sets"))


def labels(samples: list[Sample]) -> list[tuple[str, int | None, str | None]]:
    return [(sample.key, sample.class_index, sample.wnid) for sample in samples]


def test_every_set_has_its_splits_labels_and_names(root: Path, tmp_path: Path) -> None:
    found = {name: read_set(root, tmp_path / name, name) for name in list(PUBLISHED_SETS)[:10]}
    shown = {name: {split: labels(of_split) for split, of_split in splits.items()} for name, splits in found.items()}
    assert shown["aircraft"] == {
        "train": [("1000001", 99, "DHC-8-100"), ("1000002", 0, "700-200")],
        "val": [("1000003", 98, "F/A-18")],
        "test": [("0000004", 98, "F/A-18"), ("1000005", 97, "A320")],
    }
    assert shown["cars196"] == {
        "train": [
            ("cars_train_00001", 13, "Make Model 013"),
            ("cars_train_00002", 2, "Make Model 002"),
            ("cars_train_00003", 195, "Make Model 195"),
        ],
        "test": [("cars_test_00001", 180, "Make Model 180"), ("cars_test_00002", 0, "Make Model 000")],
    }
    assert shown["dtd"] == {
        split: [(f"texture{label}_000{number}", label, f"texture{label}") for label in (46, 45)]
        for number, split in enumerate(("train", "val", "test"))
    }
    assert shown["flowers"] == {
        "train": [("image_00005", 4, "5"), ("image_00002", 0, "1")],
        "val": [("image_00003", 101, "102"), ("image_00007", 8, "9")],
        "test": [("image_00006", 0, "1"), ("image_00001", 76, "77"), ("image_00004", 76, "77")],
    }
    # Cats' names begin with a capital letter and sort before dogs': the list's number is the label.
    assert shown["pets"] == {
        "train": [
            ("Abyssinian_100", 0, "Abyssinian"),
            ("american_bulldog_100", 1, "american_bulldog"),
            ("breed37_100", 36, "breed37"),
        ],
        "test": [("american_bulldog_7", 1, "american_bulldog"), ("Abyssinian_2", 0, "Abyssinian")],
    }
    assert shown["food101"]["test"] == [("baby_back_ribs_7", 1, "baby_back_ribs"), ("apple_pie_7", 0, "apple_pie")]
    assert shown["sun397"] == {
        "train": [("c_church_outdoor_sun_a", 396, "church/outdoor"), ("a_abbey001_sun_b", 1, "abbey001")],
        "test": [("c_church_indoor_sun_a", 395, "church/indoor")],
    }
    assert shown["inat2018"] == {
        "train": [
            ("Aves_8141_train0", 8141, "Species 8141"),
            ("Aves_0_train1", 0, "Species 0"),
            ("Aves_7_train2", 7, "Species 7"),
        ],
        "val": [("Aves_7_val0", 7, "Species 7")],
    }
    assert [one.class_index for one in found["inat2019"]["train"]] == [1009, 0, 7]
    assert {one.label_source for splits in found.values() for of_split in splits.values() for one in of_split} == {
        "list"
    }


def test_layouts_and_labels_are_those_of_torchvision(root: Path, tmp_path: Path) -> None:
    """The same pictures under the same labels as torchvision's own readers give, in a process that may load torch."""
    script = Path(__file__).parents[1] / "helpers" / "torchvision_listing.py"
    listed = subprocess.run([sys.executable, str(script), str(root)], capture_output=True, text=True, check=True)
    theirs: dict[str, dict[str, dict[str, int]]] = json.loads(listed.stdout)
    assert set(theirs) == {"aircraft", "cars196", "dtd", "eurosat", "flowers", "pets", "food101", "sun397"}
    for name, splits in theirs.items():
        ours = read_set(root, tmp_path / name, name)
        for split, of_split in splits.items():
            chosen = [one for had, samples in ours.items() for one in samples if split in (had, "all")]
            found = {str(one.provenance["source_path"]).rpartition("/")[2]: one.class_index for one in chosen}
            # Ours leave out what is not there; theirs name all of a list, and SUN397's all files.
            assert found, (name, split)
            assert found.items() <= of_split.items(), (name, split)
            assert set(of_split) - set(found) <= (
                {"sun_of_no_split.jpg"} if name == "sun397" else missing(root, of_split)
            )


def missing(root: Path, names: dict[str, int]) -> set[str]:
    there = {path.name for path in root.rglob("*.jpg")}
    return set(names) - there


def test_a_set_is_written_by_the_command_line(root: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        cli,
        [
            *("write", "torchvision:OxfordIIITPet", str(tmp_path / "pets"), "--root", str(root)),
            *("--num-processes", "1", "--allow-partial"),
        ],
        catch_exceptions=False,
    )
    assert run.exit_code == 0, run.output
    assert "rows by split: test 2, train 3" in run.output
    assert "fitted on train, reported on test by top1" in run.output
    assert "a part: " in run.output and "34 images of 39 that its lists name are not there" in run.output
    rows = query(
        "select key, split, class_index, wnid, source_path from samples order by key", [str(tmp_path / "pets")]
    )
    assert rows.to_pylist()[0] == {
        "key": "Abyssinian_100",
        "split": "train",
        "class_index": 0,
        "wnid": "Abyssinian",
        "source_path": "images/Abyssinian_100.jpg",
    }


def test_any_number_of_processes_writes_the_same(root: Path, tmp_path: Path) -> None:
    for num in (1, 2):
        source = SourceOptions(source="published:hpa", root=str(root), allow_partial=True)
        options = WriteOptions(source=source, out=str(tmp_path / str(num)), samples_per_shard=1)
        write_in_process(options, num)
    assert content(tmp_path / "1") == content(tmp_path / "2")
    assert open_dataset(str(tmp_path / "1")).commit.splits.keys() == {"train", "val", "test"}


def test_a_split_alone_and_an_order(root: Path, tmp_path: Path) -> None:
    source = opened("torchvision:DTD", tmp_path / "a", root=str(root), allow_partial=True, split="val")
    assert source.splits == {"val": 2}
    assert "has splits train, val, test, not 'dev'" in refused(
        "torchvision:dtd", tmp_path / "b", root=str(root), allow_partial=True, split="dev"
    )
    keys = [
        list(opened("published:eurosat", tmp_path / name, root=str(root), allow_partial=True, **options).keys("train"))
        for name, options in (("c", {}), ("d", {"shuffle_seed": 1}), ("e", {"shuffle": False}))
    ]
    assert len({tuple(one) for one in keys}) == 3
    assert len({frozenset(one) for one in keys}) == 1


def test_what_is_not_all_of_a_set_is_one_line(root: Path, tmp_path: Path) -> None:
    def said(name: str, **options: Any) -> str:
        return refused(f"torchvision:{name}", tmp_path / f"i{len(list(tmp_path.iterdir()))}", **options)

    assert "needs --root DIR, the folder that holds oxford-iiit-pet: fetch images.tar.gz" in said("pets")
    assert "no published set is called 'birds': expected one of aircraft," in said("birds", root=str(root))
    assert "drop --classes" in said("pets", root=str(root), classes="fashion")
    (tmp_path / "empty").mkdir()
    message = said("flowers", root=str(tmp_path / "empty"))
    assert "has no flowers-102/setid.mat" in message and "nothing is fetched here" in message
    message = said("aircraft", root=str(root))
    assert "expected 3,334 train, 3,333 val, 3,333 test images, found 2 train, 1 val, 2 test" in message
    assert "or give --allow-partial" in message
    make_pets(tmp_path)
    pets = tmp_path / "oxford-iiit-pet/annotations"
    (pets / "test.txt").write_text("Abyssinian_2 38 1 1\n")
    assert "test.txt, line 1: expected a whole number from 1 to 37, found '38'" in said("pets", root=str(tmp_path))
    (pets / "test.txt").unlink()
    assert "oxford-iiit-pet has no annotations/test.txt: fetch images.tar.gz" in said("pets", root=str(tmp_path))
    make_aptos(tmp_path)
    (tmp_path / "aptos2019/train.csv").write_text("id,diagnosis\na,1\n")
    assert "expected the columns id_code, diagnosis, found id, diagnosis" in said("aptos", root=str(tmp_path))


def test_a_dataset_does_not_lie_in_its_set(root: Path, tmp_path: Path) -> None:
    source = SourceOptions(source="torchvision:pets", root=str(root), allow_partial=True)
    with pytest.raises(OptionError, match="lies inside of its source"):
        write_dataset(WriteOptions(source=source, out=str(root / "oxford-iiit-pet/images/out")), run=run_here)


def test_cars_are_read_of_one_list_too(root: Path, tmp_path: Path) -> None:
    make_cars(tmp_path, one_list=True)
    files, whole = (read_set(place, tmp_path / place.name, "cars196") for place in (root, tmp_path))
    for split, samples in files.items():
        assert [one.class_index for one in whole[split]] == [one.class_index for one in samples]
        assert [one.image_bytes for one in whole[split]] == [one.image_bytes for one in samples]


def test_s3_gives_what_a_folder_gives(tmp_path: Path, s3_environment: S3Server) -> None:
    make_hpa(tmp_path / "here")
    far = open_storage(f"s3://{s3_environment.bucket}/sets-{tmp_path.name}")
    for path in (tmp_path / "here").rglob("*.*"):
        far.write(path.relative_to(tmp_path / "here").as_posix(), path.read_bytes())
    found = [
        everything(opened("published:hpa", tmp_path / name, root=place, allow_partial=True))
        for name, place in (("a", str(tmp_path / "here")), ("b", far.url))
    ]
    assert found[0] == found[1]
    assert f"{far.url} has no food-101/meta/classes.txt" in refused("torchvision:food101", tmp_path / "c", root=far.url)


def test_damaged_lists_are_one_line(root: Path, tmp_path: Path) -> None:
    cases = {
        "cct20": ("CCT-20/eccv_18_annotation_files/train_annotations.json", b"{", "is no JSON"),
        "inat2019": ("inat2019/train2019.json", b'{"images": [{"id": 1}], "annotations": []}', "found no 'file_name'"),
        "flowers": ("flowers-102/setid.mat", b"MATLAB", "expected the variable 'trnid', it cannot be read"),
        "food101": ("food-101/meta/classes.txt", b"pie\n", "expected 101 classes of Food-101, found 1"),
        "sun397": ("SUN397/ClassName.txt", b"\xff\xfe", "byte 0: expected text in UTF-8"),
    }
    make_all(tmp_path / "sets")
    for name, (path, damage, words) in cases.items():
        (tmp_path / "sets" / path).write_bytes(damage)
        assert words in refused(f"published:{name}", tmp_path / name, root=str(tmp_path / "sets"), allow_partial=True)


def test_a_channel_that_is_no_channel_is_a_row_that_says_so(tmp_path: Path) -> None:
    make_hpa(tmp_path)
    (tmp_path / "hpa/train/p_green.png").write_bytes(jpeg())
    (tmp_path / "hpa/train/q_blue.png").write_bytes((tmp_path / "hpa/train/q_blue.png").read_bytes()[:50])
    source = opened("published:hpa", tmp_path / "index", root=str(tmp_path), allow_partial=True)
    found = by_key(source)
    assert {key: one.status for key, one in found.items()} == {
        "p": "undecodable",
        "q": "undecodable",
        "r": "ok",
        "s": "ok",
    }
    assert found["p"].class_indexes == (0, 25)


def test_options_of_sets_are_for_sets(tmp_path: Path) -> None:
    write_files(tmp_path / "in", {"a/1.jpg": jpeg()})
    with pytest.raises(OptionError, match="--root is for published sets"):
        opened(tmp_path / "in", tmp_path / "i", root="x")
    with pytest.raises(OptionError, match="expected SOURCE torchvision:NAME"):
        opened(tmp_path / "in", tmp_path / "i", kind="published")


def test_descriptions_are_whole() -> None:
    for name, one in PUBLISHED_SETS.items():
        assert find_set(name.upper()) is one
        assert one.traps and one.download.startswith("fetch ") and one.license and one.citation
        assert not one.splits or {*one.fit_splits, one.test_split} <= set(one.splits)
    lines = (Path(__file__).parents[2] / "docs/transfer_sets.md").read_text().splitlines()
    for name, one in PUBLISHED_SETS.items():
        row = next(line for line in lines if line.startswith(f"| `{name}` |"))
        assert f" {one.num_classes:,} |" in row and f"| {one.metric} |" in row
        for count in one.splits.values():
            assert f"{count:,}" in row, (name, count)
