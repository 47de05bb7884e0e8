"""What differs between two datasets, or two versions of one: told from their manifests, by key.

Owns the kinds of difference. Digests in the manifests stand for the bytes, so nothing but manifests is read and 1.28
million rows take seconds; the price is that damage on the disk is not seen here but by `verify`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardtools.dataset import DatasetInfo, open_dataset
from shardtools.manifest import COLUMNS, digest
from shardtools.quoting import quoted_text
from shardtools.sample import STATUS_OK
from shardtools.sql import Session

KINDS: dict[str, str] = {
    "only_a": "rows that only the first dataset has",
    "only_b": "rows that only the second dataset has",
    "split": "another split",
    "label": "other labels: class_index, class_indexes or wnid",
    "status": "another status: dropped, made again, ...",
    "bytes": "an image in both, with another digest",
    "moved": "an image in both, in a shard of another name",
    "facts": "another value in some other column, where label and status are the same",
}
"""Kind -> what it counts; a row may count under several."""

_PLACE = ("shard", "sample_index", "member_offset", "num_bytes", "sha256")
_LABEL = ("class_index", "class_indexes", "wnid")
# How a label came about, and why a status: they change with those.
_FACTS = tuple(name for name in COLUMNS if name not in ("key", "split", "status", *_PLACE, *_LABEL))
_SHOWN_AS = {
    "only_a": "status",
    "only_b": "status",
    "split": "split",
    "label": "label",
    "status": "status",
    "bytes": "sha256",
    "moved": "shard",
    "facts": "facts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row that differs: its key, and the value in question on both sides (`None`: it is not there)."""

    key: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All rows of one kind.

    Attributes:
        count: How many.
        by_split: Split of the first dataset (of the second, where only that has the row) -> rows.
        by_class: Class name, or label, likewise -> rows; the largest first.
        examples: The first few by key.
    """

    count: int
    by_split: dict[str, int]
    by_class: dict[str, int]
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDiff:
    """Two datasets side by side.

    Attributes:
        a, b: As they were given.
        a_sha256, b_sha256: Digests of their commits.
        num_rows_a, num_rows_b: Rows.
        num_rows_same: Rows of both without any difference.
        differences: Kind -> rows; kinds without any are left out.
        num_shards_a, num_shards_b: Shard files.
        num_shards_shared: Shard files of B that have, byte for byte, a twin in A under the same name.
        num_shards_renamed: Those that have one under another name.
    """

    a: str
    b: str
    a_sha256: str
    b_sha256: str
    num_rows_a: int
    num_rows_b: int
    num_rows_same: int
    differences: dict[str, Difference]
    num_shards_a: int
    num_shards_b: int
    num_shards_shared: int
    num_shards_renamed: int

    @property
    def equal(self) -> bool:
        """Whether both hold the same rows with the same images, labels and facts, in shards of the same names."""
        return not self.differences


def diff_datasets(a: str, b: str, *, num_examples: int = 5) -> DatasetDiff:
    """Compares two datasets.

    Args:
        a: A finished dataset: a folder or s3:// address, "DATASET@COMMIT" for an earlier state.
        b: Likewise.
        num_examples: Keys to name of each kind, at least 0.

    Raises:
        DatasetError: There is no dataset, or it is not finished.
    """
    (info_a, sha256_a), (info_b, sha256_b) = ((one.commit, digest(one.content)) for one in map(open_dataset, (a, b)))
    differences, num_same = _differences(a, b, num_examples) if a != b else ({}, info_a.num_rows)
    shared, renamed = _shared(info_a, info_b)
    return DatasetDiff(
        a=a,
        b=b,
        a_sha256=sha256_a,
        b_sha256=sha256_b,
        num_rows_a=info_a.num_rows,
        num_rows_b=info_b.num_rows,
        num_rows_same=num_same,
        differences=differences,
        num_shards_a=len(info_a.shards),
        num_shards_b=len(info_b.shards),
        num_shards_shared=shared,
        num_shards_renamed=renamed,
    )


def _shared(a: DatasetInfo, b: DatasetInfo) -> tuple[int, int]:
    places = {(shard.path, shard.sha256) for shard in a.shards}
    contents = {shard.sha256 for shard in a.shards}
    shared = sum((shard.path, shard.sha256) in places for shard in b.shards)
    return shared, sum(shard.sha256 in contents for shard in b.shards) - shared


def _differences(a: str, b: str, num_examples: int) -> tuple[dict[str, Difference], int]:
    with Session([a, b]) as session:
        parameters = {"ok": STATUS_OK}
        tables = _joined(a, b)
        totals = _rows(session, f"{tables} select {_counted()} from flagged", parameters)[0]
        found = {}
        for kind in KINDS:
            if not totals[kind]:
                continue
            of_kind = f"{tables}, picked as (select * from flagged where is_{kind})"
            found[kind] = Difference(
                count=totals[kind],
                by_split=_grouped(session, of_kind, "split", parameters),
                by_class=_grouped(session, of_kind, "class", parameters),
                examples=_examples(session, of_kind, _SHOWN_AS[kind], num_examples, parameters),
            )
        return found, totals["same"]


def _joined(a: str, b: str) -> str:
    """SQL up to the table `flagged`: both sides of each key, and under which kinds it counts."""
    columns = ", ".join(("key", "split", "status", *_PLACE, *_LABEL))
    facts = f"md5(concat_ws('|', {', '.join(_literal(name) for name in _FACTS)}))"
    sides = (
        f"{side} as (select {columns}, coalesce(wnid, cast(class_index as varchar), 'none') as class, "
        "coalesce(cast(class_index as varchar), cast(class_indexes as varchar), 'none') || coalesce(' ' || wnid, '') "
        f"as label, {facts} as facts "
        f"from samples where dataset = {quoted_text(url)})"
        for side, url in (("side_a", a), ("side_b", b))
    )
    names = ("split", "status", "shard", "sha256", "class_index", "wnid", "class", "label", "facts")
    both = ", ".join(f"side_a.{name} as a_{name}, side_b.{name} as b_{name}" for name in names)
    known = "a_key is not null and b_key is not null"
    images = f"{known} and a_status = $ok and b_status = $ok"
    same_state = "a_status is not distinct from b_status and a_label is not distinct from b_label"
    flags = {
        "only_a": "b_key is null",
        "only_b": "a_key is null",
        "split": f"{known} and a_split is distinct from b_split",
        # Number, numbers and name are all in the text.
        "label": f"{known} and a_label is distinct from b_label",
        "status": f"{known} and a_status is distinct from b_status",
        "bytes": f"{images} and a_sha256 is distinct from b_sha256",
        "moved": f"{images} and a_shard is distinct from b_shard",
        "facts": f"{known} and {same_state} and a_facts is distinct from b_facts",
    }
    flagged = ", ".join(f"({condition}) as is_{kind}" for kind, condition in flags.items())
    return (
        f"with {', '.join(sides)}, joined as (select side_a.key as a_key, side_b.key as b_key, {both} from side_a "
        f"full join side_b on side_a.key = side_b.key), flagged as (select *, {flagged} from joined)"
    )


def _literal(name: str) -> str:
    """A column as a text that tells null from every value."""
    return f"coalesce('=' || cast({name} as varchar), '-')"


def _counted() -> str:
    counts = [f"count(*) filter (where is_{kind}) as {kind}" for kind in KINDS]
    any_kind = " or ".join(f"is_{kind}" for kind in KINDS)
    return ", ".join([*counts, f"count(*) filter (where not ({any_kind})) as same"])


def _grouped(session: Session, tables: str, name: str, parameters: dict[str, Any]) -> dict[str, int]:
    column = f"coalesce(a_{name}, b_{name})"
    order = "count(*) desc, 1" if name == "class" else "1"
    sql = f"{tables} select {column} as name, count(*) as num from picked group by 1 order by {order}"
    return {row["name"]: row["num"] for row in _rows(session, sql, parameters)}


def _examples(session: Session, tables: str, shown: str, count: int, parameters: dict[str, Any]) -> tuple[Example, ...]:
    sql = (
        f"{tables} select coalesce(a_key, b_key) as key, a_{shown} as a, b_{shown} as b from picked order by 1 "
        f"limit {int(count)}"
    )
    hides = shown == "facts"
    return tuple(
        Example(key=row["key"], a=None if hides else row["a"], b=None if hides else row["b"])
        for row in _rows(session, sql, parameters)
    )


def _rows(session: Session, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for batch in session.stream(sql, parameters) for row in batch.to_pylist()]
