"""Parquet files with image bytes: Hugging Face's columns, img2dataset's, and plain tables.

Owns the samples made from rows. A row is addressed by its number, through the counts of row groups in the footers, so
nothing of the images is read before they are written; the price is that rows keep their order, and that shards much
smaller than a row group make several processes decompress the same group.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from shardtools.errors import OptionError, SourceError
from shardtools.sample import STATUS_OK, Sample
from shardtools.sources.base import Source
from shardtools.sources.image.check import IMAGE_EXTENSIONS, Rejection, extension_of, make_sample, too_large
from shardtools.sources.options import SourceOptions
from shardtools.sources.parquet.columns import ROW_MEMBER, Columns
from shardtools.sources.parquet.labels import (
    KeyCheck,
    RowLabels,
    check_integers,
    collect_texts,
    key_of,
    label_rows,
    stem_of,
)
from shardtools.sources.parquet.rows import ParquetRows, RowReader, find_rows, read_columns
from shardtools.sources.patterns import by_split
from shardtools.storage import Storage
from shardtools.taxonomy import ImageClass

_MAX_REASON_CHARACTERS = 200


class _OpenFile:
    """The file that this process has open, if any; travels to other processes as none."""

    def __init__(self) -> None:
        self.reader: RowReader | None = None

    def __reduce__(self) -> tuple[type[_OpenFile], tuple[()]]:
        return _OpenFile, ()

    def at(self, storage: Storage, rows: ParquetRows) -> RowReader:
        if self.reader is None or self.reader.rows_file is not rows:
            self.close()
            self.reader = RowReader(storage, rows)
        return self.reader

    def close(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetSource(Source):
    """Indexed Parquet files.

    Attributes:
        files: Split -> its files.
        labels: What the label column means.
        key_from: "column", "path" (stems of the images' paths) or "position".
        decode: Whether images are decoded in full.
        flatten_keys: Whether "a/b" in a key column becomes "a__b".
        open_file: What this process reads.
    """

    files: Mapping[str, tuple[ParquetRows, ...]]
    labels: RowLabels
    key_from: str
    decode: bool
    flatten_keys: bool
    open_file: _OpenFile = field(default_factory=_OpenFile, repr=False, compare=False)

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        digits = self._digits(split)
        first = 0
        for rows in self.files[split]:
            begin, end = max(start - first, 0), min(stop - first, rows.num_rows)
            if begin < end:
                for number, row in self.open_file.at(self.storage, rows).read(begin, end):
                    yield self._sample(rows, number, row, f"{split}_{first + number:0{digits}d}")
            first += rows.num_rows

    def keys(self, split: str) -> Iterator[str]:
        first = 0
        for rows in self.files[split]:
            yield from self._file_keys(rows, split, first)
            first += rows.num_rows

    def close(self) -> None:
        self.open_file.close()

    def _file_keys(self, rows: ParquetRows, split: str, first: int) -> Iterator[str]:
        """Keys of one file, from its short columns alone."""
        digits = self._digits(split)
        columns = rows.columns
        if self.key_from == "position":
            yield from (f"{split}_{first + number:0{digits}d}" for number in range(rows.num_rows))
            return
        wanted = columns.key if self.key_from == "column" and columns.key else f"{columns.image}.path"
        where = self.storage.object_url(rows.path)
        for start, batch in read_columns(self.storage, rows, [wanted]):
            for number, row in enumerate(_rows_of(batch, where), start):
                path = _image_of(row.get(columns.image))[1] if self.key_from == "path" else None
                yield self._key(columns, row, path, f"{split}_{first + number:0{digits}d}")

    def _digits(self, split: str) -> int:
        return max(5, len(str(self.splits[split] - 1)))

    def _sample(self, rows: ParquetRows, number: int, row: Mapping[str, Any], position: str) -> Sample:
        columns = rows.columns
        place = f"{rows.path}:row {number}"
        found = row[columns.image]
        content, path = _image_of(found) if columns.is_struct else (found, None)
        value = row[columns.label] if columns.label is not None else None
        label = self.labels.find(value, self.storage.object_url(place))
        extension = extension_of(path) if path else columns.image
        sample = make_sample(
            _usable(content, path, row, columns),
            decode=self.decode,
            extension=extension if extension in IMAGE_EXTENSIONS else "",
            extra_members=self._members(columns, row, path),
            key=self._key(columns, row, path, position),
            wnid=label.wnid if label else None,
            class_index=label.class_index if label else None,
            label_source="label" if label else None,
            provenance={"source_path": place},
        )
        if columns.label is not None and label is None and sample.status == STATUS_OK and sample.reason is None:
            return dataclasses.replace(sample, reason=f"column {columns.label} is {_said(value)}: no label")
        return sample

    def _key(self, columns: Columns, row: Mapping[str, Any], path: str | None, position: str) -> str:
        if self.key_from == "column":
            return key_of(row[columns.key or ""], flatten=self.flatten_keys) or position
        return (stem_of(path) if self.key_from == "path" else None) or position

    def _members(self, columns: Columns, row: Mapping[str, Any], path: str | None) -> dict[str, bytes]:
        facts = {name: _json_value(row[name]) for name in columns.extras}
        if path is not None and self.key_from != "path":
            facts[f"{columns.image}.path"] = path
        members = {name: payload for name in columns.payloads if (payload := _payload(row[name])) is not None}
        if facts:
            members[ROW_MEMBER] = json.dumps(facts, sort_keys=True, ensure_ascii=False).encode(errors="replace")
        return members


def _image_of(found: Mapping[str, Any] | None) -> tuple[bytes | None, str | None]:
    return (None, None) if found is None else (found.get("bytes"), found.get("path"))


def _usable(content: bytes | None, path: str | None, row: Mapping[str, Any], columns: Columns) -> bytes | Rejection:
    if content is not None:
        return too_large(len(content)) or content
    if path is not None:
        return Rejection("not-an-image", f"the row has no bytes, only the path of another file: {_line(path)}")
    # img2dataset says there why a download failed.
    message = row.get("error_message") if "error_message" in columns.extras else None
    why = f": {_line(message)}" if isinstance(message, str) and message else ""
    return Rejection("not-an-image", f"column {columns.image} is null{why}")


def _line(text: str) -> str:
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= _MAX_REASON_CHARACTERS else f"{clean[:_MAX_REASON_CHARACTERS]}..."


def _said(value: object) -> str:
    return "null" if value is None else str(value)


def _payload(value: Any) -> bytes | None:
    """The bytes of a binary column, or of a struct that holds them."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else None


def _json_value(value: Any) -> Any:
    """A value as JSON has it: times and decimals as text, bytes as base64, numbers that are none as "nan" or "inf"."""
    if isinstance(value, dict):
        return {name: _json_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def open_parquet(
    storage: Storage,
    paths: Sequence[str],
    options: SourceOptions,
    classes: Sequence[ImageClass] | None,
    folder: Path,
) -> ParquetSource:
    """Reads footers, labels and keys.

    Args:
        storage: The root.
        paths: The files below it, in the order they are read.
        options: How to read them.
        classes: The class set given by the user, if any.
        folder: Not used: the footers are the listing.

    Raises:
        SourceError: A file is damaged or has no image column, the files differ in their columns, a label is out of
            range, or two rows have one key.
        OptionError: `shuffle` is asked for.
    """
    if options.shuffle:
        raise OptionError("Parquet files are read forward, in their own order: drop --shuffle")
    files = {
        split: tuple(find_rows(storage, path) for path in of_split)
        for split, of_split in by_split(paths, options.split).items()
    }
    every = [rows for of_split in files.values() for rows in of_split]
    _check_alike(storage, every)
    labels, key_from = _scan(storage, every, classes, flatten=options.flatten_keys)
    listing = [
        (split, rows.path, rows.num_bytes, rows.footer) for split, of_split in files.items() for rows in of_split
    ]
    return ParquetSource(
        kind="parquet",
        storage=storage,
        splits={split: count for split, of_split in files.items() if (count := sum(one.num_rows for one in of_split))},
        settings={
            "source_kind": "parquet",
            "source_listing": hashlib.sha256(repr(listing).encode()).hexdigest(),
            "labels": labels.digest(),
            "check": options.check,
            "flatten_keys": options.flatten_keys,
        },
        files=files,
        labels=labels,
        key_from=key_from,
        decode=options.check == "decode",
        flatten_keys=options.flatten_keys,
    )


def _check_alike(storage: Storage, files: Sequence[ParquetRows]) -> None:
    """Refuses files that do not have the same image, label and key columns, and sources without a row."""
    if not any(rows.num_rows for rows in files):
        raise SourceError(f"{storage.url} holds no rows: expected Parquet files with an image a row")
    for rows in files[1:]:
        # Further columns may differ; what a sample is may not.
        for name in ("image", "is_struct", "label", "label_is_text", "label_names", "key"):
            here, there = getattr(rows.columns, name), getattr(files[0].columns, name)
            if here != there:
                shown = "other class names" if name == "label_names" else f"{name} {here!r} instead of {there!r}"
                raise SourceError(
                    f"{storage.object_url(rows.path)} has {shown}, unlike {files[0].path}: write them as two datasets"
                )


def _scan(
    storage: Storage, files: Sequence[ParquetRows], classes: Sequence[ImageClass] | None, *, flatten: bool
) -> tuple[RowLabels, str]:
    """Labels and the origin of keys, after a look at both columns of all files."""
    columns = files[0].columns
    texts: set[str] = set()
    # What integers mean follows from the schema and is checked on the way; what texts mean only when all are known.
    labels = label_rows(columns, (), classes, where=storage.url) if not columns.label_is_text else None
    check = KeyCheck(refuses=columns.key is not None)
    by_path = columns.key is None and all(rows.columns.has_path for rows in files)
    key_column = columns.key or f"{columns.image}.path"
    for rows in files:
        where = storage.object_url(rows.path)
        # One pass over the short columns. Paths are given up at the first that cannot be a key, and not read from then
        # on.
        wanted = [columns.label] if columns.label is not None else []
        wanted += [key_column] if columns.key is not None or (by_path and check.is_usable) else []
        for first, batch in read_columns(storage, rows, wanted) if wanted else ():
            if labels is None:
                collect_texts(texts, batch.column(columns.label), where)
            elif columns.label is not None:
                check_integers(labels, batch.column(columns.label), first, where)
            if columns.key is not None:
                keys = [key_of(row[columns.key], flatten=flatten) for row in _rows_of(batch, where)]
                check.add(keys, first, where)
            elif by_path and check.is_usable:
                check.add((stem_of(_image_of(row[columns.image])[1]) for row in _rows_of(batch, where)), first, where)
    if labels is None:
        labels = label_rows(columns, texts, classes, where=storage.url)
    repeated = check.repeated()
    if columns.key is not None:
        _refuse_repeated(storage, files, repeated, columns.key)
        return labels, "column"
    return labels, "path" if by_path and check.is_usable and repeated is None else "position"


def _rows_of(batch: pa.RecordBatch, where: str) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        raise SourceError(f"{where}: a column holds text that is not UTF-8: write it again") from None


def _refuse_repeated(
    storage: Storage, files: Sequence[ParquetRows], repeated: tuple[int, int] | None, key: str
) -> None:
    if repeated is None:
        return
    starts = [0, *itertools.accumulate(rows.num_rows for rows in files)]
    places = []
    for number in repeated:
        place = max(index for index, start in enumerate(starts[:-1]) if start <= number)
        places.append(f"{storage.object_url(files[place].path)}:row {number - starts[place]}")
    raise SourceError(
        f"column {key!r} has one key twice, at {places[0]} and {places[1]}: keys are unique in a dataset, change one"
    )
