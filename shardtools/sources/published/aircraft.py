"""FGVC-Aircraft: photographs of aircraft by variant."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_SPLITS = ("train", "val", "test")


def _read(folder: SetFolder) -> SetLists:
    classes = [name for _, name in folder.lines("data/variants.txt")]
    numbers = {name: number for number, name in enumerate(classes)}

    def images() -> Iterator[Listed]:
        for split in _SPLITS:
            for place, line in folder.lines(f"data/images_variant_{split}.txt"):
                image, _, variant = line.partition(" ")
                yield Listed(split, f"data/images/{image}.jpg", folder.one_of(variant, numbers, place))

    return SetLists(classes=classes, images=images())


AIRCRAFT = PublishedSet(
    name="aircraft",
    title="FGVC-Aircraft 2013b, variants",
    folders=("fgvc-aircraft-2013b", ""),
    marker="data/variants.txt",
    read=_read,
    images="data/images/",
    num_classes=100,
    splits={"train": 3334, "val": 3333, "test": 3333},
    download="fetch fgvc-aircraft-2013b.tar.gz from robots.ox.ac.uk/~vgg/data/fgvc-aircraft and unpack it below --root",
    traps=("the banner with the photographer's name (20 pixels at the bottom) is not cropped",),
    license="for non-commercial research only; the photographers keep their rights",
    citation="Maji, Rahtu, Kannala, Blaschko, Vedaldi: Fine-Grained Visual Classification of Aircraft, 2013",
)
