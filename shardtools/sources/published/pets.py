"""Oxford-IIIT Pets, by breed."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.errors import SourceError
from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_NUM_CLASSES = 37
_LISTS = {"train": "trainval", "test": "test"}


def _read(folder: SetFolder) -> SetLists:
    rows = []
    names: dict[int, str] = {}
    for split, name in _LISTS.items():
        for place, line in folder.lines(f"annotations/{name}.txt"):
            image, _, rest = line.partition(" ")
            breed = folder.number(rest.partition(" ")[0], place, least=1, last=_NUM_CLASSES)
            # The number in the list is the label. Names in sorted order are not: cats' begin with a capital letter.
            named = image.rpartition("_")[0]
            if names.setdefault(breed - 1, named) != named:
                raise SourceError(
                    f"{place}: class {breed} is {named} here and {names[breed - 1]} before: fetch it again"
                )
            rows.append(Listed(split, f"images/{image}.jpg", breed - 1))
    classes = [names.get(number, str(number + 1)) for number in range(_NUM_CLASSES)]

    def images() -> Iterator[Listed]:
        yield from rows

    return SetLists(classes=classes, images=images())


PETS = PublishedSet(
    name="pets",
    title="Oxford-IIIT Pets, breeds",
    folders=("oxford-iiit-pet", "pets", ""),
    marker="annotations/trainval.txt",
    read=_read,
    images="images/",
    num_classes=_NUM_CLASSES,
    splits={"train": 3680, "test": 3669},
    fit_splits=("train",),
    download="fetch images.tar.gz and annotations.tar.gz from robots.ox.ac.uk/~vgg/data/pets and unpack both in "
    "--root/oxford-iiit-pet",
    traps=("labels are the list's breed numbers less one; file names in sorted order give others",),
    license="CC BY-SA 4.0",
    citation="Parkhi, Vedaldi, Zisserman, Jawahar: Cats and Dogs, 2012",
)
