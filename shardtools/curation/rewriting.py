"""The samples of one manifest part as the new dataset gets them: without those dropped, with other labels.

Owns what a change does to a sample. Images keep their bytes, and an image that is dropped is not even read, so that a
damaged one can be; the price is that members beside a relabelled image are kept as they are, but for its label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from shardtools.curation.edits import DROP, RELABEL
from shardtools.manifest import PROVENANCE_COLUMNS
from shardtools.sample import Sample
from shardtools.sources import Source

STATUS_PRUNED = "pruned"
"""Status of a row whose image was dropped."""

LABEL_SOURCE_EDIT = "edit"
"""Where the label of a relabelled row comes from."""

NO_REASON = "dropped by shardtools apply"
_FACTS = ("image_format", "width", "height", "mode", "wnid", "class_index", "label_source", "source")


def changed_samples(
    source: Source, split: str, start: int, table: pa.Table, changes: Sequence[Mapping[str, Any]]
) -> Iterator[Sample]:
    """The samples of one part, in its order.

    Args:
        source: The parent.
        split: The part's split.
        start: Position of its first row in the split.
        table: Its rows.
        changes: Those of the part, by row.

    Raises:
        SourceError: An image that stays is not the one that was recorded.
    """
    by_row = {change["row"]: change for change in changes}
    dropped = [number for number, change in by_row.items() if change["action"] == DROP]
    first = 0
    for stop in [*sorted(dropped), table.num_rows]:
        rows = table.slice(first, stop - first)
        raw = [image_format == "raw" for image_format in rows["image_format"].to_pylist()]
        samples = source.samples(split, start + first, start + stop) if stop > first else iter(())
        for number, sample in enumerate(samples, start=first):
            change = by_row.get(number)
            if raw[number - first]:
                sample = _with_raw_pixels(source, sample, table.slice(number, 1).to_pylist()[0])
            yield relabeled(sample, change) if change is not None and change["action"] == RELABEL else sample
        if stop < table.num_rows:
            yield _pruned(table.slice(stop, 1).to_pylist()[0], by_row[stop]["reason"])
        first = stop + 1


def _with_raw_pixels(source: Source, sample: Sample, row: Mapping[str, Any]) -> Sample:
    """The pixels as they are stored: a dataset as a source gives a PNG of them."""
    if sample.image_bytes is None:
        return sample
    pixels = source.storage.read_range(row["shard"], row["member_offset"], row["num_bytes"])
    return replace(sample, image_bytes=pixels, image_format="raw")


def _pruned(row: Mapping[str, Any], reason: str | None) -> Sample:
    """The record that there was an image: all that is known of it but its bytes."""
    return Sample(
        key=row["key"],
        image_bytes=None,
        status=STATUS_PRUNED,
        reason=reason or NO_REASON,
        provenance={name: row[name] for name in PROVENANCE_COLUMNS if row[name] is not None},
        class_indexes=None if row["class_indexes"] is None else tuple(row["class_indexes"]),
        **{name: row[name] for name in _FACTS},
    )


def relabeled(sample: Sample, change: Mapping[str, Any]) -> Sample:
    """The sample with the label of a change, in its row and in its members."""
    label = {"class_index": change["class_index"], "wnid": change["wnid"]}
    members = {
        extension: _json_with(payload, label) if extension == "json" else payload
        for extension, payload in sample.extra_members.items()
        # A `cls` of its own would stand in for the new one.
        if extension != "cls"
    }
    return replace(sample, label_source=LABEL_SOURCE_EDIT, extra_members=members, **label)


def _json_with(payload: bytes, label: Mapping[str, Any]) -> bytes:
    """A `json` of the source's own with the new label where it states one; anything else as it is."""
    try:
        content = json.loads(payload.removesuffix(b"\0"))
    except (ValueError, RecursionError):
        return payload
    if not isinstance(content, dict) or not any(name in content for name in label):
        return payload
    content |= {name: value for name, value in label.items() if name in content}
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
