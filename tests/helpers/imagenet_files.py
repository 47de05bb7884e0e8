"""Classes, names and lists of validation labels that ImageNet's archives and their likes share."""

from __future__ import annotations

from shardtools.taxonomy import load_classes

CLASSES = load_classes("imagenet-1k")
WNIDS = [CLASSES[index].wnid for index in (0, 65, 999)]
VAL_INDEXES = [65, 0, 999, 65, 0]


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def val_wnid(number: int) -> str:
    return CLASSES[VAL_INDEXES[number - 1]].wnid


LISTS = {
    "LOC_val_solution.csv": "ImageId,PredictionString\n"
    + "".join(f"{val_name(n)[:-5]},{val_wnid(n)} 111 108 232 310 {val_wnid(n)} 1 2 3 4\n" for n in (3, 1, 2, 5, 4)),
    "val.txt": "".join(f"{val_name(n)} {VAL_INDEXES[n - 1]}\n" for n in range(1, 6)),
    "val_wnids.csv": "image,label\n" + "".join(f"{val_name(n)},{val_wnid(n)}\n" for n in range(1, 6)),
    "imagenet_2012_validation_synset_labels.txt": "".join(f"{CLASSES[index].wnid}\r\n" for index in VAL_INDEXES),
}
