"""Vectors of concepts out of their texts: what a measure without WordNet compares (thesis, section 3.5.2).

Owns where they come from: a folder that `shardtools text-features` wrote, or a .npy of any other embedding with the
wnids of its rows beside it. The thesis's own word vectors (Wikipedia2Vec, weighted by tf-idf) can be given in the
second form; they are not shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from shardtools.arrays import Float64s
from shardtools.errors import OptionError, SourceError, first_line
from shardtools.features import open_class_texts
from shardtools.quoting import shell_word
from shardtools.words import counted


@dataclass(frozen=True, kw_only=True, eq=False)
class Vectors:
    """A vector a concept.

    Attributes:
        wnids: Of the rows, C.
        rows: float64 [C, D], each of length 1.
        name: What made them.
        where: Their file or folder.
    """

    wnids: tuple[str, ...]
    rows: Float64s = field(repr=False)
    name: str
    where: str

    def cosines(self, candidates: Sequence[str], seen: Sequence[str]) -> Float64s:
        """Cosine of each candidate's vector and each seen one's, float64 [N, M], -1 to 1.

        Raises:
            OptionError: A concept has no vector.
        """
        return np.asarray(self._of(candidates) @ self._of(seen).T, np.float64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {wnid: number for number, wnid in enumerate(self.wnids)}

    def _of(self, wnids: Sequence[str]) -> Float64s:
        lost = [wnid for wnid in wnids if wnid not in self._places]
        if lost:
            raise OptionError(
                f"{self.where} has no vector of {counted(len(lost), 'concept')}, {lost[0]} the first: make them with "
                "`shardtools text-features --classes CLASSES`, seen ones and candidates in one list"
            )
        return self.rows[[self._places[wnid] for wnid in wnids]]


def open_vectors(address: str) -> Vectors:
    """Reads vectors.

    Args:
        address: A folder of `shardtools text-features`, or a .npy [C, D] beside which a .txt of the same name has a
            wnid a line.

    Raises:
        DatasetError: The folder holds no text features, or damaged ones.
        SourceError: The file is no table of numbers, or does not fit its wnids.
    """
    path = Path(address)
    if path.suffix.lower() != ".npy":
        texts = open_class_texts(address)
        return _checked(texts.wnids, np.asarray(texts.features, np.float64), texts.encoder.name, address)
    names = path.with_suffix(".txt")
    try:
        rows = np.load(path, allow_pickle=False)
        wnids = tuple(line.strip() for line in names.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(
            f"{address} cannot be read as vectors ({first_line(error)}): expected a .npy [concepts, numbers] and "
            f"{shell_word(names.name)} beside it, a wnid a line"
        ) from None
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise SourceError(f"{address} holds {rows.dtype} {list(rows.shape)}, expected numbers [concepts, numbers]")
    return _checked(wnids, rows.astype(np.float64), path.stem, address)


def _checked(wnids: Sequence[str], rows: Float64s, name: str, where: str) -> Vectors:
    if len(wnids) != len(rows) or len(set(wnids)) < len(wnids):
        raise SourceError(
            f"{where} has {counted(len(rows), 'row')} for {counted(len(set(wnids)), 'different wnid')}: expected one "
            "each"
        )
    lengths = np.linalg.norm(rows, axis=1)
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(wrong):
        raise SourceError(
            f"{where}: the vector of {wnids[int(wrong[0])]} is not finite or all zeros: leave the concept out, or make "
            "it again"
        )
    return Vectors(wnids=tuple(wnids), rows=rows / lengths[:, None], name=name, where=where)
