"""Edits files: what the HTML report exports, and tables of the same columns from anywhere else.

Owns the format, version 1:

    {"format": "shardtools-edits", "format_version": 1, "dataset_sha256": "...", "edits": [
      {"key": "n01440764_7", "action": "drop", "reason": "blank"},
      {"key": "n01443537_2", "action": "relabel", "class_index": 3, "reason": "a goldfish"},
      {"key": "n01443537_9", "action": "reweight", "weight": 0.5}]}

A .csv or .parquet file has the same names as columns, and no version. A file may come from a browser, so nothing in it
is believed; the price is that one bad entry refuses the whole file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from shardtools.errors import FormatVersionError, SourceError, first_line
from shardtools.storage import open_storage

EDITS_FORMAT = "shardtools-edits"
EDITS_VERSION = 1
EDITS_SUFFIXES = (".json", ".csv", ".parquet")
COLUMNS = ("key", "action", "class_index", "weight", "reason")
"""What an edit may say; other columns of a table are not looked at, other fields of a JSON entry are refused."""

MAX_FILE_BYTES = 512 << 20
_MAX_INT = 2**31 - 1


def read_edits_file(address: str, *, dataset_sha256: str) -> pa.Table:
    """The edits of a file as a table with some of `COLUMNS`.

    Args:
        address: A path or s3:// address that ends in one of `EDITS_SUFFIXES`.
        dataset_sha256: Digest of the dataset's commit, which a JSON file names.

    Raises:
        SourceError: Not a file of edits, or one for another version of the dataset.
        FormatVersionError: Written by another format version.
        NotFoundError: There is no such file.
    """
    folder, slash, name = address.rpartition("/")
    storage = open_storage(folder or slash or ".")
    num_bytes = storage.size(name)
    if num_bytes > MAX_FILE_BYTES:
        raise SourceError(f"{address}: expected edits of at most {MAX_FILE_BYTES} bytes, found {num_bytes}: split them")
    content = storage.read(name)
    if address.lower().endswith(".json"):
        return _read_json(content, address, dataset_sha256)
    return _read_table(content, address)


def encode_edits(edits: Iterable[Mapping[str, Any]], *, dataset_sha256: str | None) -> bytes:
    """The bytes of a JSON edits file, as the report's button writes them.

    Args:
        edits: Entries with some of `COLUMNS`; absent and `None` are the same.
        dataset_sha256: Digest of the `dataset.json` whose samples are meant; `None` for any version.
    """
    entries = [{name: edit[name] for name in COLUMNS if edit.get(name) is not None} for edit in edits]
    content = {
        "format": EDITS_FORMAT,
        "format_version": EDITS_VERSION,
        "dataset_sha256": dataset_sha256,
        "edits": entries,
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _read_json(content: bytes, address: str, dataset_sha256: str) -> pa.Table:
    try:
        document = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{address} is no JSON that can be read ({first_line(error)}): export it again") from None
    if not isinstance(document, dict) or document.get("format") != EDITS_FORMAT:
        raise SourceError(f'{address} is no file of edits: expected an object with "format": "{EDITS_FORMAT}"')
    version = document.get("format_version")
    if version != EDITS_VERSION or isinstance(version, bool):
        raise FormatVersionError(
            f"{address} has format version {_shown(version)}, this release reads {EDITS_VERSION}: use the release that "
            "wrote it"
        )
    made_for = document.get("dataset_sha256")
    if made_for is not None and made_for != dataset_sha256:
        raise SourceError(
            f"{address} was made for commit {_shown(made_for)} of its dataset, this one is at {dataset_sha256[:8]}: "
            "give that version (DATASET@COMMIT), or, if its keys mean the same images here, remove its dataset_sha256"
        )
    entries = document.get("edits")
    if not isinstance(entries, list):
        raise SourceError(f"{address}: expected a list under edits, found {_shown(entries)}")
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for number, entry in enumerate(entries):
        _take(entry, columns, f"{address}, edit {number}")
    types = (pa.string(), pa.string(), pa.int32(), pa.float64(), pa.string())
    return pa.table({name: pa.array(columns[name], kind) for name, kind in zip(COLUMNS, types, strict=True)})


def _take(entry: Any, columns: dict[str, list[Any]], where: str) -> None:
    """Adds one JSON entry to the columns, if each of its values has the right type."""
    if not isinstance(entry, dict):
        raise SourceError(f"{where}: expected an object, found {_shown(entry)}")
    unknown = next((name for name in entry if name not in COLUMNS), None)
    if unknown is not None:
        raise SourceError(f"{where}: expected {', '.join(COLUMNS)}, found {_shown(unknown)}")
    for name in ("key", "action"):
        if not isinstance(entry.get(name), str):
            raise SourceError(f"{where}: expected a text as {name}, found {_shown(entry.get(name))}")
    for name in ("key", "action", "reason"):
        value = entry.get(name)
        if value is not None and not _is_text(value):
            raise SourceError(f"{where}: expected a text in Unicode as {name}, found {_shown(value)}")
    index, weight = entry.get("class_index"), entry.get("weight")
    if index is not None and (isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= _MAX_INT):
        raise SourceError(f"{where}: expected a whole number of at least 0 as class_index, found {_shown(index)}")
    try:
        number = None if weight is None else float(weight)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    if number is not None and (isinstance(weight, bool | str) or not 0 <= number < float("inf")):
        raise SourceError(f"{where}: expected a finite number of at least 0 as weight, found {_shown(weight)}")
    for name in COLUMNS:
        columns[name].append(number if name == "weight" else entry.get(name))


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_table(content: bytes, address: str) -> pa.Table:
    is_csv = address.lower().endswith(".csv")
    try:
        if is_csv:
            # A key is text (00012 is not twelve), and the rest has types whatever the first rows hold.
            types = {"key": pa.string(), "action": pa.string(), "reason": pa.string()}
            convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])
            table = pacsv.read_csv(
                pa.BufferReader(content), read_options=pacsv.ReadOptions(use_threads=False), convert_options=convert
            )
        else:
            table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        names = table.schema.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "CSV" if is_csv else "Parquet file"
        raise SourceError(f"{address} is no {kind} that can be read ({first_line(error)}): write it again") from None
    twice = next((name for name in COLUMNS if names.count(name) > 1), None)
    if twice is not None:
        raise SourceError(f"{address} has the column {twice} twice: rename one of them")
    return table.select([name for name in COLUMNS if name in names]).replace_schema_metadata(None)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _shown(value: Any) -> str:
    """A value of unknown origin in a message: ASCII, short, one line."""
    text = ascii(value) if not isinstance(value, dict | list) else f"a {type(value).__name__} of {len(value)}"
    return text if len(text) <= 80 else f"{text[:80]}..."
