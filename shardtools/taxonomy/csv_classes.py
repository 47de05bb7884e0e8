"""Classes from a CSV of the user's own: name, definition, and where wanted hypernym and id.

Owns the CSV's columns and the ids derived from names. An id keeps what is safe in a file name and carries a digest of
the name wherever something was lost, so that it depends on its own row only; the price is ids such as "cafe-850f7dc4".
"""

from __future__ import annotations

import csv
import hashlib
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from shardtools.errors import TaxonomyError
from shardtools.taxonomy.image_class import ImageClass, check_class_id

COLUMNS: dict[str, str] = {
    "name": "the class's name as it goes into prompts",
    "definition": "what `d_c` becomes; may be empty",
    "hypernym": "what `h_c` becomes; may be left out",
    "id": "wnid column and keys; derived from the name where left out",
}
"""Column -> meaning; the first two must be there."""

_SLUG_LENGTH = 60
_KEPT = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    where: str
    name: str
    definition: str | None
    hypernym: str | None
    class_id: str | None


def derive_id(name: str) -> str:
    """The id of a class from its name: lower case, spaces to `_`, and a digest where anything else was lost."""
    plain = "_".join(name.casefold().split())
    unaccented = unicodedata.normalize("NFKD", plain)
    slug = "".join(character for character in unaccented if character in _KEPT).strip("_-")[:_SLUG_LENGTH]
    if slug == plain:
        return slug
    digest = hashlib.sha256(name.encode("utf-8")).hexdigest()[:8]
    return f"{slug or 'class'}-{digest}"


def read_text(path: str | Path) -> str:
    """A UTF-8 file's text in Unicode NFC, without a byte order mark.

    Raises:
        TaxonomyError: The file cannot be read, or is not UTF-8.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise TaxonomyError(f"cannot read the class list {path}: {error.strerror}") from error
    try:
        return unicodedata.normalize("NFC", raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TaxonomyError(
            f"{path}, line {line}: expected UTF-8, found byte 0x{raw[error.start]:02x}; save it as UTF-8"
        ) from error


def _clean(value: str | None, where: str, column: str) -> str | None:
    text = " ".join((value or "").split())
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            raise TaxonomyError(f"{where}: the {column} holds the control character U+{ord(character):04X}; remove it")
    return text or None


def _read_rows(path: str | Path) -> list[_Row]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[_Row] = []
    header: list[str] | None = None
    first_line = 1
    try:
        for cells in reader:
            # A value may hold line breaks: the row begins behind the one before, not at the reader's own line.
            where, first_line = f"{path}, line {first_line}", reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _check_header([cell.strip().lower() for cell in cells], where)
                continue
            if len(cells) != len(header):
                raise TaxonomyError(
                    f"{where}: expected {len(header)} values ({','.join(header)}), found {len(cells)}; "
                    "put a value that holds a comma between double quotes"
                )
            values = {column: _clean(cell, where, column) for column, cell in zip(header, cells, strict=True)}
            name = values["name"]
            if name is None:
                raise TaxonomyError(f"{where}: the name is empty; give the class a name")
            rows.append(
                _Row(
                    where=where,
                    name=name,
                    definition=values["definition"],
                    hypernym=values.get("hypernym"),
                    class_id=values.get("id"),
                )
            )
    except csv.Error as error:
        raise TaxonomyError(
            f"{path}, line {first_line}: not CSV ({error}); write a quote inside a value twice"
        ) from error
    if header is None or not rows:
        raise TaxonomyError(
            f"{path}: expected the header name,definition[,hypernym][,id] and one class a line, found no class"
        )
    return rows


def _check_header(header: list[str], where: str) -> list[str]:
    expected = "expected the header name,definition[,hypernym][,id]"
    unknown = [column for column in header if column not in COLUMNS]
    missing = [column for column in ("name", "definition") if column not in header]
    if unknown or missing or len(set(header)) != len(header):
        raise TaxonomyError(f"{where}: {expected}, found {','.join(header)!r}")
    return header


def read_csv_classes(path: str | Path) -> list[ImageClass]:
    """The classes of a CSV file, class indices in the file's order.

    Raises:
        TaxonomyError: The file cannot be read, a column is missing or unknown, a name is empty or given twice without
            ids, an id is unsafe or given twice. The message names the file and line.
    """
    classes: list[ImageClass] = []
    name_to_row: dict[str, _Row] = {}
    id_to_row: dict[str, _Row] = {}
    for row in _read_rows(path):
        earlier = name_to_row.setdefault(row.name.casefold(), row)
        if earlier is not row and (row.class_id is None or earlier.class_id is None):
            raise TaxonomyError(
                f"{row.where}: the name {row.name!r} is already used ({earlier.where}); rename one, or give both an id"
            )
        class_id = row.class_id or derive_id(row.name)
        try:
            check_class_id(class_id)
        except TaxonomyError as error:
            raise TaxonomyError(f"{row.where}: {error}") from error
        # ids that differ only in case would be one file on some file systems
        earlier = id_to_row.setdefault(class_id.casefold(), row)
        if earlier is not row:
            raise TaxonomyError(
                f"{row.where}: the id {class_id!r} is already used ({earlier.where}); ids must be unique"
            )
        classes.append(
            ImageClass(
                wnid=class_id,
                class_index=len(classes),
                lemmas=(row.name,),
                definition=row.definition,
                hypernyms=((row.hypernym,),) if row.hypernym else (),
                hypernym_wnids=(),
            )
        )
    return classes
