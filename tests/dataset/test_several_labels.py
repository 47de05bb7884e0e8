"""Images with several labels: their rows, what is said of them, and that copies in every format keep them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from shardtools.cli.made import made_lines
from shardtools.curation import diff_datasets
from shardtools.dataset import open_dataset, read_contents
from shardtools.describe import describe
from shardtools.errors import QueryError, SourceError
from shardtools.loader import read_all
from shardtools.sources import GivenSample, SourceOptions, open_samples
from shardtools.sql import find_query, query
from shardtools.storage import open_storage
from shardtools.verify import verify
from shardtools.writing import WriteOptions
from tests.helpers.curated_datasets import apply_here
from tests.helpers.pictures import jpeg
from tests.helpers.writing_jobs import write_in_process

LABELS: tuple[int | tuple[int, ...] | None, ...] = ((2, 0), (), {2}, 1, None)  # type: ignore[assignment]
STORED = [[0, 2], [], [2], None, None]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("several"), LABELS)


def made(folder: Path, labels: Sequence[object]) -> str:
    given = (GivenSample(image=jpeg(number), label=label) for number, label in enumerate(labels))  # type: ignore[arg-type]
    (folder / "given").mkdir()
    source = open_samples(given, folder / "given")
    return write_in_process(WriteOptions(source=source, out=str(folder / "set"))) and str(folder / "set")


def stored(place: str) -> list[list[int] | None]:
    return query("select class_indexes from samples order by key", [place])["class_indexes"].to_pylist()


def test_rows_hold_several_labels_and_what_is_made_says_so(dataset: str) -> None:
    rows = query("select class_indexes, class_index, wnid, label_source from samples order by key", [dataset])
    assert rows["class_indexes"].to_pylist() == STORED
    assert rows["class_index"].to_pylist() == [None, None, None, 1, None]
    assert rows["wnid"].to_pylist() == [None, None, None, "1", None]
    assert rows["label_source"].to_pylist() == ["given"] * 4 + [None]
    contents = read_contents(open_storage(dataset), open_dataset(dataset).commit)
    assert (contents.num_classes, contents.num_several, contents.num_unlabeled) == (3, 3, 1)
    lines = made_lines(contents, {"ok": 5})
    assert lines == ["3 classes (0, 1, 2); 3 images with any number of labels; 1 image without a label"]
    assert verify(dataset).problems == ()


def test_questions_and_the_card_count_an_image_for_each_of_its_labels(dataset: str) -> None:
    question = find_query("classes")
    counts = query(question.sql, [dataset], parameters=question.bind({}))
    assert counts.select(["class_index", "num_images"]).to_pylist() == [
        {"class_index": 0, "num_images": 1},
        {"class_index": 1, "num_images": 1},
        {"class_index": 2, "num_images": 2},
        {"class_index": None, "num_images": 1},
    ]
    describe(dataset)
    card = (Path(dataset) / "README.md").read_text()
    assert "| 2 |  | 2 | 2 |" in card
    fields = json.loads((Path(dataset) / "croissant.json").read_text())["recordSet"][-1]["field"]
    [several] = [field for field in fields if field["name"] == "class_indexes"]
    assert (several["dataType"], several["isArray"]) == ("cr:Int32", True)


@pytest.mark.parametrize("layout", ["tar", "beton", "mds", "litdata"])
def test_copies_keep_them(dataset: str, tmp_path: Path, layout: str) -> None:
    copy = str(tmp_path / "copy")
    fields = () if layout == "tar" else ("json",)
    write_in_process(WriteOptions(source=SourceOptions(source=dataset), out=copy, layout=layout, fields=fields))
    assert stored(copy) == STORED
    # And out of the shards alone, whose json carries them.
    shards = {"beton": "beton", "tar": "webdataset"}.get(layout, layout)
    source = SourceOptions(source=f"{copy}/shards", kind=shards)
    write_in_process(WriteOptions(source=source, out=str(tmp_path / "again"), fields=fields, layout=layout))
    assert sorted(map(str, stored(str(tmp_path / "again")))) == sorted(map(str, STORED))


def test_an_edit_takes_no_labels_away(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"has several labels \[0, 2\], and an edit one class_index: drop it"):
        apply_here(dataset, "select key, 'relabel' as action, 1 as class_index from samples", tmp_path / "out")
    dropped = apply_here(dataset, "select key, 'drop' as action from samples where key like '%0'", tmp_path / "out").url
    assert stored(dropped) == STORED
    (tmp_path / "other").mkdir()
    other = made(tmp_path / "other", [(0,), *LABELS[1:]])
    found = diff_datasets(dataset, other).differences
    assert [example.a for example in found["label"].examples] == ["[0, 2]"]


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="label of image 0: expected a whole number from 0"):
        made(tmp_path, [(0, 1.5)])


def test_the_loader_gives_no_class_for_them(dataset: str) -> None:
    assert np.asarray(read_all([dataset]).class_index).tolist() == [-1, -1, -1, 1, -1]
