"""How many images a concept has: of a file, or counted in a dataset's manifest.

Owns the difference between the two. A file that says nothing of a concept is refused, because it may be of another
release; a dataset without images of it has none.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from shardtools.errors import OptionError, SourceError, first_line
from shardtools.words import counted

_COLUMNS = ("count", "images", "num_images")


def image_counts(source: str, concepts: Collection[str]) -> Mapping[str, int]:
    """Images of each concept.

    Args:
        source: A .csv with the columns wnid and count, or the folder or address of a dataset.
        concepts: wnids that are asked for.

    Raises:
        OptionError: The file lacks a concept.
        SourceError: It is no file of counts.
        DatasetError: The dataset cannot be read.
    """
    if Path(source).suffix.lower() != ".csv":
        return {**dict.fromkeys(concepts, 0), **_of_dataset(source)}
    found = dict(_of_file(source))
    lost = sorted(set(concepts) - found.keys())
    if lost:
        raise OptionError(
            f"{source} has no count for {counted(len(lost), 'concept')} of {len(concepts)}, {lost[0]} the first: add "
            "a row for each, 0 where there is no image"
        )
    return found


def _of_dataset(url: str) -> dict[str, int]:
    from shardtools.sql import query

    table = query(
        "select wnid, count(*) as num from samples where status = 'ok' and wnid is not null group by wnid", [url]
    )
    return dict(zip(table["wnid"].to_pylist(), table["num"].to_pylist(), strict=True))


def _of_file(path: str) -> Iterator[tuple[str, int]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or ()
            column = next((name for name in _COLUMNS if name in names), None)
            if "wnid" not in names or column is None:
                raise SourceError(
                    f"{path} is no file of counts: expected a header with wnid and count, found "
                    f"{','.join(names)[:80]!r}"
                )
            known: set[str] = set()
            for number, row in enumerate(rows, start=2):
                wnid, text = (row["wnid"] or "").strip(), (row[column] or "").strip()
                if not text.isdecimal() or wnid in known or not wnid:
                    what = f"{wnid} a second time" if wnid in known else f"{text!r} for {wnid!r}"
                    raise SourceError(f"{path}, line {number}: expected a wnid and its number of images, found {what}")
                known.add(wnid)
                yield wnid, int(text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(
            f"{path} cannot be read as counts ({first_line(error)}): give a .csv of wnid,count, or a dataset"
        ) from None
