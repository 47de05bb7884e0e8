"""Sets of Kaggle's competitions with one label a picture in train.csv: APTOS 2019 and Cassava.

Owns the split of Fang, Kornblith and Schmidt (2023): a fifth of each class by seed 414, since labels of the
competitions' test pictures are hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.draws import draw_a_class
from shardtools.sources.published.folder import SetFolder

SEED = 414
_LIST = "train.csv"
_APTOS = ("no diabetic retinopathy", "mild", "moderate", "severe", "proliferative diabetic retinopathy")
_CASSAVA = (
    "cassava bacterial blight",
    "cassava brown streak disease",
    "cassava green mottle",
    "cassava mosaic disease",
    "healthy",
)


def _read(folder: SetFolder, *, columns: Sequence[str], suffix: str, classes: Sequence[str]) -> SetLists:
    rows = [
        (f"train_images/{name}{suffix}", folder.number(label, place, least=0, last=len(classes) - 1))
        for place, (name, label) in folder.table(_LIST, columns)
    ]
    held_out = draw_a_class([label for _, label in rows], len(classes), seed=SEED)
    return SetLists(
        classes=classes,
        images=[
            Listed(split, path, label)
            for split in ("train", "val")
            for position, (path, label) in enumerate(rows)
            if (position in held_out) == (split == "val")
        ],
    )


_set = partial(
    PublishedSet,
    marker=_LIST,
    images="train_images/",
    num_classes=5,
    fit_splits=("train",),
    test_split="val",
)

APTOS = _set(
    name="aptos",
    title="APTOS 2019 Blindness Detection",
    folders=("aptos2019", "aptos2019-blindness-detection", ""),
    read=partial(_read, columns=("id_code", "diagnosis"), suffix=".png", classes=_APTOS),
    splits={"train": 2931, "val": 731},
    metric="kappa",
    download="fetch train.csv and train_images of kaggle.com/competitions/aptos2019-blindness-detection into "
    "--root/aptos2019",
    traps=(
        "the split that chooses is the one that is reported: the competition's test labels are hidden",
        "the study read pictures as BGR and did not turn them to RGB: train with channels=bgr for its figures",
    ),
    license="the competition's rules",
    citation="Asia Pacific Tele-Ophthalmology Society: APTOS 2019 Blindness Detection, Kaggle",
)

CASSAVA = _set(
    name="cassava",
    title="Cassava Leaf Disease Classification",
    folders=("cassava-leaf-disease-classification", "cassava", ""),
    read=partial(_read, columns=("image_id", "label"), suffix="", classes=_CASSAVA),
    splits={"train": 17120, "val": 4277},
    download="fetch train.csv and train_images of kaggle.com/competitions/cassava-leaf-disease-classification into "
    "--root/cassava-leaf-disease-classification",
    traps=("the split that chooses is the one that is reported: the competition's test labels are hidden",),
    license="the competition's rules",
    citation="Makerere Artificial Intelligence Lab: Cassava Leaf Disease Classification, Kaggle, 2020",
)
