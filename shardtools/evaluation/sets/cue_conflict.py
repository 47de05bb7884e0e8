"""Cue conflict: a picture has the shape of one category and the texture of another.

Owns how pictures are read: their two categories out of a file's name, and the outputs of a model that belong to each of
the sixteen categories (Geirhos et al. 2019, section 2.3). The price of 207 fine classes: all logits of a picture must
have been kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from shardtools.arrays import Int64s
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.sets.restricting import outputs_of
from shardtools.words import counted

CUE_OVERLAY = "cue_conflict"
"""Name of the overlay that says what each picture was made of: columns key, shape, texture."""

# At the end of a key or of a file's stem, after the folders that a key begins with: "airplane_airplane1-bicycle2".
_PAIR = re.compile(r"(?:^|[^A-Za-z0-9])(?P<shape>[A-Za-z]+)[0-9]+-(?P<texture>[A-Za-z]+)[0-9]+$")


def read_pair(name: str) -> tuple[str, str]:
    """Categories of shape and texture out of a key or file name: "airplane1-bicycle2.png" gives airplane and bicycle.

    Args:
        name: A key, or a path with or without its extension.

    Raises:
        DatasetError: It has no such form.
    """
    stem = name.rpartition("/")[2].rpartition(".")[0] or name.rpartition("/")[2]
    found = _PAIR.search(stem)
    if found is None:
        raise DatasetError(
            f"{name}: expected a name such as airplane1-bicycle2 (shape, number, texture, number): rename it, or give "
            "the dataset an overlay `cue_conflict` with the columns key, shape, texture"
        )
    return found["shape"], found["texture"]


def output_categories(model_classes: Sequence[str] | None, categories: Mapping[str, Sequence[str]]) -> Int64s:
    """Category of each of a model's outputs as a position in the order of `categories`, -1 for none; int64 [C].

    Args:
        model_classes: Wnid of each output.
        categories: Name -> wnids, none in two.

    Raises:
        OptionError: The model has no wnids, or knows no class of a category.
    """
    found = np.full(len(model_classes or ()), -1, np.int64)
    for position, (name, wnids) in enumerate(categories.items()):
        try:
            found[outputs_of(model_classes, wnids)] = position
        except OptionError as error:
            raise OptionError(f"category {name}: {error}") from None
    return found


def positions(names: Sequence[str | None], categories: Mapping[str, Sequence[str]], what: str) -> Int64s:
    """Categories by name as positions in the order of `categories`, int64 [N].

    Args:
        names: Of N pictures.
        categories: Name -> wnids.
        what: "shape", "texture" or "category", for the message.

    Raises:
        DatasetError: One is none of them.
    """
    position = {name: number for number, name in enumerate(categories)}
    unknown = next((name for name in names if name not in position), None)
    if unknown is not None or None in names:
        raise DatasetError(
            f"{what} {unknown!r} is none of the {counted(len(position), 'category', 'categories')} "
            f"({', '.join(position)}): rename it, or leave the picture out"
        )
    return np.array([position[str(name)] for name in names], np.int64)
