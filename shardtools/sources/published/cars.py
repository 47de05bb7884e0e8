"""Stanford Cars (Cars196): photographs of cars by make, model and year.

Owns both forms in which its labels are passed on: a file and a folder a split, as torchvision wants them, and one file
for all with the folder car_ims, which the thesis read.
"""

from __future__ import annotations

from collections.abc import Iterator

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.folder import SetFolder

_META = "devkit/cars_meta.mat"
_ALL = "cars_annos.mat"
_BY_SPLIT = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}


def _read(folder: SetFolder) -> SetLists:
    classes = [str(name) for name in folder.mat(_META, "class_names")]

    def images() -> Iterator[Listed]:
        # The file of all says itself which image is of which split.
        is_one = folder.storage.exists(_ALL)
        for split, path in _BY_SPLIT.items():
            source = _ALL if is_one else path
            for number, row in enumerate(folder.mat(source, "annotations"), start=1):
                place = f"{folder.storage.object_url(source)}, image {number}"
                label = folder.number(row["class"], place, least=1, last=len(classes)) - 1
                if not is_one:
                    yield Listed(split, f"cars_{split}/{row['fname']}", label)
                elif (split == "test") == bool(row["test"]):
                    yield Listed(split, str(row["relative_im_path"]), label)

    return SetLists(classes=classes, images=images())


CARS = PublishedSet(
    name="cars196",
    title="Stanford Cars",
    folders=("stanford_cars", "cars196", ""),
    marker=_META,
    read=_read,
    num_classes=196,
    splits={"train": 8144, "test": 8041},
    fit_splits=("train",),
    download="fetch cars_train.tgz, cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat (or car_ims.tgz, "
    "car_devkit.tgz and cars_annos.mat) of Stanford Cars, whose page is gone, and unpack all in --root/stanford_cars",
    traps=("bounding boxes are not used: whole photographs",),
    license="for research; no license is stated, the photographs are from the web",
    citation="Krause, Stark, Deng, Fei-Fei: 3D Object Representations for Fine-Grained Categorization, 2013",
)
