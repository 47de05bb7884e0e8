"""SUN397 with partition 1 of its ten; torchvision's reader has no split."""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_PARTITIONS = {"train": "Training_01.txt", "test": "Testing_01.txt"}


def _read(folder: SetFolder) -> SetLists:
    # Sorted with the letter in front, "/a/abbey": that is the order of the thesis' labels.
    paths = sorted(line.strip("/") for _, line in folder.lines("ClassName.txt"))
    numbers = {name: number for number, name in enumerate(paths)}
    lists = {split: folder.first_of([name, f"Partitions/{name}"]) for split, name in _PARTITIONS.items()}

    def images() -> Iterator[Listed]:
        for split, path in lists.items():
            for place, line in folder.lines(path):
                image = line.strip("/")
                yield Listed(split, image, folder.one_of(image.rpartition("/")[0], numbers, place))

    return SetLists(classes=[name.partition("/")[2] for name in paths], images=images())


SUN397 = PublishedSet(
    name="sun397",
    title="SUN397, partition 1",
    folders=("SUN397", ""),
    marker="ClassName.txt",
    read=_read,
    num_classes=397,
    splits={"train": 19850, "test": 19850},
    fit_splits=("train",),
    download="fetch SUN397.tar.gz and Partitions.zip from vision.princeton.edu/projects/2010/SUN, unpack the first in "
    "--root, and the second (Training_01.txt, Testing_01.txt) in --root/SUN397",
    traps=("partition 1 alone, 50 images a class in each split, where the set's authors report the mean of ten",),
    license="for research; the pictures are from the web",
    citation="Xiao, Hays, Ehinger, Oliva, Torralba: SUN Database: Large-scale Scene Recognition, 2010",
)
