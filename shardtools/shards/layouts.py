"""The formats a dataset's shards may have, by name.

Owns the table. A format that is appended to is hashed while it is written; the others begin with a table that is known
last and are read once more for their digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardtools.errors import OptionError
from shardtools.shards.beton.writer import BetonEncoder
from shardtools.shards.chunks.litdata import LitDataEncoder, litdata_index
from shardtools.shards.chunks.mds import MdsEncoder, mds_index
from shardtools.shards.chunks.sample_table import IndexedShard
from shardtools.shards.encoder import ShardEncoder
from shardtools.shards.layout_names import IMAGEFOLDER, LAYOUT_NAMES
from shardtools.shards.names import check_split, part_name
from shardtools.shards.tar.encoder import TarEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A shard format.

    Attributes:
        suffix: Ends the names of its files.
        encoder: Writes one.
        write_index: Makes the index file of a split out of its shards and the fields; each split then has a folder of
            its own. `None` for formats without one.
        is_appended: Whether its bytes are written from front to back.
        holds_any_member: Whether members need not be named in `fields`.
        always: Columns that are always written.
    """

    suffix: str
    encoder: type[ShardEncoder]
    write_index: Callable[[Sequence[IndexedShard], Sequence[str]], bytes] | None = None
    is_appended: bool = False
    holds_any_member: bool = False
    always: tuple[str, ...] = ("image", "label")


_WITH_KEY = ("image", "label", "key")

LAYOUTS: dict[str, Layout] = {
    "tar": Layout(suffix=".tar", encoder=TarEncoder, is_appended=True, holds_any_member=True),
    "beton": Layout(suffix=".beton", encoder=BetonEncoder),
    "mds": Layout(suffix=".mds", encoder=MdsEncoder, write_index=mds_index, always=_WITH_KEY),
    "litdata": Layout(suffix=".bin", encoder=LitDataEncoder, write_index=litdata_index, always=_WITH_KEY),
}


def shard_path(split: str, shard_index: int, attempt: int = 1, *, layout: str = "tar") -> str:
    """Path of a shard in its dataset: "shards/train-000012.tar", "shards/train/train-000012.mds"."""
    form = LAYOUTS[layout]
    folder = f"shards/{split}/" if form.write_index else "shards/"
    return f"{folder}{part_name(split, shard_index, attempt)}{form.suffix}"


def joined_path(split: str) -> str:
    """Path of the one .beton that holds a whole split."""
    return f"shards/{check_split(split)}.beton"


def check_fields(layout: str, fields: Sequence[str]) -> tuple[str, ...]:
    """Returns the members that are to be written beside image and label, each once and in the order given.

    Raises:
        OptionError: The layout is unknown, holds every member anyway, or a field comes twice or is always written.
    """
    if layout not in LAYOUT_NAMES:
        raise OptionError(f"--to is one of {', '.join(LAYOUT_NAMES)}, found {layout!r}")
    if fields and (layout == IMAGEFOLDER or LAYOUTS[layout].holds_any_member):
        holds = "image files only" if layout == IMAGEFOLDER else "every member"
        raise OptionError(f"--fields is for formats with columns, --to {layout} writes {holds}: drop --fields")
    always = () if layout == IMAGEFOLDER else LAYOUTS[layout].always
    for field in fields:
        if field in always or not field or list(fields).count(field) > 1:
            raise OptionError(f"--fields names members beside {', '.join(always)}, each once, found {field!r}")
    return tuple(fields)
