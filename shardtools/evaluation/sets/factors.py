"""ImageNet-X: which of sixteen factors (pose, background, ...) makes a picture unlike its class's prototypes.

Owns the reading of the user's annotations (Idrissi et al., "ImageNet-X", 2022, section 2; facebookresearch/imagenetx,
`imagenet_x_val_multi_factor.jsonl`: a JSON object a line with `file_name`, `class` and a 0 or 1 for each factor). They
are under CC BY-NC and are not shipped. Prototypes are left out where their list is given, as the authors do.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shardtools.arrays import Bools
from shardtools.errors import DatasetError

FACTORS = (
    "pose", "background", "pattern", "color", "smaller", "shape", "partial_view", "subcategory", "texture", "larger",
    "darker", "object_blocking", "person_blocking", "style", "brighter", "multiple_objects",
)  # fmt: skip
"""In the authors' order."""


def read_factors(path: str | os.PathLike[str], prototypes: str | os.PathLike[str] | None = None) -> dict[str, Bools]:
    """Stem of a validation picture's name -> whether each factor is on, bool [16] in the order of `FACTORS`.

    Args:
        path: Annotations, a JSON object a line.
        prototypes: A CSV file with a column `file_name` of pictures to leave out.

    Raises:
        DatasetError: A line is no such object, or a file cannot be read.
    """
    found: dict[str, Bools] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            stem = str(row["file_name"]).rpartition("/")[2].partition(".")[0]
            found[stem] = np.array([bool(int(row[factor])) for factor in FACTORS])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise DatasetError(
                f"{os.fspath(path)}, line {number}: expected a JSON object with file_name and the factors "
                f"{FACTORS[0]} to {FACTORS[-1]}: give imagenet_x_val_multi_factor.jsonl of facebookresearch/imagenetx"
            ) from None
    if prototypes is not None:
        reader = csv.DictReader(_text(prototypes).splitlines())
        if "file_name" not in (reader.fieldnames or ()):
            raise DatasetError(f"{os.fspath(prototypes)}: expected a CSV file with the column file_name")
        for row in reader:
            found.pop(row["file_name"].rpartition("/")[2].partition(".")[0], None)
    if not found:
        raise DatasetError(f"{os.fspath(path)}: expected annotations, found none")
    return found


def factors_of(names: Sequence[str], factors: dict[str, Bools]) -> tuple[Bools, Bools]:
    """For pictures by name: whether each is annotated, bool [N], and its factors, bool [N, 16] (none where it is not).

    Args:
        names: Key or source path; the file's stem ends it.
        factors: As `read_factors` gives them.
    """
    stems = [_stem(name) for name in names]
    known = np.array([stem in factors for stem in stems], bool)
    off = np.zeros(len(FACTORS), bool)
    return known, np.array([factors.get(stem, off) for stem in stems], bool).reshape(-1, len(FACTORS))


def _stem(name: str) -> str:
    stem = name.rpartition("/")[2].partition(".")[0]
    # A key begins with the folder: "n01440764_ILSVRC2012_val_00000293".
    start = stem.find("ILSVRC2012_val_")
    return stem[start:] if start >= 0 else stem


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{os.fspath(path)} cannot be read ({type(error).__name__}): check the path") from None
