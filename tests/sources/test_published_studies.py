"""Published sets whose splits are drawn or listed by their studies: the same draws, rows and labels."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shardtools.sample import Sample
from shardtools.sources import PUBLISHED_SETS
from shardtools.sources.published.draws import draw_a_class, draw_folds
from shardtools.sources.published.folder import SetFolder
from shardtools.storage import open_storage
from tests.helpers.opened_sources import everything, opened, refused
from tests.helpers.pictures import write_files
from tests.helpers.published_sets import (
    APTOS_LABELS,
    CCT_BOXES,
    HPA_ROWS,
    MELANOMA_FOLDS,
    hpa_channels,
    make_all,
    make_hpa,
    melanoma_target,
    read_set,
    text,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_all(tmp_path_factory.mktemp("sets"))


def labels(samples: list[Sample]) -> list[tuple[str, int | None, str | None]]:
    return [(sample.key, sample.class_index, sample.wnid) for sample in samples]


def legacy(values: list[int], num_classes: int, seed: int) -> list[int]:
    """The study's way, on the module's own generator."""
    np.random.seed(seed)
    held_out: list[int] = []
    for number in range(num_classes):
        positions = [place for place, label in enumerate(values) if label == number]
        held_out.extend(np.random.choice(positions, int(0.2 * len(positions)), replace=False).tolist())
    return held_out


@pytest.mark.parametrize("seed", [414, 42])
def test_draws_are_those_of_numpys_legacy_generator(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 5, 400).tolist()
    assert draw_a_class(values, 5, seed=seed) == set(legacy(values, 5, seed))


def test_folds_are_drawn_in_one_stream_2020_first() -> None:
    folds = {2020: [*range(-1, 15)] * 3, 2019: [*range(29, -2, -1)] * 2}
    np.random.seed(23)
    wanted = []
    for of_year in folds.values():
        known = [fold for fold in set(np.array(of_year)) if fold >= 0]
        wanted.append(set(np.random.choice(known, size=int(0.8 * len(known)), replace=False).tolist()))
    assert draw_folds(folds.values(), seed=23) == wanted
    assert [len(one) for one in wanted] == [12, 24]


def test_studies_splits_on_the_stand_ins(root: Path, tmp_path: Path) -> None:
    for name in ("aptos", "cassava"):
        splits = read_set(root, tmp_path / name, name)
        held_out = legacy(APTOS_LABELS, 5, 414)
        kept = [place for place in range(len(APTOS_LABELS)) if place not in held_out]
        assert [one.class_index for one in splits["val"]] == [APTOS_LABELS[place] for place in sorted(held_out)]
        names = {"aptos": "{:012x}", "cassava": "{}"}[name]
        assert [one.key for one in splits["train"]] == [names.format(place) for place in kept]
    # All classes in sorted order, names in each as text: AnnualCrop_1, AnnualCrop_10, AnnualCrop_2.
    study = read_set(root, tmp_path / "eurosat", "eurosat-study")
    paths = sorted(path.relative_to(root / "eurosat/2750").as_posix() for path in root.glob("eurosat/2750/*/*.jpg"))
    classes = sorted({path.partition("/")[0] for path in paths})
    held_out = legacy([classes.index(path.partition("/")[0]) for path in paths], 10, 42)
    assert [one.provenance["source_path"] for one in study["val"]] == [paths[place] for place in sorted(held_out)]
    melanoma = read_set(root, tmp_path / "melanoma", "melanoma")
    np.random.seed(23)
    for year, folds in MELANOMA_FOLDS.items():
        known = [fold for fold in set(np.array(folds)) if fold >= 0]
        trained = np.random.choice(known, size=int(0.8 * len(known)), replace=False).tolist()
        rows = {row: fold for row, fold in enumerate(folds) if fold >= 0}
        for split, wanted in (("train", True), ("val", False)):
            found = {one.key: one.class_index for one in melanoma[split] if f"-{year}_" in one.key}
            assert found == {
                f"melanoma-{year}_train_ISIC_{year}{row}": melanoma_target(row)
                for row, fold in rows.items()
                if (fold in trained) is wanted
            }


@pytest.mark.parametrize(
    ("name", "counts", "seed"),
    [
        ("aptos", [1805, 370, 999, 193, 295], 414),
        ("cassava", [1087, 2189, 2386, 13158, 2577], 414),
        ("eurosat-study", [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000], 42),
    ],
)
def test_drawn_splits_have_the_counts_that_are_stated(name: str, counts: list[int], seed: int) -> None:
    values = np.repeat(np.arange(len(counts)), counts).tolist()
    num_val = len(draw_a_class(values, len(counts), seed=seed))
    assert PUBLISHED_SETS[name].splits == {"train": len(values) - num_val, "val": num_val}


def test_eurosat_has_the_thesis_counts(tmp_path: Path) -> None:
    class Whole(SetFolder):
        """A folder as the whole set is, by names alone."""

        @property
        def sizes(self) -> dict[str, int]:
            counts = [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000]
            return {f"c{k}/c{k}_{n}.jpg": 1 for k, count in enumerate(counts) for n in range(count)}

    described = PUBLISHED_SETS["eurosat"]
    lists = described.read(Whole(open_storage(str(tmp_path)), ""))
    assert Counter(one.split for one in lists.images) == described.splits
    assert "drawn by seed 22" in lists.notes[0] and len(lists.notes) == 1
    in_test = Counter(
        one.label for one in described.read(Whole(open_storage(str(tmp_path)), "")).images if one.split == "test"
    )
    assert set(in_test.values()) == {810}


def test_eurosat_is_one_draw_for_all(root: Path, tmp_path: Path) -> None:
    once, again = (read_set(root, tmp_path / name, "eurosat") for name in ("a", "b"))
    assert {split: labels(one) for split, one in once.items()} == {split: labels(one) for split, one in again.items()}
    assert {split: len(one) for split, one in once.items()} == {"train": 59, "val": 20, "test": 30}
    assert len({one.key for samples in once.values() for one in samples}) == 109


def test_camera_traps_have_a_picture_once_or_a_row_a_box(root: Path, tmp_path: Path) -> None:
    source = opened("published:cct20", tmp_path / "once", root=str(root), shuffle=False)
    once = everything(source)
    assert labels(once["train"]) == [("a", 14, "rodent"), ("b", 0, "opossum"), ("d", 3, "6"), ("e", 13, "51")]
    assert [one.key for one in once["val"]] == ["f", "g"]
    assert [one.class_index for one in once["test"]] == [8, 11]
    notes = "\n".join(source.notes)
    assert "3 further boxes of pictures that have one already: left out" in notes
    assert "1 of them has another class" in notes
    assert "2 rows of category 30 (empty) left out" in notes
    boxes = read_set(root, tmp_path / "boxes", "cct20-boxes")
    assert [one.key for one in boxes["train"]] == ["a", "b", "b-2", "d", "b-3", "e"]
    ids = [1, 3, 5, 6, 7, 8, 9, 10, 11, 16, 21, 33, 34, 51, 99]
    for split, name in (("train", "train"), ("val", "cis_val"), ("test", "cis_test")):
        wanted = [ids.index(number) for _, number in CCT_BOXES[name] if number != 30]
        assert [one.class_index for one in boxes[split]] == wanted


def test_proteins_have_several_labels_and_the_channels_of_both_releases(root: Path, tmp_path: Path) -> None:
    make_hpa(tmp_path / "joined", joined=True)
    for place in (root, tmp_path / "joined"):
        for name, channels in (("hpa", 3), ("hpa-rgby", 4)):
            splits = read_set(place, tmp_path / f"{place.name}-{name}", name)
            assert {split: [one.key for one in found] for split, found in splits.items()} == {
                "train": ["p", "q"],
                "val": ["r"],
                "test": ["s"],
            }
            found = by_number(splits)
            for number, (_, wanted, _) in enumerate(HPA_ROWS):
                sample = found[number]
                assert sample.class_indexes == tuple(sorted(map(int, wanted.split())))
                assert (sample.class_index, sample.wnid) == (None, None)
                pixels = np.asarray(Image.open(io.BytesIO(sample.image_bytes or b"")))
                assert np.array_equal(pixels, np.moveaxis(hpa_channels(number)[:channels], 0, 2))


def by_number(splits: dict[str, list[Sample]]) -> list[Sample]:
    return [sample for split in ("train", "val", "test") for sample in splits[split]]


def test_the_proteins_split_is_that_of_its_list(tmp_path: Path) -> None:
    counts = {"train": 22582, "val": 5664, "test_val": 2826}
    rows = [f"{split}{number},{number % 28} 3,{split}" for split, count in counts.items() for number in range(count)]
    write_files(tmp_path / "hpa", {"split.stratified.small.0.csv": text(["Id,Target,Split", *rows])})
    described = PUBLISHED_SETS["hpa"]
    lists = described.read(SetFolder(open_storage(str(tmp_path / "hpa")), ""))
    assert dict(Counter(one.split for one in lists.images)) == described.splits
    message = refused("published:hpa", tmp_path / "index", root=str(tmp_path))
    assert "expected 22,582 train, 5,664 val, 2,826 test images, found 0 train, 0 val, 0 test" in message
    assert "31,072 images of 31,072 that its lists name are not there (the first: train/train0_red.png)" in message
