"""Food-101."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_SPLITS = ("train", "test")


def _read(folder: SetFolder) -> SetLists:
    classes = sorted(name for _, name in folder.lines("meta/classes.txt"))
    numbers = {name: number for number, name in enumerate(classes)}

    def images() -> Iterator[Listed]:
        for split in _SPLITS:
            for place, line in folder.lines(f"meta/{split}.txt"):
                yield Listed(split, f"images/{line}.jpg", folder.one_of(line.partition("/")[0], numbers, place))

    return SetLists(classes=classes, images=images())


FOOD101 = PublishedSet(
    name="food101",
    title="Food-101",
    folders=("food-101", ""),
    marker="meta/classes.txt",
    read=_read,
    images="images/",
    num_classes=101,
    splits={"train": 75750, "test": 25250},
    fit_splits=("train",),
    download="fetch food-101.tar.gz from data.vision.ee.ethz.ch/cvl/datasets_extra/food-101 and unpack it in --root",
    traps=("training labels are not cleaned, those of the test split are",),
    license="for research; the pictures are from foodspotting.com",
    citation="Bossard, Guillaumin, Van Gool: Food-101 - Mining Discriminative Components with Random Forests, 2014",
)
