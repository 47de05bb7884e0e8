"""What the manifest says about a dataset as a whole: the figures that its card and its report have in common.

Owns the statements. The price of asking one thing at a time: a column of a large manifest is read more than once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from shardtools.sql.session import Session

SETTING_COLUMNS = (
    "source",
    "label_source",
    "corruption",
    "severity",
    "grid",
    "pose_axis",
    "camera",
    "renderer",
    "background_type",
    "model_id",
    "prompt_template",
    "negative_prompt",
    "guidance_scale",
    "num_inference_steps",
    "scheduler",
    "jpeg_quality",
)
"""Columns that say what the images are and how they were made."""


class LabelCount(NamedTuple):
    """Images of a label in a split; there may be none, where every row was rejected."""

    class_index: int | None
    wnid: str | None
    split: str
    num_images: int


def count_statuses(session: Session) -> dict[tuple[str, str], int]:
    """(split, status) -> rows, in order."""
    rows = session.rows("select split, status, count(*) as num from samples group by all order by all")
    return {(row["split"], row["status"]): row["num"] for row in rows}


def count_labels(session: Session) -> list[LabelCount]:
    """Images by label, name and split, in that order; rows without a label come last.

    An image of several labels counts for each of them.
    """
    rows = session.rows(
        "with labels as (select class_index, wnid, split, status from samples where class_indexes is null "
        "union all by name select unnest(class_indexes) as class_index, wnid, split, status from samples "
        "where class_indexes is not null) "
        "select class_index, wnid, split, count(*) filter (status = 'ok') as num_images from labels "
        "group by class_index, wnid, split order by class_index nulls last, wnid nulls first, split"
    )
    return [LabelCount(**row) for row in rows]


def count_values(session: Session, column: str, condition: str, *, limit: int) -> list[tuple[Any, int]]:
    """The most frequent values of a column with their rows, where a condition of SQL holds."""
    rows = session.rows(
        f"select {column} as value, count(*) as num from samples where {condition} group by value "
        f"order by num desc, value limit {limit}"
    )
    return [(row["value"], row["num"]) for row in rows]
