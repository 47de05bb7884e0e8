"""FFCV's `.beton` files: samples addressed by the rows of their metadata.

Owns what the fields mean: the first RGBImage is the image, the first Int its label, a field named `key` (or `json` with
a "key") its key. JPEGs keep their bytes. Images stored as pixels have no encoded bytes to keep: they become lossless
8-bit RGB PNGs, the same for the same pixels, at the price of an encoding each. The price of keys that lie among the
pixels: they are read with the samples, so two that are alike are not found when the source is opened.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shardtools.errors import SourceError
from shardtools.sample import Sample
from shardtools.shards import Beton, check_key, open_beton
from shardtools.shards.beton.format import ARRAY_TYPES, MODE_RAW, SCALAR_TYPES, FieldType
from shardtools.shards.beton.tables import Table
from shardtools.shards.beton.writer import JSON_FIELD, KEY_FIELD, NO_LABEL
from shardtools.sources.base import Source
from shardtools.sources.beton.fields import CLS_FIELD, Roles, find_roles, further_members
from shardtools.sources.image.check import make_sample, too_large
from shardtools.sources.image.png import encode_rgb_png
from shardtools.sources.labels import labels_digest
from shardtools.sources.options import SourceOptions
from shardtools.sources.patterns import by_split
from shardtools.sources.tars.labels import label_members
from shardtools.storage import REQUESTS_IN_FLIGHT, Storage, read_ahead
from shardtools.taxonomy import ImageClass

_ROWS_TOGETHER = 1024
_GROUP_BYTES = 8 << 20
"""Consecutive samples of one file are fetched together up to this length."""

_GROUPS_AHEAD = 3
_MAX_CLASS_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Row:
    """One sample: its number in the split, its file, its row there, and for each field its value and length (bytes)."""

    place: int
    file: int
    number: int
    values: tuple[Any, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BetonSource(Source):
    """Open `.beton` files.

    Attributes:
        betons: All files, split by split.
        roles: For each file what its fields are for.
        files: Split -> (number of its first file, position at which each of its files starts, then the length).
        order_paths: Split -> file of row numbers in the order of writing, where that is not the files'.
        wnids: Class index -> wnid, if a class set was given.
        decode: Whether JPEGs are decoded in full.
    """

    betons: Sequence[Beton]
    roles: Sequence[Roles]
    files: Mapping[str, tuple[int, tuple[int, ...]]]
    order_paths: Mapping[str, Path]
    wnids: Sequence[str] | None
    decode: bool

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        # In a random order no sample is its neighbour's neighbour in the file: each is a request of its own.
        limit, ahead = (0, REQUESTS_IN_FLIGHT) if split in self.order_paths else (_GROUP_BYTES, _GROUPS_AHEAD)
        calls = (partial(self._read_group, group) for group in _groups(self._rows(split, start, stop), limit))
        for group, payloads in read_ahead(calls, 0 if self.storage.is_local else ahead):
            for row, of_row in zip(group, payloads, strict=True):
                yield self._sample(split, row, of_row)

    def keys(self, split: str) -> Iterator[str]:
        """Reads only the payloads that hold keys, and nothing where positions are the keys."""
        for group in _groups(self._rows(split, 0, self.splits[split]), _GROUP_BYTES):
            texts = self.roles[group[0].file].texts
            wanted = [texts[name] for name in (KEY_FIELD, JSON_FIELD) if name in texts]
            for row, payloads in zip(group, _read_fields(self.betons[group[0].file], group, wanted), strict=True):
                yield self._key(split, row, payloads)

    def _rows(self, split: str, start: int, stop: int) -> Iterator[_Row]:
        first_file, starts = self.files[split]
        for begin in range(start, stop, _ROWS_TOGETHER):
            positions = np.arange(begin, min(stop, begin + _ROWS_TOGETHER))
            numbers = self._order(split, positions)
            files = np.searchsorted(starts, numbers, side="right") - 1
            # A piece of a random order comes from all files. Each file's table is asked once, and the answers go to
            # their places.
            found: list[_Row | None] = [None] * len(positions)
            for file in np.unique(files).tolist():
                own = np.flatnonzero(files == file)
                rows = numbers[own] - starts[file]
                beton = self.betons[first_file + file]
                values, lengths = beton.metadata.take(rows).tolist(), beton.lengths.take(rows).tolist()
                for at, row, value, length in zip(own.tolist(), rows.tolist(), values, lengths, strict=True):
                    found[at] = _Row(int(numbers[at]), first_file + file, row, value, tuple(length))
            yield from (row for row in found if row is not None)

    def _order(self, split: str, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if split not in self.order_paths:
            return positions
        table = Table(file=self.order_paths[split], offset=0, dtype=np.dtype("<i8"), num_rows=self.splits[split])
        return table.read(int(positions[0]), int(positions[-1]) + 1)

    def _read_group(self, group: list[_Row]) -> tuple[list[_Row], list[dict[int, bytes]]]:
        beton = self.betons[group[0].file]
        wanted: list[int] = [number for number, one in enumerate(beton.fields) if one.type not in SCALAR_TYPES]
        # The row needs its key and label, the image stays unread.
        if len(group) == 1 and too_large(sum(group[0].lengths)):
            texts = self.roles[group[0].file].texts.values()
            wanted = [number for number in texts if not too_large(group[0].lengths[number])]
        return group, _read_fields(beton, group, wanted)

    def _sample(self, split: str, row: _Row, payloads: dict[int, bytes]) -> Sample:
        beton = self.betons[row.file]
        facts: dict[str, Any] = {
            "key": self._key(split, row, payloads),
            "provenance": {"source_path": f"{beton.path}:sample {row.number}"},
            **self._label(row, payloads),
        }
        rejection = too_large(sum(row.lengths))
        if rejection is not None:
            return make_sample(rejection, decode=False, extension="", **facts)
        roles = self.roles[row.file]
        members = further_members(beton, roles, row.values, payloads)
        mode, width, height, _ = row.values[roles.image]
        image = payloads[roles.image]
        if mode != MODE_RAW:
            return make_sample(image, decode=self.decode, extension="jpg", extra_members=members, **facts)
        return Sample(
            image_bytes=encode_rgb_png(image, width, height),
            image_format="png",
            width=width,
            height=height,
            mode="RGB",
            extra_members=members,
            **facts,
        )

    def _key(self, split: str, row: _Row, payloads: Mapping[int, bytes]) -> str:
        where = _where(self.betons[row.file], row.number)
        stored = self._text(row, KEY_FIELD, payloads)
        # In the order of trust: the field made for keys, then `json`, then the position, which every sample has.
        if stored:
            try:
                return check_key(stored.decode(), where=where)
            except UnicodeDecodeError:
                raise SourceError(f"{where}: expected a key in UTF-8, found {stored[:80]!r}: write it again") from None
        key = _json_key(self._text(row, JSON_FIELD, payloads))
        if key is not None:
            return check_key(key, where=where)
        digits = max(5, len(str(self.splits[split] - 1)))
        return f"{split}_{row.place:0{digits}d}"

    def _label(self, row: _Row, payloads: Mapping[int, bytes]) -> dict[str, Any]:
        """The Int field says the class index, `json` the wnid; they and a `cls` may not contradict each other."""
        where = _where(self.betons[row.file], row.number)
        label = row.values[self.roles[row.file].label]
        cls = self._text(row, CLS_FIELD, payloads).strip()
        if label != NO_LABEL:
            if cls.isdigit() and int(cls) != label:
                raise SourceError(f"{where}: its label is {label}, its field cls says {int(cls)}: set one right")
            cls = str(label).encode()
        stated = {"cls": cls, "json": self._text(row, JSON_FIELD, payloads)}
        labels = label_members({name: text for name, text in stated.items() if text}, self.wnids, where=where)
        return labels | ({"label_source": "label"} if label != NO_LABEL else {})

    def _text(self, row: _Row, name: str, payloads: Mapping[int, bytes]) -> bytes:
        """The payload of "key", "json" or "cls" without the NUL that ends it; empty where there is none."""
        number = self.roles[row.file].texts.get(name, -1)
        return payloads.get(number, b"").removesuffix(b"\0")


def _where(beton: Beton, number: int) -> str:
    return f"{beton.where}, sample {number}, byte {beton.row_offset(number)}"


def _groups(rows: Iterable[_Row], max_bytes: int) -> Iterator[list[_Row]]:
    """Runs of samples of one file whose payloads have at most `max_bytes` together; a larger sample is alone."""
    group: list[_Row] = []
    num_bytes = 0
    for row in rows:
        size = sum(row.lengths)
        if group and (row.file != group[-1].file or num_bytes + size > max_bytes):
            yield group
            group, num_bytes = [], 0
        group.append(row)
        num_bytes += size
    if group:
        yield group


def _read_fields(beton: Beton, group: Sequence[_Row], wanted: Sequence[int]) -> list[dict[int, bytes]]:
    """For each sample field number -> payload, neighbours in the file fetched together."""
    places = [
        (_address(row.values[number], beton.fields[number].type), row.lengths[number])
        for row in group
        for number in wanted
    ]
    payloads = iter(beton.read_payloads(places))
    return [{number: next(payloads) for number in wanted} for _ in group]


def _address(value: Any, field_type: FieldType) -> int:
    if field_type in ARRAY_TYPES:
        return int(value)
    return int(value[-1] if field_type is FieldType.IMAGE else value[0])


def _json_key(payload: bytes) -> str | None:
    """The text under "key", if the payload is a JSON object that has one."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    key = content.get("key") if isinstance(content, dict) else None
    return key if isinstance(key, str) and key else None


def open_beton_source(
    storage: Storage,
    paths: Sequence[str],
    options: SourceOptions,
    classes: Sequence[ImageClass] | None,
    folder: Path,
) -> BetonSource:
    """Checks the files' tables and labels; reads no payload.

    Args:
        storage: The root.
        paths: The files below it, in the order of their samples.
        options: How to read them.
        classes: The class set given by the user, if any.
        folder: For the tables.

    Raises:
        SourceError: A file has no image or no label field, or a label is out of range; there are no samples.
        ShardError: A file is cut off or damaged.
    """
    files_by_split = by_split(paths, options.split)
    betons: list[Beton] = []
    roles: list[Roles] = []
    files: dict[str, tuple[int, tuple[int, ...]]] = {}
    digest = hashlib.sha256()
    last_label = len(classes) - 1 if classes else _MAX_CLASS_INDEX
    for split, of_split in files_by_split.items():
        opened = [open_beton(storage, path, folder) for path in of_split]
        for one in opened:
            roles.append(find_roles(one))
            _check_labels(one, roles[-1].label, last_label)
            digest.update(f"{split} {one.digest()}\n".encode())
        # Files are one sequence: position p of a split lies in the file whose start is the last not above p. A file
        # without samples has the start of the next one, and is passed over.
        starts = np.cumsum([0, *(one.num_samples for one in opened)]).tolist()
        files[split] = (len(betons), tuple(starts))
        betons += opened
    splits = {split: starts[-1] for split, (_, starts) in files.items() if starts[-1]}
    if not splits:
        raise SourceError(f"{storage.object_url(paths[0])} holds no samples: give another file")
    seed = options.shuffle_seed if options.shuffle else None
    return BetonSource(
        kind="beton",
        storage=storage,
        splits=splits,
        settings={
            "source_kind": "beton",
            "source_listing": digest.hexdigest(),
            "labels": labels_digest(classes) if classes else None,
            "shuffle_seed": seed,
            "check": options.check,
        },
        betons=tuple(betons),
        roles=tuple(roles),
        files=files,
        order_paths={}
        if seed is None
        else {split: _store_order(folder, split, count, seed) for split, count in splits.items()},
        wnids=[one.wnid for one in classes] if classes else None,
        decode=options.check == "decode",
    )


def _check_labels(beton: Beton, label: int, last: int) -> None:
    """Raises `SourceError` at the first label that is neither -1 nor from 0 to `last`."""
    for start, rows in beton.metadata.pieces():
        labels = rows[f"f{label}"]
        bad = np.flatnonzero((labels < NO_LABEL) | (labels > last))
        if len(bad):
            number = start + int(bad[0])
            raise SourceError(
                f"{_where(beton, number)}: expected a label from 0 to {last}, or {NO_LABEL} for none, found "
                f"{labels[bad[0]]} in field {beton.fields[label].name!r}: give the class set it belongs to, or set it "
                "right"
            )


def _store_order(folder: Path, split: str, count: int, seed: int) -> Path:
    """Row numbers sorted by a mix of seed, split and number, which is the same on every machine."""
    numbers = np.arange(count, dtype=np.uint64)
    base = hashlib.sha256(f"order/{seed}/{split}".encode()).digest()[:8]
    numbers ^= np.uint64(int.from_bytes(base, "little"))
    # SplitMix64's finisher (Steele, Lea and Flood 2014): a bijection, so no two rows tie.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        numbers ^= numbers >> np.uint64(shift)
        numbers *= np.uint64(factor)
    path = folder / f"beton-{secrets.token_hex(8)}.order"
    np.argsort(numbers, kind="stable").astype("<i8", copy=False).tofile(path)
    return path
