"""SIIM-ISIC Melanoma, pictures of 2020 and of 2019: 512-pixel JPEGs with the folds (tfrecord) of Kaggle's copies.

Owns the split of Fang, Kornblith and Schmidt (2023): four fifths of the folds of each year by seed 23, one stream for
both years. Folds are whole, so that pictures of one patient stay together; rows in fold -1 are twins of others and in
no split.
"""

from __future__ import annotations

from shardtools.sources.published.description import Listed, PublishedSet, SetLists
from shardtools.sources.published.draws import draw_folds
from shardtools.sources.published.folder import SetFolder
from shardtools.words import counted

SEED = 23
_YEARS = (2020, 2019)
"""In the order of the draw."""

_COLUMNS = ("image_name", "target", "tfrecord")


def _read(folder: SetFolder) -> SetLists:
    of_year = {}
    for year in _YEARS:
        of_year[year] = [
            (
                f"melanoma-{year}/train/{name}.jpg",
                folder.number(target, place, least=0, last=1),
                folder.number(fold, place, least=-1, last=9999),
            )
            for place, (name, target, fold) in folder.table(f"melanoma-{year}/train.csv", _COLUMNS)
        ]
    drawn = draw_folds(([fold for _, _, fold in rows] for rows in of_year.values()), seed=SEED)
    num_all = sum(map(len, of_year.values()))
    images = [
        Listed(split, path, label)
        for split in ("train", "val")
        for rows, folds in zip(of_year.values(), drawn, strict=True)
        for path, label, fold in rows
        if fold >= 0 and (fold in folds) == (split == "train")
    ]
    note = f"{counted(num_all - len(images), 'picture', spec=',')} in fold -1 (twins of others) of {num_all:,} left out"
    return SetLists(classes=("benign", "malignant"), images=images, notes=(note,), num_all=num_all)


MELANOMA = PublishedSet(
    name="melanoma",
    title="SIIM-ISIC Melanoma Classification 2020 with ISIC 2019",
    folders=("melanoma", ""),
    marker="melanoma-2020/train.csv",
    read=_read,
    num_classes=2,
    splits={},
    num_all=33126 + 25331,
    fit_splits=("train",),
    test_split="val",
    metric="roc_auc",
    download="fetch kaggle.com/datasets/cdeotte/jpeg-melanoma-512x512 into --root/melanoma/melanoma-2020 and "
    "jpeg-isic2019-512x512 into --root/melanoma/melanoma-2019 (train.csv and train in each)",
    traps=(
        "whole folds are drawn, 2020's first and then 2019's from one stream; not stratified by label",
        "the split that chooses is the one that is reported: the competition's test labels are hidden",
        "the study read pictures as BGR and did not turn them to RGB: train with channels=bgr for its figures",
    ),
    license="CC BY-NC 4.0 (ISIC archive)",
    citation="Rotemberg et al.: A patient-centric dataset of images and metadata for identifying melanomas, 2021",
)
