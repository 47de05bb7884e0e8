"""ReaL: every label that people found right for a picture of ImageNet's validation set.

Owns the reading of the published list, 50,000 lists of class indexes in the order of the validation files' names (Beyer
et al., "Are we done with ImageNet?", 2020, section 3; google-research/reassessed-imagenet, real.json). Any of a
picture's labels counts as right; pictures without one are left out, and counted. The list is read from the user's
file, or from the copy in an installed timm; the price of not shipping it: one of the two must be there.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shardtools.arrays import Bools, Int64s
from shardtools.errors import DatasetError, NotFoundError, OptionError
from shardtools.words import counted

_VALIDATION_NAME = re.compile(r"ILSVRC2012_val_([0-9]{8})")
_IN_TIMM = ("data", "_info", "imagenet_real_labels.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealCounts:
    """What came of the comparison.

    Attributes:
        num_right: Pictures whose predicted class is one of their labels.
        num_judged: Pictures with at least one label.
        num_empty: Pictures without one, left out.
    """

    num_right: int
    num_judged: int
    num_empty: int


def find_real_labels(file: str | os.PathLike[str] | None = None) -> Path:
    """The published list: the file given, or the copy in an installed timm.

    Raises:
        NotFoundError: There is neither.
    """
    if file is not None:
        if not Path(file).is_file():
            raise NotFoundError(f"{os.fspath(file)} is no file: give the list of ReaL labels (real.json)")
        return Path(file)
    # Looked for and not imported: timm loads torch, which takes seconds.
    found = importlib.util.find_spec("timm")
    for folder in found.submodule_search_locations or () if found else ():
        path = Path(folder, *_IN_TIMM)
        if path.is_file():
            return path
    raise NotFoundError(
        "the list of ReaL labels is not here: give it (--real-labels real.json, from "
        "google-research/reassessed-imagenet), or install timm, which has a copy"
    )


def read_real_labels(path: str | os.PathLike[str]) -> list[list[int]]:
    """Lists of class indexes (ImageNet's 1,000, from 0), one a validation picture in the order of the names.

    Raises:
        DatasetError: The file is no such list.
    """
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(
        isinstance(one, list) and all(_is_class(c) for c in one) for one in found
    ):
        raise DatasetError(
            f"{os.fspath(path)}: expected a JSON list of lists of class indexes 0 to 999, one a validation picture: "
            "give real.json of google-research/reassessed-imagenet"
        )
    return found


def count_real(
    names: Sequence[str],
    predicted: Int64s,
    model_classes: Sequence[str] | None,
    labels: Sequence[Sequence[int]],
    imagenet: Sequence[str],
) -> RealCounts:
    """Compares the likeliest classes with the lists.

    Args:
        names: Key or source path of each picture; holds ILSVRC2012_val_NNNNNNNN.
        predicted: Likeliest output, int64 [N].
        model_classes: Wnid of each output.
        labels: As `read_real_labels` gives them.
        imagenet: Wnids of the 1,000 classes in label order.

    Raises:
        OptionError: The model has no wnids.
        DatasetError: A name has no number, or none that the list has.
    """
    if model_classes is None:
        raise OptionError("the model's outputs have no wnids, so ReaL labels say nothing of them: give one that has")
    index = {wnid: number for number, wnid in enumerate(imagenet)}
    predicted_index = np.array([index.get(wnid, -1) for wnid in model_classes], np.int64)[predicted]
    rows = [validation_number(name, len(labels)) for name in names]
    judged = np.array([bool(labels[row]) for row in rows], bool)
    right: Bools = np.array([int(one) in labels[row] for row, one in zip(rows, predicted_index, strict=True)], bool)
    return RealCounts(
        num_right=int((right & judged).sum()), num_judged=int(judged.sum()), num_empty=int((~judged).sum())
    )


def validation_number(name: str, num_pictures: int) -> int:
    """0-based number of a validation picture out of its name.

    Raises:
        DatasetError: The name has none, or one past the end.
    """
    found = _VALIDATION_NAME.search(name)
    number = int(found[1]) - 1 if found else -1
    if not 0 <= number < num_pictures:
        raise DatasetError(
            f"{name}: expected the name of a validation picture, ILSVRC2012_val_00000001 to {num_pictures:08d} "
            f"({counted(num_pictures, 'picture', spec=',')} in the list): write the set with its files' own names"
        )
    return number


def _is_class(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1000
