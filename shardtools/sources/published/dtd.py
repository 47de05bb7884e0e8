"""Describable Textures Dataset, split 1 of its ten."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_SPLITS = ("train", "val", "test")


def _read(folder: SetFolder) -> SetLists:
    of_split = {split: list(folder.lines(f"labels/{split}1.txt")) for split in _SPLITS}
    classes = sorted({line.partition("/")[0] for lines in of_split.values() for _, line in lines})
    numbers = {name: number for number, name in enumerate(classes)}

    def images() -> Iterator[Listed]:
        for split, lines in of_split.items():
            for _, line in lines:
                yield Listed(split, f"images/{line}", numbers[line.partition("/")[0]])

    return SetLists(classes=classes, images=images())


DTD = PublishedSet(
    name="dtd",
    title="Describable Textures Dataset, split 1",
    folders=("dtd/dtd", "dtd", ""),
    marker="labels/train1.txt",
    read=_read,
    images="images/",
    num_classes=47,
    splits={"train": 1880, "val": 1880, "test": 1880},
    download="fetch dtd-r1.0.1.tar.gz from robots.ox.ac.uk/~vgg/data/dtd and unpack it in --root/dtd",
    traps=("split 1 alone, where the set's authors report the mean of ten",),
    license="for research; the pictures are from the web",
    citation="Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi: Describing Textures in the Wild, 2014",
)
