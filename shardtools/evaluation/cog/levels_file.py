"""Levels, and what a funnel left, as .csv files that people read and make.

Owns the columns. Only level and wnid are needed, so that a list made by hand will do; the order of the rows is that of
levels and concepts.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from shardtools.errors import SourceError, first_line
from shardtools.evaluation.cog.funnel import Funnel
from shardtools.evaluation.cog.levels import Level
from shardtools.evaluation.cog.ranking import Concept
from shardtools.storage import open_storage
from shardtools.taxonomy import load_synset

COLUMNS = ("level", "rank", "wnid", "name", "similarity", "nearest", "nearest_name")


def write_levels(levels: Sequence[Level], address: str | os.PathLike[str]) -> int:
    """Writes a .csv that appears whole or not at all; returns the number of rows.

    Raises:
        StorageError: The place cannot be written.
    """
    rows = [
        (
            level.name,
            rank,
            concept.wnid,
            _name(concept.wnid),
            "" if concept.similarity is None else f"{concept.similarity:.12g}",
            concept.nearest or "",
            _name(concept.nearest or ""),
        )
        for level in levels
        for rank, concept in enumerate(level.concepts, start=1)
    ]
    return _write(address, COLUMNS, rows)


def write_eligible(found: Funnel, address: str | os.PathLike[str]) -> int:
    """Writes what a funnel left as a .csv of wnid, name and count (empty where it was not counted); returns the rows.

    Raises:
        StorageError: The place cannot be written.
    """
    counts = found.counts or {}
    rows = [(wnid, _name(wnid), counts.get(wnid, "")) for wnid in found.eligible]
    return _write(address, ("wnid", "name", "count"), rows)


def read_levels(address: str | os.PathLike[str]) -> tuple[Level, ...]:
    """The levels of a .csv.

    Raises:
        NotFoundError: There is no such file.
        SourceError: It is no file of levels.
    """
    where = os.fspath(address)
    folder, slash, name = where.rpartition("/")
    content = open_storage(folder or slash or ".").read(name)
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        names = rows.fieldnames or ()
        if "level" not in names or "wnid" not in names:
            raise SourceError(
                f"{where} is no file of levels: expected a header with level and wnid, found {','.join(names)[:80]!r}"
            )
        found: dict[str, list[Concept]] = {}
        for number, row in enumerate(rows, start=2):
            level, wnid = (row["level"] or "").strip(), (row["wnid"] or "").strip()
            if not level or not wnid:
                raise SourceError(f"{where}, line {number}: expected a level and a wnid, found {level!r} and {wnid!r}")
            text = (row.get("similarity") or "").strip()
            concept = Concept(
                wnid=wnid, similarity=float(text) if text else None, nearest=(row.get("nearest") or "").strip() or None
            )
            found.setdefault(level, []).append(concept)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise SourceError(
            f"{where} cannot be read as levels ({first_line(error)}): `shardtools cog levels` writes one"
        ) from None
    return tuple(Level(name=level, concepts=tuple(concepts)) for level, concepts in found.items())


def _write(address: str | os.PathLike[str], header: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(header)
    lines.writerows(rows)
    folder, slash, name = os.fspath(address).rpartition("/")
    open_storage(folder or slash or ".").write(name, text.getvalue().encode())
    return len(rows)


def _name(wnid: str) -> str:
    return load_synset(wnid).lemmas[0] if wnid else ""
