"""The files that the authors of ImageNet-CoG published: which concepts a level has, and which images a concept.

Owns their form (naver/cog, data/datasets.py): `cog_levels_mapping_file.pkl` is a list with the wnids of each level,
`cog_concepts_split_file.pkl` has, by wnid, the paths of the images of "train" and "test". They are on the authors'
server alone; what is here is for who has them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from shardtools.errors import SourceError
from shardtools.evaluation.cog.levels import Level
from shardtools.evaluation.cog.pickle_data import Array, read_pickle
from shardtools.evaluation.cog.ranking import Concept

PARTS = ("train", "test")

_WNID = re.compile(r"n\d{8}")
_MAX_IMAGES = 100_000_000


def published_levels(path: str | os.PathLike[str]) -> tuple[Level, ...]:
    """The levels of `cog_levels_mapping_file.pkl`: L1, L2, ... in its order, concepts by wnid.

    Raises:
        SourceError: The file does not hold lists of wnids.
    """
    where = os.fspath(path)
    content = read_pickle(path)
    lists = list(content.values()) if isinstance(content, Mapping) else _list(content)
    if not lists:
        raise SourceError(f"{where} holds {type(content).__name__}, expected a list of levels, each a list of wnids")
    return tuple(
        Level(
            name=f"L{number}",
            concepts=tuple(Concept(wnid=wnid) for wnid in sorted(_wnids(one, f"{where}, level {number}"))),
        )
        for number, one in enumerate(lists, start=1)
    )


def published_parts(path: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """The images of `cog_concepts_split_file.pkl`: columns wnid, part ("train", "test") and path, a table a concept.

    Raises:
        SourceError: The file does not hold them.
    """
    where = os.fspath(path)
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise SourceError(f"{where} holds {type(content).__name__}, expected the images of train and test by wnid")
    num_images = 0
    for wnid, parts in content.items():
        if not isinstance(wnid, str) or not _WNID.fullmatch(wnid) or not isinstance(parts, dict):
            raise SourceError(f"{where}: expected a wnid with its images of train and test, found {str(wnid)[:40]!r}")
        for part in PARTS:
            paths = _list(parts.get(part))
            if not paths or not all(type(one) is str for one in paths):
                raise SourceError(f"{where}: {wnid} has no list of paths under {part!r}: get the published file again")
            # The same list may stand under any number of names.
            num_images += len(paths)
            if num_images > _MAX_IMAGES:
                raise SourceError(f"{where} names more than {_MAX_IMAGES:,} images: get the published file again")
            yield pa.table(
                {"wnid": [wnid] * len(paths), "part": [part] * len(paths), "path": pa.array(paths, pa.string())}
            )


def _list(value: Any) -> list[Any]:
    if isinstance(value, Array):
        return value.values()
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _wnids(value: Any, where: str) -> list[str]:
    found = _list(value)
    wrong = next((one for one in found if type(one) is not str or not _WNID.fullmatch(one)), None)
    if not found or wrong is not None:
        raise SourceError(f"{where}: expected wnids, found {str(wrong)[:40]!r}" if found else f"{where} is empty")
    return found
