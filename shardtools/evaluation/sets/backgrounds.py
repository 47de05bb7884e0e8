"""ImageNet-9: pictures whose background was kept, taken away or exchanged.

Owns the map from ImageNet's 1,000 classes to the nine (Xiao et al., "Noise or Signal", 2020, section 2 and appendix A;
MadryLab/backgrounds_challenge): argmax over all 1,000, then the map; a class outside of the nine (-1) is a wrong
answer. The map is the user's file, `in_to_in9.json` of that repository. None is made here out of WordNet's nine
synsets: where it differed from the published one it would give other figures under the same name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from shardtools.arrays import Int64s
from shardtools.errors import DatasetError, OptionError

VARIANTS = ("original", "mixed_same", "mixed_rand", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t")
"""The eight datasets of the paper's table 1; `mixed_same` less `mixed_rand` is its background gap."""

NUM_CLASSES = 9
OUTSIDE = -1

_FOLDER = re.compile(r"0?([0-8])_[a-z ]+")


def read_map(path: str | os.PathLike[str]) -> dict[int, int]:
    """ImageNet's class index -> class of ImageNet-9, -1 for none.

    Raises:
        DatasetError: The file is no such map.
    """
    try:
        found = json.loads(Path(path).read_bytes())
        pairs = {int(index): int(group) for index, group in dict(found).items()}
    except (OSError, ValueError, TypeError, RecursionError):
        pairs = {}
    whole = sorted(pairs) == list(range(1000))
    if not whole or not set(pairs.values()) <= set(range(OUTSIDE, NUM_CLASSES)):
        raise DatasetError(
            f"{os.fspath(path)}: expected a JSON object of ImageNet's class indexes 0 to 999 and their class -1 to 8: "
            "give in_to_in9.json of MadryLab/backgrounds_challenge"
        )
    return pairs


def output_groups(model_classes: Sequence[str] | None, in_to_in9: Mapping[int, int], imagenet: Sequence[str]) -> Int64s:
    """Class of the nine of each of a model's outputs, -1 for none; int64 [C].

    Args:
        model_classes: Wnid of each output.
        in_to_in9: As `read_map` gives it.
        imagenet: Wnids of the 1,000 classes in label order.

    Raises:
        OptionError: The model has no wnids.
    """
    if model_classes is None:
        raise OptionError(
            "the model's outputs have no wnids, so the map to nine classes says nothing: give one that has"
        )
    index = {wnid: number for number, wnid in enumerate(imagenet)}
    return np.array([in_to_in9.get(index.get(wnid, OUTSIDE), OUTSIDE) for wnid in model_classes], np.int64)


def group_of(folder: str | None) -> int:
    """Class of the nine of a class folder: 0 of "00_dog", 8 of "08_fish".

    Raises:
        DatasetError: It is none of the nine.
    """
    found = _FOLDER.fullmatch(folder or "")
    if found is None:
        raise DatasetError(
            f"class {folder!r}: expected a folder of ImageNet-9, such as 00_dog or 08_fish: write the set with its own "
            "folders"
        )
    return int(found[1])
