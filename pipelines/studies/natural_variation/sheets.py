"""Contact sheets: what varies, in pictures of the study's own datasets.

Owns two pictures: values of every factor, for one object of some classes, and canonical pictures of several objects a
class. They are read out of the shards like any image of a dataset.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from shardtools.errors import RunError
from shardtools.pipelines.studies.natural_variation.plan import MAIN, StudyOptions
from shardtools.rendering import FACTORS
from shardtools.sql import query
from shardtools.storage import open_storage

FACTORS_SHEET, OBJECTS_SHEET = "sheet_factors.jpg", "sheet_objects.jpg"
_SIDE = 96
_CLASSES = 8
_OBJECTS = 10
_VALUES = 2

_BY_FACTOR = f"""
    with firsts as (
        select wnid, min(object_id) as object_id from samples where status = 'ok' group by wnid
        order by wnid limit {_CLASSES}
    ),
    numbered as (
        select
            samples.*,
            row_number() over (partition by wnid, object_id, varied order by hash(samples.background), key) as place,
            list_position([{", ".join(f"'{one}'" for one in FACTORS)}], varied) as factor
        from samples join firsts using (wnid, object_id) where status = 'ok'
    )
    select wnid as line, shard, member_offset, num_bytes from numbered where place <= {_VALUES}
    order by line, factor nulls first, place
"""
# Ordered by a hash of the photograph, so that two of different types are shown; the others have the same photograph.

_BY_OBJECT = f"""
    with numbered as (
        select *, row_number() over (partition by wnid order by key) as place
        from samples where grid = 'canonical' and status = 'ok'
    )
    select wnid as line, shard, member_offset, num_bytes from numbered where place <= {_OBJECTS} order by line, place
"""


def draw_sheets(out: Path, options: StudyOptions) -> list[Path]:
    """Draws both.

    Raises:
        RunError: One cannot be written.
    """
    dataset = options.dataset(MAIN)
    return [
        _sheet(dataset, question, out / name)
        for question, name in ((_BY_FACTOR, FACTORS_SHEET), (_BY_OBJECT, OBJECTS_SHEET))
    ]


def _sheet(dataset: str, question: str, path: Path) -> Path:
    storage = open_storage(dataset)
    lines: dict[str, list[Image.Image]] = {}
    for row in query(question, [dataset]).to_pylist():
        content = storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        lines.setdefault(row["line"], []).append(small)
    width = max(map(len, lines.values()))
    sheet = Image.new("RGB", (width * _SIDE, len(lines) * _SIDE), "white")
    for number, own in enumerate(lines.values()):
        for column, small in enumerate(own):
            sheet.paste(small, (column * _SIDE, number * _SIDE))
    partial = path.with_name(path.name + ".partial")
    try:
        sheet.save(partial, "JPEG", quality=90)
        partial.replace(path)
    except OSError as error:
        raise RunError(f"{path}: cannot write the sheet: {error.strerror}: give another --out") from None
    return path
