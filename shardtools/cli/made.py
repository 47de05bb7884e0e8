"""The lines that every command which makes a dataset ends with: what it made, so that a wrong reading is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shardtools.cli.class_words import class_words
from shardtools.errors import printable
from shardtools.words import counted

if TYPE_CHECKING:
    from shardtools.dataset import Contents

_MAX_CHARACTERS = 60


def made_lines(contents: Contents, statuses: Mapping[str, int], splits: Mapping[str, int] | None = None) -> list[str]:
    """Classes with the first names, images without a label, splits, rows without an image by reason.

    Args:
        contents: Of the dataset.
        statuses: Status -> rows.
        splits: Split -> rows; `None` where they are said elsewhere.
    """
    if contents.num_classes:
        more = ", ..." if contents.num_classes > len(contents.class_names) else ""
        names = ", ".join(printed(class_words(name)) for name in contents.class_names) + more
        classes = f"{counted(contents.num_classes, 'class', 'classes')} ({names})"
    else:
        classes = "no classes"
    labels = f"{counted(contents.num_unlabeled, 'image')} without a label" if contents.num_unlabeled else ""
    several = f"{counted(contents.num_several, 'image')} with any number of labels" if contents.num_several else ""
    parts = [classes, *filter(None, (several, labels))] if several or labels else [classes, "each image has a label"]
    if splits is not None:
        parts.append("rows by split: " + ", ".join(f"{split} {count}" for split, count in splits.items()))
    lines = ["; ".join(parts)]
    rejected = {status: count for status, count in statuses.items() if status != "ok"}
    if rejected:
        reasons = ", ".join(f"{count} {status}" for status, count in rejected.items())
        lines.append(f"rejected: {reasons}; each has a row that says why")
        lines += [f"  {one.num_rows} {one.status}: {printed(one.reason)}" for one in contents.rejected if one.reason]
    if contents.folder_order is not None:
        lines.append(printed(contents.folder_order, 1000))
    return lines


def printed(text: str, max_characters: int = _MAX_CHARACTERS) -> str:
    """A text out of somebody's files, without what a terminal would take for a command, and not long."""
    clean = printable(" ".join(text.split()))
    return clean if len(clean) <= max_characters else f"{clean[: max_characters - 3]}..."
