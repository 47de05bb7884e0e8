"""Oxford 102 Flowers."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_NUM_CLASSES = 102
_SPLITS = {"train": "trnid", "val": "valid", "test": "tstid"}
_LABELS, _SETS = "imagelabels.mat", "setid.mat"


def _read(folder: SetFolder) -> SetLists:
    labels = folder.mat(_LABELS, "labels").tolist()

    def images() -> Iterator[Listed]:
        for split, name in _SPLITS.items():
            place = f"{folder.storage.object_url(_SETS)}, {name}"
            for number in folder.mat(_SETS, name).tolist():
                image = folder.number(number, place, least=1, last=len(labels))
                label = folder.number(
                    labels[image - 1],
                    f"{folder.storage.object_url(_LABELS)}, image {image}",
                    least=1,
                    last=_NUM_CLASSES,
                )
                yield Listed(split, f"jpg/image_{image:05d}.jpg", label - 1)

    # The set numbers its classes and names none of them.
    return SetLists(classes=[str(number) for number in range(1, _NUM_CLASSES + 1)], images=images())


FLOWERS = PublishedSet(
    name="flowers",
    title="Oxford 102 Flowers",
    folders=("flowers-102", "flowers", ""),
    marker=_SETS,
    read=_read,
    images="jpg/",
    num_classes=_NUM_CLASSES,
    splits={"train": 1020, "val": 1020, "test": 6149},
    download="fetch 102flowers.tgz, imagelabels.mat and setid.mat from robots.ox.ac.uk/~vgg/data/flowers/102 into "
    "--root/flowers-102 and unpack the .tgz there",
    traps=(
        "training is on train and val together (2,040 images); some authors train on what is the test split here",
        "class names are the set's own numbers, 1 to 102, one more than class_index",
    ),
    license="for research; the pictures are from the web",
    citation="Nilsback, Zisserman: Automated Flower Classification over a Large Number of Classes, 2008",
)
