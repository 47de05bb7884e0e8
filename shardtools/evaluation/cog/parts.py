"""Which images of a dataset belong to a level, for training and for testing, as an overlay.

Owns the overlay's columns: `key`, `level`, `part` ("train", "test", "unused"), `wnid` and `class_index`, which counts a
level's concepts in the order of their wnids. Images are drawn by a digest of seed and key, so one has the same part in
every level, whatever else the dataset holds. The caps are those of ImageNet-CoG (thesis, section 3.3.3): 50 images for
testing, up to 1,300 of the others for training. The price of an overlay: a row for every image of every level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardtools.dataset import open_dataset
from shardtools.errors import DatasetError, OptionError
from shardtools.evaluation.cog.levels import Level, check_levels
from shardtools.evaluation.cog.options import PartOptions
from shardtools.evaluation.cog.published_files import published_parts
from shardtools.overlays import open_overlay, overlay_names, write_overlay
from shardtools.quoting import quoted_name, quoted_text, shell_word
from shardtools.sql import Session
from shardtools.words import counted

MADE_BY = "shardtools cog levels"
UNIQUE = ("key", "level")

_DRAWN = """
with images as (
    select samples.key, concepts.level, concepts.class_index, samples.wnid, row_number() over (
        partition by concepts.level, samples.wnid order by sha256($seed || '/' || samples.key), samples.key
    ) as place
    from samples join concepts using (wnid) where samples.status = 'ok'
)
select key, level, class_index, wnid, case when place <= $num_test then 'test'
    when place <= $num_test + $num_train then 'train' else 'unused' end as part
from images
"""

# A published path is of a folder and a file; a dataset keeps where the file lay, in an archive or in a folder.
_LISTED = """
with images as (
    select key, wnid, regexp_extract(coalesce(source_path, key), '([^/:]+?)(\\.[A-Za-z]+)?$', 1) as stem
    from samples where status = 'ok' and wnid in (select wnid from concepts)
),
listed as (select wnid, part, regexp_extract(path, '([^/\\\\]+?)(\\.[A-Za-z]+)?$', 1) as stem from published)
select images.key, concepts.level, concepts.class_index, images.wnid, coalesce(listed.part, 'unused') as part
from images join concepts using (wnid) left join listed using (wnid, stem)
"""

_COUNTS = """
select level, wnid, count(*) filter (part = 'train') as num_train, count(*) filter (part = 'test') as num_test,
    count(*) filter (part = 'unused') as num_unused
from ({sql}) group by level, wnid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelImages:
    """What was written of a level.

    Attributes:
        name: Of the level.
        num_concepts: How many.
        num_train: Images for training.
        num_test: Images for testing.
        num_unused: Images beyond the cap, or named in no published list.
        fewest: Images for training of the concept that has the fewest.
        num_missing: Images that a published list names and the dataset does not hold.
    """

    name: str
    num_concepts: int
    num_train: int
    num_test: int
    num_unused: int
    fewest: int
    num_missing: int = 0


def write_parts(url: str, levels: Sequence[Level], options: PartOptions) -> tuple[LevelImages, ...]:
    """Writes the overlay of a dataset; nothing where a level would lack images.

    Args:
        url: Folder or address of a dataset whose rows have wnids.
        levels: Which concepts.
        options: How the images are dealt.

    Raises:
        AlreadyExistsError: The overlay is there, and is not to be replaced.
        DatasetError: The dataset cannot be read, or a concept has no image, or only such for one part.
        OptionError: The levels are none that can be measured.
    """
    check_levels(levels)
    tables, sql = {"concepts": _concepts(levels)}, _DRAWN
    values = {"seed": f"cog/{options.seed}", "num_test": options.num_test, "num_train": options.num_train}
    listed: dict[str, int] = {}
    if options.parts is not None:
        published = _published(options.parts, {wnid for level in levels for wnid in level.wnids})
        tables["published"], sql, values = published, _LISTED, {}
        listed = dict(Counter(published["wnid"].to_pylist()))
    with Session([url], tables=tables) as session:
        found = _checked(levels, session.rows(_COUNTS.format(sql=sql), values), listed, url, options)
        write_overlay(
            url,
            options.name,
            session.stream(f"{sql} order by key, level", values),
            made_by=MADE_BY,
            settings=_settings(levels, options),
            unique=UNIQUE,
            replace=options.replace,
        )
    return found


def level_view(overlay: str, level: str, part: str, *, labels: bool = True) -> str:
    """SQL of a level's images for training or testing: what `--view` takes.

    Args:
        overlay: Name of the overlay.
        level: Name of the level.
        part: "train" or "test".
        labels: Whether labels count the level's concepts; else they are the dataset's own.
    """
    name = overlay if overlay.isidentifier() else quoted_name(overlay)
    return (
        f"select key{', class_index' if labels else ''} from overlays.{name} "
        f"where level = {quoted_text(level)} and part = {quoted_text(part)}"
    )


def overlay_levels(url: str, overlay: str) -> list[str]:
    """The levels that an overlay holds, in the order of their names, shorter ones first.

    Raises:
        DatasetError: There is no such overlay, or it holds no levels.
    """
    if overlay not in overlay_names(open_dataset(url).storage):
        raise DatasetError(
            f"{url} has no overlay {overlay!r} of levels: `shardtools cog levels --from {shell_word(url)}` writes one"
        )
    found = open_overlay(url, overlay)
    if not {"level", "part"} <= {column.name for column in found.info.columns}:
        raise DatasetError(
            f"{found.url} holds no levels: `shardtools cog levels --from {shell_word(url)}` writes an overlay of them"
        )
    names: set[str] = set()
    for batch in found.batches(["level"]):
        names.update(batch.column(0).unique().to_pylist())
    return sorted(names, key=lambda name: (len(name), name))


def _concepts(levels: Sequence[Level]) -> pa.Table:
    rows = [(level.name, wnid, index) for level in levels for index, wnid in enumerate(level.wnids)]
    names, wnids, indexes = zip(*rows, strict=True)
    return pa.table({"level": list(names), "wnid": list(wnids), "class_index": pa.array(indexes, pa.int32())})


def _published(path: str, wanted: set[str]) -> pa.Table:
    tables = [table for table in published_parts(path) if table["wnid"][0].as_py() in wanted]
    lost = sorted(wanted - {table["wnid"][0].as_py() for table in tables})
    if lost:
        raise OptionError(
            f"{path} has no images of {counted(len(lost), 'concept')}, {lost[0]} the first: it belongs to other levels"
        )
    return pa.concat_tables(tables)


def _checked(
    levels: Sequence[Level],
    rows: Sequence[Mapping[str, Any]],
    listed: Mapping[str, int],
    url: str,
    options: PartOptions,
) -> tuple[LevelImages, ...]:
    """The figures of each level; refuses concepts that could not be learnt, or not be tested."""
    by_level: dict[str, dict[str, dict[str, int]]] = {}
    for row in rows:
        numbers = {name: int(row[name]) for name in ("num_train", "num_test", "num_unused")}
        by_level.setdefault(str(row["level"]), {})[str(row["wnid"])] = numbers
    found = []
    for level in levels:
        own = by_level.get(level.name, {})
        for wnid in level.wnids:
            if wnid not in own:
                raise DatasetError(
                    f"{url} has no image of {wnid}, a concept of level {level.name}: choose levels among what it holds "
                    f"(--counts {shell_word(url)})"
                )
            numbers = own[wnid]
            if not numbers["num_train"] or not numbers["num_test"]:
                raise DatasetError(_one_part(wnid, level.name, numbers, url, options))
        found.append(
            LevelImages(
                name=level.name,
                num_concepts=len(own),
                num_train=sum(one["num_train"] for one in own.values()),
                num_test=sum(one["num_test"] for one in own.values()),
                num_unused=sum(one["num_unused"] for one in own.values()),
                fewest=min(one["num_train"] for one in own.values()),
                num_missing=sum(
                    max(listed[wnid] - one["num_train"] - one["num_test"], 0)
                    for wnid, one in own.items()
                    if wnid in listed
                ),
            )
        )
    return tuple(found)


def _one_part(wnid: str, level: str, numbers: dict[str, int], url: str, options: PartOptions) -> str:
    where = f"{wnid}, a concept of level {level}, has {counted(sum(numbers.values()), 'image')} in {url}"
    if options.parts is not None:
        part = "training" if not numbers["num_train"] else "testing"
        return f"{where}, none of those that {options.parts} names for {part}: is it the same release?"
    return (
        f"{where}, of which {options.num_test} are for testing: none is left to train on; take fewer (--test), or "
        "choose concepts with more (--least)"
    )


def _settings(levels: Sequence[Level], options: PartOptions) -> dict[str, object]:
    drawn = {"seed": options.seed, "num_train": options.num_train, "num_test": options.num_test}
    return {
        "levels": {level.name: len(level.concepts) for level in levels},
        **({"parts": "published"} if options.parts is not None else {"parts": "drawn", **drawn}),
    }


def level_rows(levels: Sequence[Level], images: Sequence[LevelImages] = ()) -> tuple[list[str], list[list[str]]]:
    """Levels as cells of text, the header first: similarities from and to, and images where they were dealt."""
    header = ["level", "concepts", "most similar", "least"]
    if images:
        header += ["train", "test", "unused", "fewest train"]
        header += ["missing"] if any(one.num_missing for one in images) else []
    rows = []
    for number, level in enumerate(levels):
        ends = (level.concepts[0].similarity, level.concepts[-1].similarity)
        row = [level.name, f"{len(level.concepts):,}", *("-" if end is None else f"{end:.4f}" for end in ends)]
        if images:
            own = images[number]
            row += [f"{value:,}" for value in (own.num_train, own.num_test, own.num_unused, own.fewest)]
            row += [f"{own.num_missing:,}"] if "missing" in header else []
        rows.append(row)
    return header, rows
