"""What the manifest says about a dataset as a whole, for the files that describe it.

Owns what they need of the figures in `sql.facts`, and the ranges and shards. The price: all files are made of one set
of counts, which a description of a large dataset waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from shardtools.dataset import Dataset
from shardtools.manifest import digest
from shardtools.sql import SETTING_COLUMNS, Session, count_labels, count_statuses, count_values
from shardtools.taxonomy import find_synset

MAX_VALUES = 20
"""Different values of such a column that are kept; a column with more is no setting."""

MAX_NAMES = 100
"""Objects and photographs of one author that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """A class: 0-based label, wnid or the user's own name, names in words where WordNet has them, images with it."""

    class_index: int | None
    wnid: str | None
    name: str
    num_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Who made what rendered images show.

    Attributes:
        what: "mesh" or "photograph".
        license: `None` where the catalogue says none.
        author: Likewise.
        names: Of the objects or photographs, the first `MAX_NAMES` in sorted order.
        num_names: All of them.
        num_images: Images that show one.
    """

    what: str
    license: str | None
    author: str | None
    names: tuple[str, ...]
    num_names: int
    num_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """Counts over all rows.

    Attributes:
        statuses: (split, status) -> rows.
        classes: Labels that rows have, kept or not, by index and name.
        num_unlabeled: Images without a label.
        formats: Image format -> images.
        shards: Path of a shard -> (split, images in it); empty where every image is a file.
        widths: Smallest and largest width (pixels); `None` where unknown.
        heights: Smallest and largest height (pixels).
        settings: Column -> its different values in sorted order, those of `SETTING_COLUMNS` that have any; `None`
            for a column with more than `MAX_VALUES`.
        credits: Of rendered images, by license and author.
    """

    statuses: Mapping[tuple[str, str], int]
    classes: tuple[ClassCount, ...]
    num_unlabeled: int
    formats: Mapping[str, int]
    shards: Mapping[str, tuple[str, int]]
    widths: tuple[int, int] | None
    heights: tuple[int, int] | None
    settings: Mapping[str, tuple[Any, ...] | None]
    credits: tuple[Credit, ...]

    @property
    def is_labeled_once(self) -> bool:
        """Whether no two classes share an index or a name, so that either names the class."""
        indexes = [one.class_index for one in self.classes]
        names = [one.wnid for one in self.classes]
        return None not in indexes + names and len(set(indexes)) == len(indexes) and len(set(names)) == len(names)


def count_rows(dataset: Dataset) -> DatasetFacts:
    """Counts the rows of a committed dataset.

    Raises:
        DatasetError: A part of the manifest is missing or damaged.
    """
    # The commit that was opened, also where another one is made meanwhile.
    with Session([f"{dataset.storage.url}@{digest(dataset.content)}"]) as session:
        images: Counter[tuple[int | None, str | None]] = Counter()
        for index, wnid, _, num_images in count_labels(session):
            images[index, wnid] += num_images
        num_unlabeled = images.pop((None, None), 0)
        formats = count_values(session, "image_format", "status = 'ok'", limit=MAX_VALUES)
        [sizes] = session.rows(
            "select min(width) as w0, max(width) as w1, min(height) as h0, max(height) as h1 from samples "
            "where status = 'ok'"
        )
        return DatasetFacts(
            statuses=count_statuses(session),
            classes=tuple(
                ClassCount(class_index=index, wnid=wnid, name=_name(index, wnid), num_images=count)
                for (index, wnid), count in images.items()
            ),
            num_unlabeled=num_unlabeled,
            formats=dict(sorted(formats, key=str)),
            shards=_shards(session, {shard.path for shard in dataset.commit.shards}),
            widths=None if sizes["w0"] is None else (sizes["w0"], sizes["w1"]),
            heights=None if sizes["h0"] is None else (sizes["h0"], sizes["h1"]),
            settings={name: values for name in SETTING_COLUMNS if (values := _values(session, name)) != ()},
            credits=(
                *_credits(session, "mesh", "object_id", "mesh"),
                *_credits(session, "photograph", "background", "background"),
            ),
        )


def _shards(session: Session, known: Set[str]) -> dict[str, tuple[str, int]]:
    if not known:
        return {}
    rows = session.rows(
        "select shard, split, count(*) as num from samples where status = 'ok' group by shard, split order by shard"
    )
    return {row["shard"]: (row["split"], row["num"]) for row in rows if row["shard"] in known}


def _credits(session: Session, what: str, name: str, prefix: str) -> Iterator[Credit]:
    """By the columns `prefix`_license and `prefix`_author, of images that show something of that name."""
    rows = session.rows(
        f"select {prefix}_license as license, {prefix}_author as author, count(*) as num_images, "
        f"count(distinct {name}) as num_names, list_sort(list(distinct {name}))[1:{MAX_NAMES}] as names "
        f"from samples where status = 'ok' and {name} is not null group by all "
        "order by license nulls last, author nulls last"
    )
    for row in rows:
        yield Credit(what=what, **{**row, "names": tuple(row["names"])})


def _values(session: Session, column: str) -> tuple[Any, ...] | None:
    """Its different values in order; `None` for too many."""
    found = count_values(session, column, f"{column} is not null", limit=MAX_VALUES + 1)
    return None if len(found) > MAX_VALUES else tuple(sorted(value for value, _ in found))


def _name(class_index: int | None, wnid: str | None) -> str:
    if wnid is None:
        return str(class_index)
    synset = find_synset(wnid)
    return ", ".join(synset.lemmas) if synset is not None else wnid
