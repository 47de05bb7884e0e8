"""`overlay.json`: what an overlay holds, how the file is read and written, and which names it may have.

Owns the overlay's format and its version. The file lists every part with its digest and is written last, so that an
overlay is seen whole or not at all; the price is that a part which no `overlay.json` lists is invisible litter until
the next commit of the same overlay.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from shardtools.documents import Document, Format
from shardtools.errors import DatasetError, OptionError

if TYPE_CHECKING:
    import pyarrow as pa

OVERLAY_VERSION = 1
OVERLAY_FILE = "overlay.json"
OVERLAYS_FOLDER = "overlays/"
KEY = "key"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RESERVED_NAMES = ("samples", "events", "datasets", "overlays")
_RESERVED_COLUMNS = ("dataset",)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayPart:
    """One Parquet file: its path in the overlay's folder, its rows, its length in bytes and its sha256."""

    path: str
    num_rows: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayColumn:
    """Name of a column and its Arrow type, as text."""

    name: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayInfo(Document):
    """The content of `overlay.json`.

    Attributes:
        name: Its name in SQL: `overlays.NAME`.
        made_by: The program that wrote it.
        settings: Option name -> JSON value: what decides on the facts.
        dataset_sha256: Digest of the dataset's `dataset.json` when the overlay was written.
        dataset_num_rows: Rows of the dataset then.
        unique: Columns whose values together come once; `key` is the first.
        columns: In the order of the parts.
        parts: In the order of writing.
    """

    format: ClassVar[Format] = Format(
        name="shardtools-overlay",
        version=OVERLAY_VERSION,
        what=f"the {OVERLAY_FILE} of an overlay",
        remedy="remove it, or write it again",
    )

    name: str
    made_by: str
    settings: Mapping[str, Any]
    dataset_sha256: str
    dataset_num_rows: int
    unique: tuple[str, ...]
    columns: tuple[OverlayColumn, ...]
    parts: tuple[OverlayPart, ...]

    @property
    def num_rows(self) -> int:
        """Rows of all parts."""
        return sum(part.num_rows for part in self.parts)

    def __post_init__(self) -> None:
        check_name(self.name)
        for number, part in enumerate(self.parts):
            if min(part.num_rows, part.num_bytes) < 0:
                raise OptionError(f"parts[{number}] has a negative length")


def overlay_folder(name: str) -> str:
    """Folder of an overlay in its dataset."""
    return f"{OVERLAYS_FOLDER}{name}/"


def is_name(name: str) -> bool:
    """Whether an overlay may be called so."""
    return _NAME.fullmatch(name) is not None and name not in _RESERVED_NAMES


def check_name(name: str) -> str:
    """The name, if SQL and every storage take it.

    Raises:
        OptionError: They do not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise OptionError(
            f"an overlay's name is 1 to 64 lower-case letters, digits, _ and -, a letter first, found {name!r}: choose "
            "another"
        )
    if name in _RESERVED_NAMES:
        raise OptionError(f"an overlay is not called {name!r}, which SQL uses for its own tables: choose another name")
    return name


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON gives them back.

    Raises:
        OptionError: JSON has no form for a value.
    """
    try:
        kept: dict[str, Any] = json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise OptionError(f"an overlay's settings are JSON values, found one that is not ({error})") from None
    return kept


def check_unique(unique: Sequence[str]) -> tuple[str, ...]:
    """The columns that tell rows apart, if `key` is one of them.

    Raises:
        OptionError: It is not, or a column comes twice.
    """
    if isinstance(unique, str) or KEY not in unique or len(set(unique)) < len(unique):
        raise OptionError(f"unique is {KEY!r} and further columns, each once, found {unique!r}")
    return tuple(unique)


def check_schema(schema: pa.Schema, unique: Sequence[str], *, where: str) -> None:
    """Checks the columns of an overlay.

    Raises:
        DatasetError: `key` or another column of `unique` is missing, `key` is no text, or SQL cannot tell the names
            apart.
    """
    missing = [name for name in unique if name not in schema.names]
    if missing:
        raise DatasetError(
            f"{where} has no column {missing[0]!r}: expected {', '.join(unique)} among the columns, found "
            f"{', '.join(map(repr, schema.names)) or 'none'}"
        )
    # DuckDB does not tell "Loss" from "loss".
    counts = Counter(name.lower() for name in schema.names)
    twice = next((name for name in schema.names if counts[name.lower()] > 1), None)
    if twice is not None:
        raise DatasetError(f"{where} has the column {twice!r} twice (SQL ignores case): rename one of them")
    for name in schema.names:
        if not name.strip() or any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in name):
            raise DatasetError(f"{where} has a column called {name!r}: expected a name without control characters")
        if name.lower() in _RESERVED_COLUMNS:
            raise DatasetError(f"{where} has a column {name!r}, which SQL adds itself: rename it")
    if str(schema.field(KEY).type) != "string":
        raise DatasetError(f"{where} has a column key of {schema.field(KEY).type}, expected text: cast it to string")
